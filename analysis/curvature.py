"""Eigenpairs and trace of an operator, with what it takes to judge them.

``view="survivors"`` looks only at the coordinates that the operator's mask keeps;
``view="all"`` at all weights, of which each pruned one adds an eigenvalue zero.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis import lanczos
from analysis._sets import at_least
from analysis.operators import Operator, masked
from synaptax.checks import check_choice, check_integer, check_key, check_number
from synaptax.typing import Array, Key

VIEWS = ("survivors", "all")
FEW = 16  # coordinates that are looked at one by one, and deflated at most


@dataclasses.dataclass(frozen=True)
class EigenPairs:
    """Approximate eigenpairs of an operator, in the order asked for.

    Attributes:
        values: (k,).
        vectors: (k, n), orthonormal rows; ``operator.unravel`` makes a tree of one.
        residuals: (k,), norms of A v - value v: an eigenvalue lies within this of the
            value. inf, with value and vector zero, for a pair that was not found.
        valid_steps: Lanczos steps before breakdown, of all runs together.
        runs: Lanczos runs made, the one that found nothing better included.
        matvecs: products with the operator.
        seed: the key's data.
        dtype: of the products.
    """

    values: np.ndarray
    vectors: Array
    residuals: np.ndarray
    valid_steps: int
    runs: int
    matvecs: int
    seed: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Trace:
    """A trace with its standard error.

    Attributes:
        value: the exact part on the deflated space, plus the mean over the probes.
        standard_error: of that mean, from the spread of the probes, and at least the
            rounding of the products.
        probes: how many.
        deflated: dimensions of the space whose part is exact.
        matvecs: products with the operator.
        seed: the key's data.
        dtype: of the products.
    """

    value: float
    standard_error: float
    probes: int
    deflated: int
    matvecs: int
    seed: tuple[int, ...]
    dtype: str

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's t interval of the trace, with probes - 1 degrees.

        Raises:
            ValueError: for a level outside (0, 1).
        """
        return students(self.value, self.standard_error, self.probes, level)


def top_eigenpairs(
    operator: Operator,
    k: int,
    key: Key[Array, ""],
    *,
    order: str = "largest",
    view: str = "survivors",
    steps: int | None = None,
    restarts: int | None = None,
) -> EigenPairs:
    """Return the k largest eigenvalues with their vectors, by restarted Lanczos.

    As long as pairs have not converged, the next run starts from what the worst one
    leaves over; then from a random vector, orthogonal to what was found, until such a
    run brings nothing better. So neither a run that ends early nor a multiple
    eigenvalue is a trap, and the usual cost is two runs.

    Args:
        operator: what to look at.
        k: how many pairs, 1 to the number of coordinates looked at.
        key: of the start vectors.
        order: ``"largest"``, ``"smallest"`` or ``"magnitude"``.
        view: see the module.
        steps: Lanczos steps a run; by default max(2 k + 30, 40), never more than
            there are coordinates. Memory: about three times steps x n numbers.
        restarts: runs after the first, at most; 2 k + 2 by default. 0 trusts the
            first.

    Returns:
        The pairs; look at the residuals.

    Raises:
        ValueError: for k, steps, order or view out of range; an operator that is not
            symmetric or gives non-finite products.

    Reference:
        Lanczos, Journal of Research of the National Bureau of Standards 45 (1950).

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> pairs = analysis.top_eigenpairs(operator, 2, jax.random.key(0))
        >>> pairs.values.round(3).tolist(), bool((pairs.residuals < 1e-5).all())
        ([2.0, 0.5], True)
    """
    check_choice("order", order, lanczos.ORDERS)
    support, room = support_of(operator, view)
    check_key(key)
    k = check_integer("k", k, 1, room, expected=f"1 to {room}")
    steps = min(max(2 * k + 30, 40), room) if steps is None else steps
    most = operator.size
    steps = check_integer("steps", steps, k, most, expected=f"{k} to {most}")
    restarts = 2 * k + 2 if restarts is None else restarts
    restarts = check_integer("restarts", restarts, 0, expected="0 or more")
    first, second = jax.random.split(key)
    products = check_symmetric(operator, first)
    ritz = _top(
        operator.matvec,
        second,
        support,
        k=k,
        size=operator.size,
        steps=steps,
        restarts=restarts,
        order=order,
        dtype=operator.dtype,
    )
    values = np.asarray(ritz.values)
    check_finite(values)
    runs = int(ritz.runs)
    return EigenPairs(
        values=values,
        vectors=ritz.vectors,
        residuals=np.asarray(ritz.residuals),
        valid_steps=int(ritz.steps),
        runs=runs,
        matvecs=products + runs * (steps + k + 1),
        seed=seed_of(key),
        dtype=jnp.dtype(operator.dtype).name,
    )


