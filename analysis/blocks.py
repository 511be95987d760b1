r"""Curvature leaf by leaf: the diagonal, and of each block its trace and top value.

The block of a leaf l is :math:`A_{ll}`, what is left of the matrix when all other
weights are held. The blocks' traces add up to the trace of the whole; their largest
eigenvalues bound the whole's from below.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis._sets import at_least
from analysis.curvature import (
    Trace,
    check_finite,
    check_symmetric,
    seed_of,
    signs,
    top_eigenpairs,
    trace,
)
from analysis.operators import Operator, masked
from synaptax.checks import check_key
from synaptax.trees import named_leaves
from synaptax.typing import Array, Key, PyTree


class Diagonal(NamedTuple):
    """An estimate of the diagonal.

    Attributes:
        value: tree like the parameters.
        standard_error: likewise, of each entry, from the spread of the probes.
        probes: how many.
        matvecs: products with the operator.
    """

    value: PyTree
    standard_error: PyTree
    probes: int
    matvecs: int


class Block(NamedTuple):
    """The curvature of one leaf, all others held.

    Attributes:
        weights: of the leaf; with a mask, those that survive.
        trace: of the block, with its interval.
        top: its largest eigenvalue.
        residual: norm of A_ll v - top v: an eigenvalue lies within this of ``top``.
    """

    weights: int
    trace: Trace
    top: float
    residual: float


@dataclasses.dataclass(frozen=True)
class Layers:
    """The curvature of every leaf.

    Attributes:
        diagonal: of the whole matrix.
        blocks: path to :class:`Block`, in flattening order; leaves of which no weight
            survives are left out.
        matvecs: products with the operator.
        seed: the key's data.
    """

    diagonal: Diagonal
    blocks: dict[str, Block]
    matvecs: int
    seed: tuple[int, ...]


def _spans(operator: Operator) -> dict[str, tuple[int, int]]:
    """Return path -> (start, end) of each leaf in the flat vector.

    Raises:
        ValueError: if two leaves have one path.
    """
    tree = jax.eval_shape(operator.unravel, jnp.zeros(operator.size, operator.dtype))
    # The flat vector holds the leaves in flattening order, each row by row.
    spans, start = {}, 0
    for name, leaf in named_leaves(tree):
        if name in spans:
            raise ValueError(f"params: two leaves are called {name}")
        spans[name] = (start, start + leaf.size)
        start += leaf.size
    return spans


def _survivors(operator: Operator, span: tuple[int, int]) -> Array:
    """Return a flat boolean (n,): the surviving weights of a leaf."""
    place = jnp.arange(operator.size, dtype=jnp.int32)
    inside = (place >= span[0]) & (place < span[1])
    return inside if operator.mask is None else inside & operator.mask


def block(operator: Operator, path: str) -> Operator:
    """Return the diagonal block of one leaf, v -> m * A(m * v), m the leaf's weights.

    Args:
        operator: the whole.
        path: of the leaf, as ``layers(...).blocks`` names it.

    Returns:
        An operator of the same size whose mask keeps the leaf's surviving weights.

    Raises:
        ValueError: for a path that no leaf has.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ (w["a"] + w["b"])) ** 2)
        >>> params = {"a": jnp.ones(2), "b": jnp.ones(2)}
        >>> whole = analysis.hessian(loss, params, jnp.eye(2))
        >>> analysis.block(whole, "b").matvec(jnp.ones(4)).tolist()
        [0.0, 0.0, 0.5, 0.5]
    """
    spans = _spans(operator)
    if path not in spans:
        raise ValueError(
            f"path: expected one of {', '.join(sorted(spans))}, got {path!r}"
        )
    return _restricted(operator, _survivors(operator, spans[path]))


def _restricted(operator: Operator, keep: Array) -> Operator:
    # The mask is a leaf of the Partial, so that all blocks share one program.
    product = jax.tree_util.Partial(_restrict, operator.matvec, keep)
    return operator._replace(matvec=product, mask=keep)


def _restrict(matvec: Any, keep: Array, v: Array) -> Array:
    return masked(matvec(masked(v, keep)), keep)


def diagonal(operator: Operator, key: Key[Array, ""], *, probes: int = 32) -> Diagonal:
    r"""Estimate the diagonal by random signs v: the mean of :math:`v \odot A v`.

    .. math:: E[v_i (A v)_i] = A_{ii}, \quad
        \mathrm{var} = \sum_{j \ne i} A_{ij}^2

    Args:
        operator: what to look at.
        key: of the probes.
        probes: how many, at least 2; one at a time.

    Returns:
        The estimate with the standard error of each entry; a matrix that is diagonal
        is exact.

    Raises:
        ValueError: for fewer than 2 probes, an operator that is not symmetric or gives
            non-finite products.

    Reference:
        Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix,
        Applied Numerical Mathematics 57 (2007).

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> analysis.diagonal(operator, jax.random.key(0), probes=2).value.tolist()
        [0.5, 2.0]
    """
    at_least(2, probes=probes)
    check_key(key)
    first, second = jax.random.split(key)
    products = check_symmetric(operator, first)
    mean, error = _diagonal(
        operator.matvec,
        jax.random.split(second, probes),
        operator.mask,
        size=operator.size,
        dtype=operator.dtype,
    )
    check_finite(np.asarray(mean))
    unravel = operator.unravel
    return Diagonal(unravel(mean), unravel(error), probes, products + probes)


@functools.partial(jax.jit, static_argnames=("size", "dtype"))
def _diagonal(
    matvec: Any, keys: Array, support: Array | None, *, size: int, dtype: Any
) -> tuple[Array, Array]:
    """Return the mean of v * A v over probes and its standard error, by Welford."""

    def add(carry: Any, key: Array) -> tuple[Any, None]:
        count, mean, spread = carry
        v = signs(key, size, dtype, support)
        value = v * matvec(v)
        # Welford: m <- m + (x - m) / n, S <- S + (x - m_before)(x - m). A sum of
        # squares less a squared mean would cancel where the spread is small.
        gap = value - mean
        mean = mean + gap / (count + 1)
        return (count + 1, mean, spread + gap * (value - mean)), None

    # The count is of the vectors' dtype: strict promotion joins no integer with floats.
    zero = jnp.zeros(size, dtype)
    (count, mean, spread), _ = lax.scan(add, (jnp.zeros([], dtype), zero, zero), keys)
    # Standard error of the mean: (S / (n - 1) / n)^(1/2).
    return mean, jnp.sqrt(spread / (count * (count - 1)))


def layers(operator: Operator, key: Key[Array, ""], *, probes: int = 32) -> Layers:
    """Return the diagonal, and trace and largest eigenvalue of every leaf's block.

    Args:
        operator: what to look at.
        key: of the probes and start vectors.
        probes: of the diagonal and of each trace, at least 2.

    Returns:
        All of it. A leaf costs about 2 ``probes`` products for its trace and 80 for
        its eigenvalue, the diagonal ``probes``.

    Raises:
        ValueError: as :func:`diagonal`.

    Example:
        >>> loss = lambda w, x: jnp.mean((x @ (w["a"] + 2 * w["b"])) ** 2)
        >>> params = {"a": jnp.ones(2), "b": jnp.ones(2)}
        >>> whole = analysis.hessian(loss, params, jnp.eye(2))
        >>> found = analysis.layers(whole, jax.random.key(0), probes=4)
        >>> [round(block.top, 3) for block in found.blocks.values()]
        [1.0, 4.0]
    """
    check_key(key)
    seed = seed_of(key)
    first, key = jax.random.split(key)
    spans = _spans(operator)
    entries = diagonal(operator, first, probes=probes)
    matvecs, blocks = entries.matvecs, {}
    for name, span in spans.items():
        keep = _survivors(operator, span)
        weights = int(jnp.sum(keep, dtype=jnp.int32))
        if not weights:
            continue
        one, two, key = jax.random.split(key, 3)
        part = _restricted(operator, keep)
        estimate = trace(part, one, probes=probes)
        pairs = top_eigenpairs(part, 1, two)
        top, residual = float(pairs.values[0]), float(pairs.residuals[0])
        blocks[name] = Block(weights, estimate, top, residual)
        matvecs += estimate.matvecs + pairs.matvecs
    return Layers(entries, blocks, matvecs, seed)


def watch(
    operator_of: Any, key: Key[Array, ""], *, every: int = 1, probes: int = 8
) -> Any:
    """Return a hook that measures curvature along training.

    Args:
        operator_of: ``params -> Operator``, such as
            ``lambda p: analysis.hessian(loss, p, data)``; what it closes over is
            compiled once.
        key: of probes and start vectors, the same at every step.
        every: steps between two measurements, at least 1.
        probes: of the trace, at least 2.

    Returns:
        ``(step, params) -> dict``: "curvature/top", "curvature/trace" and
        "curvature/trace_error" at each ``every``-th step, for any metrics writer;
        empty at the others.

    Raises:
        ValueError: for ``every`` below 1 or ``probes`` below 2; from the hook, as
            :func:`analysis.trace`: where products are not finite, training should end.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> hook = analysis.watch(
        ...     lambda w: analysis.hessian(loss, w, x), jax.random.key(0), every=10
        ... )
        >>> hook(3, jnp.ones(2)), round(hook(10, jnp.ones(2))["curvature/top"], 3)
        ({}, 2.0)
    """
    at_least(1, every=every)
    at_least(2, probes=probes)
    check_key(key)
    first, second = jax.random.split(key)

    # The same keys at every step: differences are the network's, not the probes'.
    def hook(step: int, params: PyTree) -> dict[str, float]:
        if step % every:
            return {}
        operator = operator_of(params)
        estimate = trace(operator, first, probes=probes)
        top = top_eigenpairs(operator, 1, second).values[0]
        return {
            "curvature/top": float(top),
            "curvature/trace": estimate.value,
            "curvature/trace_error": estimate.standard_error,
        }

    return hook
