"""Scores of a loss or a network: SNIP, GraSP, SynFlow, Fisher, LOBSTER, SeReNe.

Each returns a tree like ``params``, the higher the better kept; :func:`select` turns it
into masks. A loss is ``loss_fn(params, batch)`` -> scalar, the mean over the batch.

Example:
    >>> import pruning
    >>> params, batch = {"w": jnp.array([[1.0, -3.0]])}, jnp.array([2.0, 1.0])
    >>> loss = lambda params, x: jnp.sum(params["w"] @ x)
    >>> scores = pruning.criteria.snip(loss, params, [batch])  # abs(w dL/dw)
    >>> scores["w"].tolist()
    [[2.0, 3.0]]
    >>> pruning.select(scores, 0.5)["w"].tolist()
    [[False, True]]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning import scores
from pruning._output_weights import checked_weights
from pruning._preactivations import preactivations
from pruning._sensitivity import check_apart
from pruning.masks import apply_mask, full_mask
from pruning.selection import select
from synaptax.checks import (
    check_floating,
    check_integer,
    check_number,
    is_traced,
    scalar_valued,
    wide_dtype,
)
from synaptax.trees import named_leaves, with_arrays
from synaptax.typing import Array, PyTree

Loss = Callable[[PyTree, Any], Any]


def snip(loss_fn: Loss, params: PyTree, batches: Iterable[Any]) -> PyTree:
    """Return abs(w dL/dw), with L the mean loss over batches of equal size.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        params: any pytree of floating arrays.
        batches: one or more, of equal size.

    Returns:
        A tree like ``params``.

    Raises:
        ValueError: if there is no batch.

    Reference:
        Lee et al., arXiv 1810.02340 (their equation 6, not normalised).
    """
    return scores.saliency(params, _mean_gradient(loss_fn, params, batches))


def grasp(loss_fn: Loss, params: PyTree, batches: Iterable[Any]) -> PyTree:
    r"""Return :math:`w \odot H g`: what the gradient's norm owes to each weight.

    To first order taking a weight out changes half the squared norm of the gradient
    by minus this; it is signed, and so are the ranks. H and g are of the mean loss
    over batches of equal size; the temperature of the paper belongs in ``loss_fn``.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        params: any pytree of floating arrays.
        batches: one or more, of equal size.

    Returns:
        A tree like ``params``.

    Raises:
        ValueError: if there is no batch.

    Reference:
        Wang et al., arXiv 2002.07376 (their equation 8 is minus this).
    """
    batches = list(batches)
    _check_real(params)
    slope = _mean_gradient(loss_fn, params, batches)

    def gradient(weights: PyTree) -> PyTree:
        return _mean_gradient(loss_fn, weights, batches)

    # H g = d/dt grad L(w + t g) at t = 0: forward over reverse, H is never formed.
    curvature = jax.jvp(gradient, (params,), (slope,))[1]
    return jax.tree.map(jnp.multiply, params, curvature)


def fisher(loss_fn: Loss, params: PyTree, batch: Any) -> PyTree:
    r"""Return :math:`\tfrac12 w^2 \frac1B \sum_b (dL_b/dw)^2`, example by example.

    Args:
        loss_fn: of a batch; it is given one example at a time.
        params: any pytree of floating arrays.
        batch: a pytree with a leading batch axis of size B.

    Returns:
        A tree like ``params``; the memory is that of B gradients.

    Reference:
        Theis et al., arXiv 1801.05787: the diagonal of the empirical Fisher matrix
        stands for the Hessian.
    """
    _check_real(params)
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(f"batch: expected one leading axis, got {sorted(sizes)}")
    one = jax.tree.map(lambda leaf: leaf[:, None], batch)
    slope = jax.grad(scalar_valued(loss_fn, "loss_fn"))
    each = jax.vmap(slope, (None, 0))(params, one)

    def score(w: Array, g: Array) -> Array:
        # The square of a small half is 0, that of a large one inf.
        wide = wide_dtype(w.dtype, jnp.float32)
        mean = jnp.mean(jnp.square(g.astype(wide)), axis=0)
        return (jnp.square(w.astype(wide)) * mean / 2).astype(w.dtype)

    return jax.tree.map(score, with_arrays(params), each)


def lobster(loss_fn: Loss, params: PyTree, batches: Iterable[Any]) -> PyTree:
    """Return abs(dL/dw), L the mean loss over batches of equal size.

    It is what :func:`pruning.loss_sensitivity_decay` gates its shrinking by.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        params: any pytree of floating arrays.
        batches: one or more, of equal size.

    Returns:
        A tree like ``params``.

    Raises:
        ValueError: if there is no batch.

    Reference:
        Tartaglione et al., LOSs-Based SensiTivity rEgulaRization, arXiv 2011.09905.
    """
    return jax.tree.map(jnp.abs, _mean_gradient(loss_fn, params, batches))


def neuron_sensitivity(
    apply_fn: Callable[..., Any], params: PyTree, x: Any, alpha: Any
) -> dict[str, Array]:
    r"""Return how strongly the output feels each neuron, by taps.

    :math:`S_i = \frac1B \sum_b \sum_k \alpha_k |dy_{bk} / dz_{bi}|` with z the
    pre-activation; of a filter the mean over its positions.

    Args:
        apply_fn: ``(params, x) -> y``, y of shape (B, C); examples must not mix.
        params: any pytree.
        x: inputs with a leading batch axis.
        alpha: (C,) non-negative weights of the outputs: :func:`pruning.unspecific`.

    Returns:
        Path of the non-linearity, as :func:`pruning.preactivations` and in its order,
        to an array of the units on the last axis.

    Raises:
        ValueError: if ``alpha`` is of another width, negative or not finite.

    Reference:
        Tartaglione et al., SeReNe, arXiv 2102.03773; the mean over the batch is taken
        after the absolute value, as :func:`pruning.sensitivity` does.

    Example:
        >>> net = lambda w, x: jax.nn.relu(x @ w["in"]) @ w["out"]
        >>> w = {"in": jnp.eye(2), "out": jnp.array([[3.0, -1.0], [0.0, 2.0]])}
        >>> x = jnp.array([[1.0, 1.0], [1.0, -1.0]])  # the second neuron is off once
        >>> felt = pruning.criteria.neuron_sensitivity(net, w, x, pruning.unspecific(2))
        >>> felt["relu_0"].tolist()
        [2.0, 0.5]
    """
    check_apart(apply_fn, params, x)
    tapped = preactivations(apply_fn, logits=False)
    probes = jax.tree.map(jnp.zeros_like, tapped(params, x)[1])
    y, pull = jax.vjp(lambda added: tapped(params, x, probes=added)[0], probes)
    if y.ndim != 2 or jnp.shape(alpha) != y.shape[1:]:
        raise ValueError(f"alpha: expected shape {y.shape[1:]}, got {jnp.shape(alpha)}")
    weights = checked_weights(alpha, *y.shape).astype(y.dtype)
    # Summed in float32 at least: a half stops growing at 2048 terms of one size.
    wide = lambda z: jnp.abs(z).astype(wide_dtype(jnp.abs(z).dtype, jnp.float32))
    total = jax.tree.map(wide, probes)
    for k, weight in enumerate(weights):
        # alpha_k dy_bk/dz_bi of all examples at once: they do not mix.
        (slope,) = pull(jnp.zeros_like(y).at[:, k].set(weight))
        total = jax.tree.map(lambda t, s: t + wide(s), total, slope)
    means = OrderedDict()
    for path, each in total.items():
        # (B, ..., units): over examples and, of a filter, over its places.
        mean = jnp.mean(each, axis=tuple(range(each.ndim - 1)))
        means[path] = mean.astype(jnp.abs(probes[path]).dtype)
    return means


def synflow(apply_fn: Callable[..., Any], params: PyTree, x: Any) -> PyTree:
    r"""Return :math:`|w| \, \partial R / \partial |w|`, R the sum of the outputs.

    All parameters are taken by absolute value and the input is all ones: no data is
    needed. In a network of ReLUs without biases the scores of each layer have the same
    sum, R: the conservation that iterating keeps.

    Args:
        apply_fn: ``(params, x) -> y``.
        params: any pytree of floating arrays.
        x: of the shape and dtype of the inputs; one example is enough.

    Raises:
        ValueError: if a score is not finite: the sum R of a deep or wide network
            overflows.

    Reference:
        Tanaka et al., arXiv 2006.05467 (their equations 2 and 3).
    """
    check_floating(params, "params")
    positive = jax.tree.map(jnp.abs, params)
    ones = jax.tree.map(jnp.ones_like, x)
    flow = jax.grad(lambda weights: jnp.sum(apply_fn(weights, ones)))(positive)
    values = jax.tree.map(jnp.multiply, positive, flow)
    _check_flow(values)
    return values


def _check_flow(values: PyTree) -> None:
    """Raise unless all scores are finite; not while traced."""
    for name, leaf in [] if is_traced(values) else named_leaves(values):
        if not bool(jnp.isfinite(leaf).all()):
            raise ValueError(
                f"synflow: the scores of leaf {name} are not finite: the sum of the "
                "outputs overflows; divide the parameters of each layer by a constant, "
                "which changes no rank within it, or use float64"
            )


def synflow_mask(
    apply_fn: Callable[..., Any],
    params: PyTree,
    x: Any,
    density: float,
    *,
    steps: int = 100,
    **options: Any,
) -> PyTree:
    """Return the mask of iterated SynFlow: at step i of n the density is density^(i/n).

    Args:
        apply_fn: as :func:`synflow`.
        params: likewise.
        x: likewise.
        density: the final fraction of prunable weights.
        steps: n; one step may empty a layer where 100 do not.
        **options: of :func:`pruning.select`.

    Raises:
        ValueError: for a density outside (0, 1] or steps below 1.
    """
    good = lambda share: 0 < share <= 1
    check_number("density, steps", density, "(0, 1] and >= 1", good)
    check_integer("density, steps", steps, 1, expected="(0, 1] and >= 1")
    score = jax.jit(lambda weights: synflow(apply_fn, weights, x))
    mask = full_mask(params)
    for step in range(1, steps + 1):
        values = score(apply_mask(params, mask))
        _check_flow(values)
        share = density ** (step / steps)
        mask = select(values, share, **{"min_per_leaf": 0, **options}, allowed=mask)
    return mask


def _mean_gradient(loss_fn: Loss, params: PyTree, batches: Iterable[Any]) -> PyTree:
    check_floating(params, "params")
    batches, slope = list(batches), jax.grad(scalar_valued(loss_fn, "loss_fn"))
    if not batches:
        raise ValueError("batches: expected at least one")
    sizes = [[np.shape(leaf)[:1] for leaf in jax.tree.leaves(b)] for b in batches]
    if odd := [size for size in sizes if size != sizes[0]]:
        raise ValueError(
            f"batches: expected equal sizes, for each weighs the same, got {sizes[0]} "
            f"and {odd[0]}; leave out a smaller last one"
        )
    slopes = [slope(params, batch) for batch in batches]
    return jax.tree.map(lambda *each: sum(each[1:], each[0]) / len(each), *slopes)


def _check_real(params: PyTree) -> None:
    """Raise a ValueError that names a leaf that is complex or has no derivative."""
    check_floating(params, "params")
    for name, leaf in named_leaves(params):
        if jnp.iscomplexobj(leaf):
            raise ValueError(f"params: leaf {name} is complex, expected real weights")
