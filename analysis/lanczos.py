r"""Lanczos that survives rank deficiency: a guard around matfree's decomposition.

A Krylov space of a matrix with r distinct eigenvalues in its start vector ends after r
steps: the next off-diagonal is rounding noise, and what is normalised after it is
noise too. matfree (as others) goes on, and the heavily pruned network is exactly this
case. :func:`run` looks at the off-diagonals afterwards: the first one that is at most

.. math:: 1000\, \epsilon \max_{i \le j}(|\alpha_i|, |\beta_i|)

ends the valid part, and everything behind it is cut off. That moves eigenvalues by at
most the coupling that is cut. :func:`top_ritz` starts again, orthogonal to what it has
found, until nothing better turns up: that fills up after an early end, and finds
further copies of a multiple eigenvalue, of which one Krylov space only ever has one.

All is jit-safe: fixed shapes, no look from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from analysis.operators import masked
from pruning._typing import Array, Key

# Off-diagonals below this many rounding errors of the largest entry end the space.
GUARD = 1000.0
ORDERS = ("largest", "smallest", "magnitude")

Matvec = Callable[[Array], Array]


class Tridiagonal(NamedTuple):
    """A guarded decomposition A Q = Q T + residual, of at most m steps.

    Attributes:
        basis: (n, m), orthonormal columns; zero behind the valid ones.
        diagonal: (m,), zero behind the valid ones.
        off_diagonal: (m - 1,), zero behind the valid ones.
        valid: int32, steps before the Krylov space ended, at least 1 (0 only if the
            start vector was zero).
        scale: the largest entry seen, an estimate of the norm from below.
    """

    basis: Array
    diagonal: Array
    off_diagonal: Array
    valid: Array
    scale: Array


class Ritz(NamedTuple):
    """Approximate eigenpairs.

    Attributes:
        values: (k,), best first.
        vectors: (k, n), orthonormal rows.
        residuals: (k,), norms of A v - value v.
        steps: int32, valid steps of all runs.
        runs: int32, Lanczos runs made.
    """

    values: Array
    vectors: Array
    residuals: Array
    steps: Array
    runs: Array


class _Search(NamedTuple):
    """What :func:`top_ritz` has found so far: k places, filled or not."""

    values: Array
    vectors: Array
    products: Array  # the matrix times the vectors
    found: Array
    steps: Array
    runs: Array
    scale: Array
    improved: Array


def valid_steps(diagonal: Array, off_diagonal: Array, scale: Any = 0.0) -> Array:
    """Return how many steps come before the first off-diagonal that is only noise.

    Args:
        diagonal: (m,).
        off_diagonal: (m - 1,), norms, >= 0; anything, NaN too, behind the first zero.
        scale: a size below which the matrix's entries do not count, if one is known.

    Returns:
        int32, 1 to m.
    """
    entries = jnp.maximum(jnp.abs(diagonal[:-1]), off_diagonal)
    largest = jnp.maximum(lax.cummax(entries), scale)
    noise = GUARD * jnp.finfo(diagonal.dtype).eps * largest
    ended = ~(off_diagonal > noise)  # NaN ends it too
    first = jnp.argmax(ended).astype(jnp.int32) + 1
    return jnp.where(jnp.any(ended), first, jnp.int32(diagonal.size))


def run(matvec: Matvec, start: Array, steps: int, scale: Any = 0.0) -> Tridiagonal:
    """Decompose with full re-orthogonalisation, and cut off what is not valid.

    Args:
        matvec: (n,) -> (n,), symmetric.
        start: (n,), any length but zero.
        steps: m, 1 to n.
        scale: see :func:`valid_steps`.

    Returns:
        The decomposition.

    Raises:
        ValueError: for a number of steps out of range.
        ImportError: naming the extra to install, without matfree.
    """
    if not 1 <= steps <= start.size:
        raise ValueError(f"steps: expected 1 to {start.size}, got {steps}")
    # The sub-diagonal holds the residuals' norms as they were. The symmetric form
    # would average them with entries that are wrong as soon as one of them is noise.
    factorise = _decomp().hessenberg(steps, reortho="full", custom_vjp=False)
    found = factorise(matvec, start)
    hessenberg, basis = found.J_small, found.Q_tall.T
    diagonal, off = jnp.diagonal(hessenberg), jnp.diagonal(hessenberg, -1)
    valid = valid_steps(diagonal, off, scale)
    valid = jnp.where(jnp.any(start != 0), valid, 0)
    inside = jnp.arange(steps) < valid
    diagonal = jnp.where(inside, diagonal, 0)
    off = jnp.where(inside[1:], off, 0)
    largest = jnp.maximum(jnp.max(jnp.abs(diagonal)), jnp.max(off, initial=0))
    basis = jnp.where(inside[None, :], basis, 0)
    return Tridiagonal(basis, diagonal, off, valid, jnp.maximum(largest, scale))


def _decomp() -> Any:
    try:
        from matfree import decomp
    except ImportError as error:
        raise ImportError(
            "curvature needs matfree: pip install 'synaptax[analysis]'"
        ) from error
    return decomp


def eigen(small: Tridiagonal) -> tuple[Array, Array, Array]:
    """Diagonalise the valid part of T, in float64 where that is enabled.

    Returns:
        ``(values, vectors, valid)``: (m,), (m, m) with eigenvectors as columns, and
        which of the m pairs belong to the valid part; the others are zero.
    """
    dtype = small.diagonal.dtype
    wide = jnp.result_type(float)  # float64 where it is enabled
    steps = small.diagonal.size
    inside = jnp.arange(steps) < small.valid
    # What was cut off goes where no eigenvalue can be, so that nothing mixes with it.
    away = -(4 * small.scale + 1).astype(wide)
    diagonal = jnp.where(inside, small.diagonal.astype(wide), away)
    off = jnp.diag(small.off_diagonal.astype(wide), 1)
    values, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + off + off.T)
    valid = jnp.sum(jnp.where(inside[:, None], vectors**2, 0), axis=0) > 0.5
    values = jnp.where(valid, values, 0).astype(dtype)
    vectors = jnp.where(inside[:, None] & valid[None, :], vectors, 0)
    return values, vectors.astype(dtype), valid


def top_ritz(
    matvec: Matvec,
    key: Key[Array, ""],
    k: int,
    *,
    size: int,
    steps: int,
    restarts: int,
    order: str = "largest",
    support: Array | None = None,
    dtype: Any = jnp.float32,
) -> Ritz:
    """Return the first k eigenpairs in an order; pure, jit- and vmap-safe.

    Args:
        matvec: (n,) -> (n,), symmetric.
        key: of the start vectors.
        k: how many.
        size: n.
        steps: Lanczos steps a run, k to n.
        restarts: runs after the first, at most; 0 to trust the first.
        order: one of :data:`ORDERS`.
        support: optional boolean (n,), the coordinates that vectors may have; the
            matrix must not leave them. It must have k coordinates or more.
        dtype: of the vectors.

    Returns:
        The pairs. If even the restarts did not turn up k of them, the rest has
        residual inf. It takes (steps + k) products a run.
    """

    def again(search: _Search) -> Array:
        return search.improved & (search.runs <= restarts)

    def body(search: _Search) -> _Search:
        locked = search.vectors
        drawn = jax.random.normal(jax.random.fold_in(key, search.runs), (size,), dtype)
        start = _start(masked(drawn, support), locked)
        product = lambda v: deflated(matvec(deflated(v, locked)), locked)
        small = run(product, start, steps, search.scale)
        return _merge(search, small, matvec, k, order)

    nothing = _Search(
        values=jnp.zeros(k, dtype),
        vectors=jnp.zeros((k, size), dtype),
        products=jnp.zeros((k, size), dtype),
        found=jnp.zeros(k, bool),
        steps=jnp.int32(0),
        runs=jnp.int32(0),
        scale=jnp.zeros([], dtype),
        improved=jnp.bool(True),
    )
    last = lax.while_loop(again, body, nothing)
    residuals = jnp.linalg.norm(
        last.products - last.values[:, None] * last.vectors, axis=1
    )
    residuals = jnp.where(last.found, residuals, jnp.inf)
    return Ritz(last.values, last.vectors, residuals, last.steps, last.runs)


def _start(drawn: Array, locked: Array) -> Array:
    """Return a start vector orthogonal to the rows; zeros if nothing is left of it."""
    start = deflated(deflated(drawn, locked), locked)
    noise = 100 * jnp.finfo(drawn.dtype).eps * jnp.linalg.norm(drawn)
    return jnp.where(jnp.linalg.norm(start) > noise, start, 0)


def deflated(v: Array, locked: Array) -> Array:
    """Return v, (n,) or rows, without what lies along orthonormal (or zero) rows."""
    return v - (v @ locked.T) @ locked


def rank_by(values: Array, found: Array, order: str) -> Array:
    """Return what to sort by, highest first; -inf for pairs that were not found."""
    score = {"largest": values, "smallest": -values, "magnitude": jnp.abs(values)}
    return jnp.where(found, score[order], -jnp.inf)


def _merge(
    search: _Search, small: Tridiagonal, matvec: Matvec, k: int, order: str
) -> _Search:
    """Take the first k of the span of what was known and of a new run's first k.

    A Rayleigh-Ritz step on both together: pairs that have not converged improve, and
    one that was missed comes in. Says whether anything came of it.
    """
    values, rotations, valid = eigen(small)
    score, chosen = lax.top_k(rank_by(values, valid, order), k)
    fresh = deflated((small.basis @ rotations[:, chosen]).T, search.vectors)
    norm = jnp.linalg.norm(fresh, axis=1, keepdims=True)
    new = (score > -jnp.inf) & (norm[:, 0] > 0.5)  # the rest was known, or is nothing
    fresh = jnp.where(new[:, None], fresh / norm, 0)
    both = jnp.concatenate([search.vectors, fresh])
    products = jnp.concatenate([search.products, lax.map(matvec, fresh)])
    values, rotation, found = _rayleigh_ritz(
        both, products, jnp.concatenate([search.found, new])
    )
    score, chosen = lax.top_k(rank_by(values, found, order), k)
    found, rotation = score > -jnp.inf, rotation[:, chosen].T
    noise = 16 * jnp.finfo(values.dtype).eps * small.scale
    before = rank_by(search.values, search.found, order)
    return _Search(
        values=values[chosen],
        vectors=rotation @ both,
        products=rotation @ products,
        found=found,
        steps=search.steps + small.valid,
        runs=search.runs + 1,
        scale=small.scale,
        improved=jnp.any(found & ~(score <= before + noise)),
    )


def _rayleigh_ritz(
    vectors: Array, products: Array, found: Array
) -> tuple[Array, Array, Array]:
    """Diagonalise within the rows found; columns of the rotation are eigenvectors."""
    inner = vectors @ products.T
    # What was not found goes where no eigenvalue can be, as in :func:`eigen`.
    away = jnp.where(found, 0, -(4 * jnp.max(jnp.abs(inner)) + 1))
    values, rotation = jnp.linalg.eigh((inner + inner.T) / 2 + jnp.diag(away))
    found = jnp.sum(jnp.where(found[:, None], rotation**2, 0), axis=0) > 0.5
    rotation = jnp.where(found[None, :], rotation, 0)
    return jnp.where(found, values, 0), rotation, found