@functools.partial(
    jax.jit, static_argnames=("k", "size", "steps", "restarts", "order", "dtype")
)
def _top(
    matvec: Any, key: Array, support: Array | None, **options: Any
) -> lanczos.Ritz:
    return lanczos.top_ritz(matvec, key, support=support, **options)


def trace(
    operator: Operator,
    key: Key[Array, ""],
    *,
    probes: int = 32,
    deflate: int | None = None,
) -> Trace:
    r"""Estimate the trace, exactly on the largest eigenvalues and by probes elsewhere.

    .. math:: \mathrm{tr} A = \mathrm{tr}(Q^T A Q)
        + \mathrm{tr}((1 - Q Q^T) A (1 - Q Q^T))

    Q spans A times random signs, and so most of what the largest eigenvalues do. The
    second part is Hutchinson's mean of :math:`v^T A v` over random signs v, freed from
    Q: without the outliers, whose products are far from Gaussian, its error bars hold
    what they say.

    Args:
        operator: what to look at. Both views have the same trace.
        key: of the probes.
        probes: how many, at least 2; one at a time.
        deflate: dimensions of Q, by default as many as there are probes, but at most
            16; at most the number of coordinates. Memory: twice as many vectors. By
            default a matrix of at most 16 coordinates is not estimated but added up.

    Returns:
        The estimate with its standard error, (sample variance / probes)^(1/2).

    Raises:
        ValueError: for fewer than 2 probes, a deflation out of range, or an operator
            that is not symmetric or gives non-finite products.

    Reference:
        Hutchinson, Communications in Statistics 18 (1989); Meyer et al., Hutch++:
        optimal stochastic trace estimation, arXiv 2010.09649.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> round(analysis.trace(operator, jax.random.key(0), probes=2).value, 3)
        2.5
    """
    at_least(2, probes=probes)
    check_key(key)
    support, room = support_of(operator, "survivors")
    if deflate is None and room <= FEW:
        return _added_up(operator, key, support, probes)
    deflate = min(probes, FEW) if deflate is None else deflate
    deflate = check_integer("deflate", deflate, 0, room, expected=f"0 to {room}")
    first, second = jax.random.split(key)
    products = check_symmetric(operator, first)
    head, forms = _deflated_forms(
        operator.matvec,
        jax.random.split(second, deflate + probes),
        support,
        deflate,
        operator.size,
        operator.dtype,
    )
    values, exact = np.asarray(forms, np.float64), np.asarray(head, np.float64)
    check_finite(np.append(values, exact))
    rounding = float(jnp.finfo(operator.dtype).eps) * np.abs(exact).sum()
    return Trace(
        # tr(Q^T A Q) + mean_v v^T (1 - Q Q^T) A (1 - Q Q^T) v
        value=float(exact.sum() + values.mean()),
        standard_error=max(float(values.std(ddof=1) / np.sqrt(probes)), rounding),
        probes=probes,
        deflated=deflate,
        # Two a dimension of Q: A times signs, and q^T A q.
        matvecs=products + probes + 2 * deflate,
        seed=seed_of(key),
        dtype=jnp.dtype(operator.dtype).name,
    )


def _added_up(
    operator: Operator, key: Array, support: Array | None, probes: int
) -> Trace:
    """Return the trace of a small matrix, entry by entry of its diagonal."""
    products = check_symmetric(operator, jax.random.split(key)[0])
    units = coordinates(operator, support)
    entries = _entries(operator.matvec, units)
    values = np.asarray(entries, np.float64)
    check_finite(values)
    # Nothing is random here: what is left is the rounding of the sum.
    rounding = float(jnp.finfo(operator.dtype).eps) * np.abs(values).sum()
    return Trace(
        value=float(values.sum()),
        standard_error=float(rounding),
        probes=probes,
        deflated=len(units),
        matvecs=products + len(units),
        seed=seed_of(key),
        dtype=jnp.dtype(operator.dtype).name,
    )


@jax.jit
def _entries(matvec: Any, units: Array) -> Array:
    return lax.map(lambda unit: unit @ matvec(unit), units)


def coordinates(operator: Operator, support: Array | None) -> Array:
    """Return the unit vectors of the coordinates looked at, (coordinates, n)."""
    alive = np.arange(operator.size)
    if support is not None:
        alive = alive[np.asarray(support)]
    units = np.zeros((len(alive), operator.size))
    units[np.arange(len(alive)), alive] = 1
    return jnp.asarray(units, operator.dtype)


