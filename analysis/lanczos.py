r"""Lanczos that survives rank deficiency: a guard around matfree's decomposition.

A Krylov space of a matrix with r distinct eigenvalues in its start vector ends after r
steps: the next off-diagonal is rounding noise, and what is normalised after it is
noise too. matfree (as others) goes on, and the heavily pruned network is exactly this
case. :func:`run` looks at the off-diagonals afterwards: the first one that is at most

.. math:: 1000\, \epsilon \max_{i \le j}(|\alpha_i|, |\beta_i|)

ends the valid part, and everything behind it is cut off. That moves eigenvalues by at
most the coupling that is cut. :func:`top_ritz` then starts again, orthogonal to what it
has found, until nothing better turns up: that fills up after an early end, and finds
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
from synaptax.checks import check_integer
from synaptax.typing import Array, Key

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
    refine: Array  # the next run is to improve these, not to look for others
    done: Array


def valid_steps(diagonal: Array, off_diagonal: Array, scale: Any = 0.0) -> Array:
    """Return how many steps come before the first off-diagonal that is only noise.

    Args:
        diagonal: (m,).
        off_diagonal: (m - 1,), norms, >= 0; anything, NaN too, behind the first zero.
        scale: a size below which the matrix's entries do not count, if one is known.

    Returns:
        int32, 1 to m.
    """
    if diagonal.size == 1:
        return jnp.int32(1)
    # The largest |alpha_i|, |beta_i| up to a step estimates the norm of A from below.
    entries = jnp.maximum(jnp.abs(diagonal[:-1]), off_diagonal)
    largest = jnp.maximum(lax.cummax(entries), scale)
    noise = GUARD * jnp.finfo(diagonal.dtype).eps * largest
    ended = ~(off_diagonal > noise)  # NaN ends it too
    first = jnp.argmax(ended).astype(jnp.int32) + 1
    return jnp.where(jnp.any(ended), first, jnp.int32(diagonal.size))


def run(matvec: Matvec, start: Array, steps: int, scale: Any = 0.0) -> Tridiagonal:
    """Decompose with full re-orthogonalisation, and cut off what is not valid.

    Holds (n, m) numbers; beside m products the re-orthogonalisation costs O(n m^2).

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

    Example:
        >>> small = analysis.lanczos.run(lambda v: 2 * v, jnp.ones(4), 3)  # ends early
        >>> int(small.valid), small.diagonal.tolist()
        (1, [2.0, 0.0, 0.0])
    """
    most = start.size
    steps = check_integer("steps", steps, 1, most, expected=f"1 to {most}")
    # The sub-diagonal holds the residuals' norms as they were. The symmetric form
    # would average them with entries that are wrong as soon as one of them is noise.
    # A Q = Q T + beta_m q e_m^T, Q (n, m), T (m, m). Without re-orthogonalisation Q
    # loses its orthogonality as soon as a Ritz value converges, and T has it again and
    # again (Paige).
    factorise = _decomp().hessenberg(steps, reortho="full", custom_vjp=False)
    decomposition = factorise(matvec, start)
    hessenberg, basis = decomposition.J_small, decomposition.Q_tall.T
    diagonal, off = jnp.diagonal(hessenberg), jnp.diagonal(hessenberg, -1)
    valid = valid_steps(diagonal, off, scale)
    # A start vector of zeros spans no space: none of its steps is valid.
    valid = jnp.where(jnp.any(start != 0), valid, jnp.int32(0))
    largest = jnp.maximum(jnp.abs(diagonal), jnp.pad(off, (0, 1)))
    inside = jnp.arange(steps, dtype=jnp.int32) < valid
    largest = jnp.max(jnp.where(inside, largest, 0))
    whole = Tridiagonal(basis, diagonal, off, valid, jnp.maximum(largest, scale))
    return cut(whole, valid)


def cut(whole: Tridiagonal, valid: Array) -> Tridiagonal:
    """Set what lies behind the valid steps to zero, NaN too."""
    inside = jnp.arange(whole.diagonal.size, dtype=jnp.int32) < valid
    return whole._replace(
        basis=jnp.where(inside[None, :], whole.basis, 0),
        diagonal=jnp.where(inside, whole.diagonal, 0),
        # beta_j couples steps j and j + 1: it goes with the later one.
        off_diagonal=jnp.where(inside[1:], whole.off_diagonal, 0),
        valid=valid,
    )


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
    matrix = jnp.diag(small.diagonal) + jnp.diag(small.off_diagonal, 1)
    matrix = matrix + jnp.diag(small.off_diagonal, -1)
    return eigen_of_part(matrix, _inside(small))


def eigen_of_part(matrix: Array, inside: Array) -> tuple[Array, Array, Array]:
    """Diagonalise the part of a symmetric matrix whose coordinates are ``inside``.

    Args:
        matrix: (m, m), zero in the rows and columns outside.
        inside: boolean (m,).

    Returns:
        As :func:`eigen`.
    """
    wide = matrix.astype(jnp.result_type(float))  # float64 where it is enabled
    # What is outside goes where no eigenvalue can be, so that nothing mixes with it.
    away = -(2 * jnp.max(jnp.sum(jnp.abs(wide), axis=1)) + 1)
    values, vectors = jnp.linalg.eigh(wide + jnp.diag(jnp.where(inside, 0, away)))
    # An eigenvector lies inside or outside but for rounding: half of its square tells.
    valid = jnp.sum(jnp.where(inside[:, None], vectors**2, 0), axis=0) > 0.5
    values = jnp.where(valid, values, 0).astype(matrix.dtype)
    vectors = jnp.where(inside[:, None] & valid[None, :], vectors, 0)
    return values, vectors.astype(matrix.dtype), valid


def _inside(small: Tridiagonal) -> Array:
    return jnp.arange(small.diagonal.size, dtype=jnp.int32) < small.valid


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

    Each run starts orthogonal to the pairs found, at random or from the worst residual,
    and ends in a Rayleigh-Ritz step on old and new together: a thick restart (Wu and
    Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, 2000).

    Args:
        matvec: (n,) -> (n,), symmetric.
        key: of the start vectors.
        k: how many.
        size: n.
        steps: Lanczos steps a run, k to n.
        restarts: runs after the first, at most; 0 to trust the first.
        order: one of :data:`ORDERS`: most positive, most negative, or largest in
            absolute value first.
        support: optional boolean (n,), the coordinates that vectors may have; the
            matrix must not leave them. It must have k coordinates or more.
        dtype: of the vectors.

    Returns:
        The pairs. If even the restarts did not turn up k of them, the rest has
        residual inf. It takes (steps + k + 1) products a run. Each value lies within
        its residual of some eigenvalue; that none was missed is not proved.
    """

    def again(search: _Search) -> Array:
        return ~search.done & (search.runs <= restarts)

    def body(search: _Search) -> _Search:
        locked = search.vectors
        # The run's number makes its key, so that the loop carries none.
        noise = jax.random.normal(jax.random.fold_in(key, search.runs), (size,), dtype)
        residual_rows = _left_over(search)
        # The residuals of one run's pairs are all along its next basis vector: from the
        # worst of them the next run goes on where it ended.
        worst = residual_rows[jnp.argmax(jnp.linalg.norm(residual_rows, axis=1))]
        start = jnp.where(search.refine, worst, masked(noise, support))
        start = _outside(start, locked)
        product = _outside_product(matvec, start, locked)
        small = run(product, start, steps, search.scale)
        return _merge(search, apart(small, locked), matvec, order)

    nothing = _Search(
        values=jnp.zeros(k, dtype),
        vectors=jnp.zeros((k, size), dtype),
        products=jnp.zeros((k, size), dtype),
        found=jnp.zeros(k, bool),
        steps=jnp.int32(0),
        runs=jnp.int32(0),
        scale=jnp.zeros([], dtype),
        refine=jnp.bool(False),
        done=jnp.bool(False),
    )
    last = lax.while_loop(again, body, nothing)
    residuals = _residuals(last)
    residuals = jnp.where(last.found, residuals, jnp.inf)
    return Ritz(last.values, last.vectors, residuals, last.steps, last.runs)


