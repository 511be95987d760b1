"""Pruning what is trained, without training: Wanda, and SparseGPT's update of the rest.

Both look at what enters each weight on a few batches, by taps (:mod:`pruning.taps`); a
layer is z = x W, and what is taken out is judged by its layer's output. Kernels have
their outputs on the last axis.

Example:
    >>> import pruning
    >>> apply_fn = lambda params, x: x @ params["w"]
    >>> params = {"w": jnp.array([[1.0, 2.0], [3.0, -3.0]])}
    >>> batches = [jnp.array([[4.0, 0.0], [3.0, 1.0]])]
    >>> scores = pruning.posttraining.wanda(apply_fn, params, batches)
    >>> scores["w"].tolist()  # |w| times the norm of the input: 5 and 1
    [[5.0, 10.0], [3.0, 3.0]]
    >>> pruning.posttraining.per_output(scores, 0.5)["w"].tolist()
    [[True, True], [False, False]]
    >>> params, batches = {"w": jnp.ones((2, 1))}, [jnp.ones((3, 2))]
    >>> params, masks = pruning.posttraining.sparsegpt(
    ...     apply_fn, params, batches, 0.5, damp=1e-6
    ... )
    >>> params["w"].round(3).tolist()  # equal inputs: one weight takes over for both
    [[0.0], [2.0]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning import _contract, taps
from pruning._roles import leaves_of, weights_only
from synaptax.checks import check_integer, check_number, is_traced, wide_dtype
from synaptax.trees import Prunable
from synaptax.typing import Array, PyTree

Apply = Callable[[PyTree, Any], Any]
# Linear in the weight, and in what it meets: the squares of one sum to those of z.
_WANDA = ("dot_general", "conv_general_dilated")


def wanda(
    apply_fn: Apply,
    params: PyTree,
    batches: Iterable[Any],
    *,
    prunable: Prunable = weights_only,
) -> PyTree:
    r"""Return :math:`|w_{ij}| \, \|x_i\|_2`, the norm over all that enters the weight.

    i counts the inputs of a layer and j its outputs. Of a convolution x_i are the
    values of all patches. To compare weights of the same output, as the paper does,
    pass the scores to :func:`per_output`.

    Args:
        apply_fn: ``(params, x) -> y``, any pytree.
        params: any pytree of arrays.
        batches: of inputs x.
        prunable: which leaves to score; others get zeros.

    Returns:
        A tree like ``params``, >= 0, in its dtypes.

    Raises:
        ValueError: if there is no batch; for a leaf that does not enter one matrix
            product or convolution, merely rearranged, or is complex; if the weights or
            what enters them are not finite.

    Reference:
        Sun et al., A simple and effective pruning approach for large language models,
        arXiv 2306.11695 (their equation 1).
    """
    leaves, structure = jax.tree.flatten(params)
    first, *rest = _some(batches)
    total = _squares(apply_fn, params, first, prunable)
    for x in rest:
        more = _squares(apply_fn, params, x, prunable)
        total = [a + b for a, b in zip(total, more, strict=True)]
    for leaf, square in zip(leaves_of(params, prunable), total, strict=True):
        _check_finite(f"batches: what enters leaf {leaf.name} is not finite", square)
    scores = [
        # |w_ij| (sum_b x_bi^2)^(1/2), in the dtype of the sum, float32 at least.
        (jnp.abs(w).astype(square.dtype) * jnp.sqrt(square)).astype(jnp.abs(w).dtype)
        for w, square in zip(leaves, total, strict=True)
    ]
    return jax.tree.unflatten(structure, scores)


def per_output(
    scores: PyTree, density: float, *, prunable: Prunable = weights_only
) -> PyTree:
    """Return the mask that keeps round(density * n) of the n weights of each output.

    Args:
        scores: any pytree of real arrays, outputs on the last axis (not Equinox's or
            PyTorch's kernels, which have them on the first). The higher, the better
            kept; ties go to the earlier.
        density: the fraction kept of each output's weights, in [0, 1].
        prunable: which leaves; others are all True.

    Returns:
        A boolean tree like ``scores``, True = kept.

    Raises:
        ValueError: for a density out of range, or a score that is not finite.
    """
    _check_density(density)

    def best(score: Array) -> Array:
        flat = score.reshape(-1, score.shape[-1])
        # The inverse of a permutation by falling score is each entry's rank; a
        # stable order leaves ties to the earlier.
        order = jnp.argsort(-flat, axis=0, stable=True)
        rank = jnp.argsort(order, axis=0)
        return (rank < round(density * len(flat))).reshape(score.shape)

    for leaf in leaves_of(scores, prunable):
        if leaf.prunable:
            _check_finite(f"scores: leaf {leaf.name} is not finite", leaf.value)
    masks = [
        best(leaf.value) if leaf.prunable else jnp.ones(jnp.shape(leaf.value), bool)
        for leaf in leaves_of(scores, prunable)
    ]
    return jax.tree.unflatten(jax.tree.structure(scores), masks)


def sparsegpt(
    apply_fn: Apply,
    params: PyTree,
    batches: Iterable[Any],
    density: float,
    *,
    pattern: tuple[int, int] | None = None,
    block: int = 128,
    damp: float = 0.01,
    prunable: Prunable = weights_only,
) -> tuple[PyTree, PyTree]:
    r"""Prune layer by layer, and let the weights that stay make up for those that go.

    With :math:`H = X^T X` of a layer's inputs, w_i is taken out of an output in the
    order of the inputs i, and the weights of later inputs R move by

    .. math:: w_R \leftarrow w_R - \frac{w_i}{[H_R^{-1}]_{ii}} [H_R^{-1}]_{:,i}

    which least changes the layer's output. Of each ``block`` of inputs, over all
    outputs together, the weights with the smallest :math:`w_i^2 / [H_R^{-1}]_{ii}` go.
    Layers are taken in the order of evaluation, each with the inputs that the pruned
    ones before it give. It runs on the host in float64, not under ``jit``; of a layer
    of I inputs it holds H, (I, I), and takes O(I^3 + I^2 O) steps.

    Args:
        apply_fn: ``(params, x) -> y``, any pytree.
        params: any pytree of arrays.
        batches: of inputs x, from which to take H.
        density: the fraction kept of each leaf, in [0, 1].
        pattern: (n, m): keep n of every m successive inputs of each output instead.
        block: inputs among which to choose at once; the paper's 128.
        damp: what is added to H's diagonal, as a share of its mean; above 0.
        prunable: which leaves; each must be the kernel of one matrix product.

    Returns:
        ``(params, masks)``: the new weights in the old dtypes, exactly 0 where the mask
        is False; boolean masks like them, all True where a leaf is not prunable.

    Raises:
        ValueError: for an argument out of range, a leaf that is no such kernel (a
            convolution's is not) or is complex, inputs that are not a multiple of m;
            if the weights or what enters them are not finite.

    Reference:
        Frantar and Alistarh, SparseGPT, arXiv 2301.00774 (their equation 3 and
        algorithm 1).
    """
    _check_density(density)
    block = check_integer("block, damp", block, 1, expected=">= 1 and > 0")
    good = lambda size: 0 < size < np.inf
    check_number("block, damp", damp, ">= 1 and > 0", good)
    if pattern is not None:
        n, m = (check_integer("pattern: n and m", one) for one in pattern)
        if not 1 <= n <= m:
            raise ValueError(f"pattern: expected 1 <= n <= m, got {pattern}")
    batches = _some(batches)
    leaves, structure = jax.tree.flatten(params)
    masks = [jnp.ones(jnp.shape(leaf), bool) for leaf in leaves]
    program, _ = taps.trace_whole(apply_fn, params, batches[0])
    plans = _plans(program, params, prunable, ("dot_general",))
    for plan, name in sorted(plans, key=lambda own: own[0].uses):
        gram, place = _gram(apply_fn, structure, leaves, batches, plan, name)
        _check_finite(f"batches: what enters leaf {name} is not finite", gram)
        matrix, back = place
        if pattern is not None and len(matrix) % pattern[1]:
            raise ValueError(
                f"pattern: leaf {name} has {len(matrix)} inputs, not a multiple of "
                f"{pattern[1]}"
            )
        weights, mask = _reconstructed(matrix, gram, density, pattern, block, damp)
        masks[plan.leaf] = back(mask) > 0
        leaves[plan.leaf] = back(weights)
    unflatten = lambda values: jax.tree.unflatten(structure, values)
    return unflatten(leaves), unflatten(masks)


def _reconstructed(
    weights: np.ndarray,
    gram: np.ndarray,
    density: float,
    pattern: tuple[int, int] | None,
    block: int,
    damp: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (I, O) weights after SparseGPT's sweep over the inputs, and the mask."""
    weights, gram = weights.astype(np.float64), gram.copy()
    dead = np.diag(gram) == 0  # an input that is always 0 says nothing of its weight
    gram[dead, dead] = 1
    weights[dead] = 0
    # H + damp mean(diag H) I: inputs that depend on each other leave H singular.
    gram += damp * np.mean(np.diag(gram)) * np.eye(len(gram))
    # In float64: the condition number of X^T X is the square of X's.
    # Row i of the upper factor U of H^-1 = U^T U is [H_R^-1]_i over its root at ii.
    factor = np.linalg.cholesky(np.linalg.inv(gram)).T
    mask = np.ones(weights.shape, bool)
    width, total = pattern[1] if pattern else block, 0
    for begin in range(0, len(weights), width):
        end = min(begin + width, len(weights))
        own = slice(begin, end)
        # w_i^2 / [H_R^-1]_ii, (block, O), for U_ii^2 = [H_R^-1]_ii.
        worth = (weights[own] / np.diag(factor)[own, None]) ** 2
        if pattern:
            rank = np.argsort(np.argsort(-worth, axis=0, kind="stable"), axis=0)
            mask[own] = rank < pattern[0]
        else:  # rounded so that all blocks together meet the density
            room = round(density * end * weights.shape[1]) - total
            order = np.argsort(-worth, axis=None, kind="stable")
            mask[own] = (np.argsort(order) < room).reshape(worth.shape)
            total += room
        for i in range(begin, end):
            # w_R <- w_R - (w_i / U_ii) U_i,R for every output: that
            # is w_i / [H_R^-1]_ii times [H_R^-1]_i,R (their equation
            # 3), and w_i itself comes to 0.
            error = np.where(mask[i], 0, weights[i]) / factor[i, i]
            weights[i:] -= np.outer(factor[i, i:], error)
    return np.where(mask, weights, 0), mask


# --- what enters a weight ---------------------------------------------------------


def _some(batches: Iterable[Any]) -> list[Any]:
    batches = list(batches)
    if not batches:
        raise ValueError("batches: expected at least one")
    return batches


def _check_density(density: float) -> None:
    good = lambda share: 0 <= share <= 1
    check_number("density", density, "a number in [0, 1]", good)


def _plans(
    program: taps.Program, params: PyTree, prunable: Prunable, known: tuple[str, ...]
) -> list[tuple[_contract.LeafPlan, str]]:
    """Return how each prunable leaf is used, and its name."""
    by_leaf = {plan.leaf: plan for plan in _contract.plan(program)}
    plans = []
    for index, leaf in enumerate(leaves_of(params, prunable)):
        if not leaf.prunable:
            continue
        _check_real(leaf.name, leaf.value)
        plan = by_leaf.get(index)
        single = plan is not None and plan.operand is not None
        name = program.equations[plan.uses[0]].primitive.name if plan else ""
        if not single or name not in known:
            raise ValueError(
                f"params: leaf {leaf.name} does not enter one {' or '.join(known)}; "
                "leave it out by prunable="
            )
        plans.append((by_leaf[index], leaf.name))
    return plans


def _check_real(name: str, value: Any) -> None:
    """Raise a ValueError that names a leaf that is complex or not finite."""
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise ValueError(f"params: leaf {name} is complex, expected real weights")
    _check_finite(f"params: leaf {name} is not finite", value)


def _check_finite(message: str, value: Any) -> None:
    if not is_traced(value) and not np.isfinite(np.asarray(value, np.float64)).all():
        raise ValueError(message)


def _entering(
    program: taps.Program, leaves: list[Any], x: Any, uses: set[int]
) -> tuple[dict[int, Any], dict[int, list[Any]]]:
    """Return what depends on the parameters alone, and what each meeting reads."""
    fixed, records = taps.parameter_values(program, leaves), {}

    def visit(index: int, eqn: taps.Equation, values: list[Any]) -> list[Any]:
        if index in uses:
            active = [slot in program.active for slot in eqn.inputs]
            records[index] = [
                v if a else None for v, a in zip(values, active, strict=True)
            ]
        return taps.bind(eqn, values)

    taps.run(program, fixed, jax.tree.leaves(x), visit)
    return fixed, records


def _squares(apply_fn: Apply, params: PyTree, x: Any, prunable: Prunable) -> list[Any]:
    """Return for each leaf the sum of the squares of all that enters each weight.

    z = x w is linear in w, so the derivative of sum(x^2 w) with respect to w_ij is the
    sum of x_i^2 over all rows and positions, whatever the layout of the product.
    """
    program, _ = taps.trace_whole(apply_fn, params, x)
    plans = [plan for plan, _ in _plans(program, params, prunable, _WANDA)]
    leaves = jax.tree.leaves(params)
    fixed, records = _entering(program, leaves, x, {p.uses[0] for p in plans})
    squares: list[Any] = [jnp.zeros(jnp.shape(leaf), jnp.float32) for leaf in leaves]
    recording = _contract.Seen(program, fixed, {}, {})
    for plan in plans:
        (use,) = plan.uses
        operands = [None if r is None else jnp.square(r) for r in records[use]]
        out = program.avals[program.equations[use].outputs[0]]
        squares[plan.leaf] = _contract.pull_of(recording, plan, {use: operands})(
            {use: [jnp.ones(out.shape, out.dtype)]}
        )
    return squares


def _gram(
    apply_fn: Apply,
    structure: Any,
    leaves: list[Any],
    batches: list[Any],
    plan: _contract.LeafPlan,
    name: str,
) -> tuple[np.ndarray, tuple[np.ndarray, Callable[[np.ndarray], Any]]]:
    """Return X^T X of a leaf's inputs; its (I, O) matrix, and the way back from one."""
    gram: Any = 0.0
    (use,), place = plan.uses, None
    for x in batches:
        params = jax.tree.unflatten(structure, leaves)
        program, _ = taps.trace_whole(apply_fn, params, x)
        fixed, records = _entering(program, leaves, x, {use})
        eqn = program.equations[use]
        side = int(records[use][0] is None)  # 1 where the activation is on the right
        contracted, batched = eqn.params["dimension_numbers"]
        if batched[0]:
            raise ValueError(f"params: leaf {name} is one of a batch of products")
        rows = _matrix(records[use][side], contracted[side]).T
        rows = np.asarray(rows, np.float64)
        gram = gram + rows.T @ rows
        place = _place(fixed, program, plan, contracted[1 - side])
    assert place is not None
    return gram, place


def _matrix(value: Any, contracted: tuple[int, ...]) -> Any:
    """Return an operand as (contracted, free)."""
    own = tuple(contracted)
    free = tuple(axis for axis in range(value.ndim) if axis not in own)
    rows = int(np.prod([value.shape[axis] for axis in own]))
    return jnp.transpose(value, (*own, *free)).reshape(rows, -1)


def _place(
    fixed: dict[int, Any],
    program: taps.Program,
    plan: _contract.LeafPlan,
    contracted: tuple[int, ...],
) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """Return a leaf as the matrix of its product, and the way back to a leaf."""
    slot, operand = program.leaves[plan.leaf], plan.operand
    assert operand is not None  # as _plans has seen to
    leaf = fixed[slot]
    wide = wide_dtype(leaf.dtype, jnp.float32)

    def forth(weight: Any) -> Any:
        values = _contract.follow(program, plan.path, {slot: weight.astype(leaf.dtype)})
        return _matrix(values[operand], contracted)

    matrix, pull = jax.vjp(forth, leaf.astype(wide))

    def back(values: np.ndarray) -> Any:
        # The transpose of a rearrangement is its inverse.
        return pull(jnp.asarray(values).astype(matrix.dtype))[0].astype(leaf.dtype)

    return np.asarray(matrix, np.float64), back