@functools.partial(jax.jit, static_argnames=("deflate", "size", "dtype"))
def _deflated_forms(
    matvec: Any,
    keys: Array,
    support: Array | None,
    deflate: int,
    size: int,
    dtype: Any,
) -> tuple[Array, Array]:
    """Return diag(Q^T A Q), and v^T A v of probes without their part in Q."""
    draw = lambda key: signs(key, size, dtype, support)
    basis = deflating(matvec, keys[:deflate], support, size, dtype)
    head = lax.map(lambda q: q @ matvec(q), basis.T)

    def form(key: Array) -> Array:
        v = draw(key)
        # (1 - Q Q^T) v, Q (n, deflate)
        v = v - basis @ (v @ basis)
        return v @ matvec(v)

    return head, lax.map(form, keys[deflate:])


def deflating(
    matvec: Any, keys: Array, support: Array | None, size: int, dtype: Any
) -> Array:
    """Return Q, (n, number of keys): orthonormal columns that span A times signs.

    Columns outside the support are zero.
    """
    # The sketch of Hutch++ (arXiv 2010.09649): Q from the QR of A S, S (n, keys) of
    # signs.
    image = lax.map(lambda key: matvec(signs(key, size, dtype, support)), keys)
    basis = jnp.linalg.qr(image.T)[0]
    if support is None:
        return basis
    # Where A has a smaller rank, QR completes the basis, outside the support too.
    # Such columns go; those that stay are orthonormal, whatever they are.
    outside = jnp.linalg.norm(jnp.where(support[:, None], 0, basis), axis=0)
    inside = outside < jnp.finfo(basis.dtype).eps ** 0.5
    return jnp.where(support[:, None] & inside[None, :], basis, 0)


def signs(key: Array, size: int, dtype: Any, support: Array | None) -> Array:
    """Return a vector of random signs, zero outside the support."""
    return masked(jax.random.rademacher(key, (size,), dtype), support)


def support_of(operator: Operator, view: str) -> tuple[Array | None, int]:
    """Return the coordinates of a view (None for all) and how many there are."""
    check_choice("view", view, VIEWS)
    if view == "all" or operator.mask is None:
        return None, operator.size
    return operator.mask, int(jnp.sum(operator.mask, dtype=jnp.int32))


def check_symmetric(operator: Operator, key: Array) -> int:
    """Raise unless two random products agree that the operator is symmetric.

    Compares <u, A v> with <v, A u> for random signs u and v; what differs by more
    than the square root of the rounding unit, relative to the size of the products,
    is no rounding.

    Returns:
        The number of products made.

    Raises:
        ValueError: for an asymmetric operator or non-finite products.
    """
    (left, right), size = _probe(
        operator.matvec, key, operator.mask, operator.size, operator.dtype
    )
    check_finite(np.asarray([left, right]))
    tolerance = float(np.sqrt(jnp.finfo(operator.dtype).eps)) * float(size)
    if abs(float(left) - float(right)) > tolerance:
        raise ValueError(
            f"operator: not symmetric, <u, A v> = {float(left):.6g} but <v, A u> = "
            f"{float(right):.6g}"
        )
    return 2


@functools.partial(jax.jit, static_argnames=("size", "dtype"))
def _probe(
    matvec: Any, key: Array, support: Array | None, size: int, dtype: Any
) -> tuple[tuple[Array, Array], Array]:
    u, v = (signs(one, size, dtype, support) for one in jax.random.split(key))
    products = lax.map(matvec, jnp.stack([u, v]))
    norm = jnp.max(jnp.linalg.norm(products, axis=1))
    return (u @ products[1], v @ products[0]), norm


def students(
    mean: float, standard_error: float, count: int, level: float
) -> tuple[float, float]:
    """Return Student's t interval of a mean of ``count`` values.

    Raises:
        ValueError: for a level outside (0, 1).
    """
    check_number("level", level, "a number in (0, 1)", lambda share: 0 < share < 1)
    from scipy import stats

    # t with count - 1 degrees: the spread was estimated from the same values.
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * standard_error
    return mean - half, mean + half


def check_finite(values: np.ndarray) -> None:
    """Raise a ValueError if a number is NaN or infinite."""
    if not np.isfinite(values).all():
        raise ValueError(
            "operator: its products are not finite; look at the loss, the parameters "
            "and the data"
        )


def seed_of(key: Array) -> tuple[int, ...]:
    """Return a key's data, to make it again."""
    return tuple(int(word) for word in np.ravel(jax.random.key_data(key)))