def _left_over(search: _Search) -> Array:
    """Return the rows A v - value v."""
    return search.products - search.values[:, None] * search.vectors


def _residuals(search: _Search) -> Array:
    """Return the norms of these rows."""
    return jnp.linalg.norm(_left_over(search), axis=1)


def _outside(start: Array, locked: Array) -> Array:
    """Return what of a start vector is orthogonal to the rows; zeros if only noise."""
    # Twice is enough (Parlett): the first pass leaves rounding of the start's size.
    rest = deflated(deflated(start, locked), locked)
    # Rounding alone, if it were normalised, would begin a run along the rows again.
    noise = 100 * jnp.finfo(start.dtype).eps * jnp.linalg.norm(start)
    return jnp.where(jnp.linalg.norm(rest) > noise, rest, 0)


def apart(small: Tridiagonal, locked: Array) -> Tridiagonal:
    """End a decomposition where its basis stops being orthogonal to the rows.

    Each step re-orthogonalises within the basis only; a small off-diagonal magnifies
    what is left along the rows.
    """
    # max_i |v_i^T q_j|, (m,): of each column what lies along a row.
    leak = jnp.max(jnp.abs(locked @ small.basis), axis=0)
    clean = leak <= GUARD * jnp.finfo(leak.dtype).eps
    # The clean columns before the first that is not.
    steps = jnp.sum(jnp.cumprod(clean.astype(jnp.int32)), dtype=jnp.int32)
    return cut(small, jnp.minimum(small.valid, steps))


def _outside_product(matvec: Matvec, start: Array, locked: Array) -> Matvec:
    """Return the product with the matrix on what is orthogonal to the rows.

    The rows get an eigenvalue from within the spectrum that remains, the start
    vector's Rayleigh quotient. With the zero of a bare projection, a rounding error
    along them would grow from step to step wherever zero lies outside that spectrum.
    """
    square = start @ start
    quotient = (start @ matvec(start)) / jnp.where(square > 0, square, 1)

    def product(v: Array) -> Array:
        # P A P v + rho (1 - P) v, P = 1 - V^T V, rho the quotient: symmetric, with the
        # rows V as eigenvectors.
        inner = deflated(v, locked)
        return deflated(matvec(inner), locked) + quotient * (v - inner)

    return product


def deflated(v: Array, locked: Array) -> Array:
    """Return v, (n,) or rows, without what lies along orthonormal (or zero) rows."""
    return v - (v @ locked.T) @ locked


def rank_by(values: Array, found: Array, order: str) -> Array:
    """Return what to sort by, highest first; -inf for pairs that were not found."""
    score = {"largest": values, "smallest": -values, "magnitude": jnp.abs(values)}
    return jnp.where(found, score[order], -jnp.inf)


def _merge(search: _Search, small: Tridiagonal, matvec: Matvec, order: str) -> _Search:
    """Take the first k of the span of what was known and of a new run.

    A Rayleigh-Ritz step on both together (a thick restart): pairs that have not
    converged improve, and one that was missed comes in.
    """
    k = search.values.size
    coupling = search.products @ small.basis
    # The matrix on the span of rows V (k, n) and basis Q (n, m): blocks V A V^T =
    # diag(values), C = V A Q (k, m), and T = Q^T A Q, whose off-diagonals are added
    # below.
    inner = jnp.block(
        [
            [jnp.diag(search.values), coupling],
            [coupling.T, jnp.diag(small.diagonal)],
        ]
    )
    off = jnp.pad(jnp.diag(small.off_diagonal, 1), ((k, 0), (k, 0)))
    inside = jnp.concatenate([search.found, _inside(small)])
    values, rotation, valid = eigen_of_part(inner + off + off.T, inside)
    score, index = lax.top_k(rank_by(values, valid, order), k)
    old, new = rotation[:k, index], rotation[k:, index]
    # New rows (k, n), y_V^T V + (Q y_Q)^T, of the inner eigenvectors y = (y_V, y_Q).
    vectors = old.T @ search.vectors + (small.basis @ new).T
    products = lax.map(matvec, vectors)
    return _after(search, small, vectors, products, score > -jnp.inf, order)


def orthonormal(vectors: Array, products: Array, found: Array) -> tuple[Array, Array]:
    """Make nearly orthonormal rows orthonormal, and their products with them."""
    # V V^T = L L^T: the rows of L^-1 V are orthonormal, and L^-1 (A V^T)^T are their
    # products without a product more. Empty places, rows of zeros, get a one in the
    # Gram matrix, or L would be singular.
    gram = vectors @ vectors.T + jnp.diag(jnp.where(found, 0, 1).astype(vectors.dtype))
    lower = jnp.linalg.cholesky(gram)
    solve = lambda rows: jax.scipy.linalg.solve_triangular(lower, rows, lower=True)
    return solve(vectors), solve(products)


def _after(
    search: _Search,
    small: Tridiagonal,
    vectors: Array,
    products: Array,
    found: Array,
    order: str,
) -> _Search:
    """Settle the pairs by their own products, and what to do next.

    A run from a random start that brings nothing better is the last.
    """
    vectors, products = orthonormal(vectors, products, found)
    # Rayleigh-Ritz on the rows alone: V A V^T, (k, k), whose rounding is not symmetric.
    inner = vectors @ products.T
    values, rotation, found = eigen_of_part((inner + inner.T) / 2, found)
    index = jnp.argsort(-rank_by(values, found, order), stable=True)
    values, found, rotation = values[index], found[index], rotation[:, index].T
    eps = jnp.finfo(values.dtype).eps
    score = rank_by(values, found, order)
    before = rank_by(search.values, search.found, order)
    # Better by more than rounding; a pair that was not there before has -inf to beat.
    improved = jnp.any(found & ~(score <= before + 16 * eps * small.scale))
    after = _Search(
        values=values,
        vectors=rotation @ vectors,
        products=rotation @ products,
        found=found,
        steps=search.steps + small.valid,
        runs=search.runs + 1,
        scale=small.scale,
        refine=improved,
        done=~(search.refine | improved),
    )
    residuals = _residuals(after)
    unfinished = jnp.any(residuals > GUARD * eps * small.scale)
    return after._replace(refine=improved & unfinished)
