r"""Sums over eigenvalues: the log-determinant and the effective dimension.

.. math:: \sum_i f(\lambda_i) = n f(0) + \mathrm{tr}\, g(A), \quad g = f - f(0)

The trace is taken exactly on a space Q that the largest eigenvalues span, and by probes
of random signs, freed from Q, elsewhere, as :func:`analysis.trace` does; each form
:math:`v^T g(A) v` by the quadrature rule that Lanczos has from v. g is 0 at zero, so
that eigenvalues which are zero add no noise. The matrix is that of the n surviving
weights: a pruned weight adds nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis import lanczos
from analysis._sets import at_least
from analysis.curvature import (
    FEW,
    check_finite,
    check_symmetric,
    coordinates,
    deflating,
    seed_of,
    signs,
    students,
    support_of,
)
from analysis.operators import Operator
from synaptax.checks import check_key, check_number
from synaptax.typing import Array, Key

_ROUNDING = 32.0  # units of rounding of the largest node


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum over eigenvalues with its standard error.

    Attributes:
        value: the exact part on the deflated space, plus the mean over the probes.
        standard_error: of that mean, from the spread of the probes, and at least the
            rounding of the products; what too few steps leave out is not in it.
        probes: how many.
        deflated: dimensions of the space whose part is exact.
        steps: of Lanczos, the most that a probe took.
        matvecs: products with the operator.
        seed: the key's data.
    """

    value: float
    standard_error: float
    probes: int
    deflated: int
    steps: int
    matvecs: int
    seed: tuple[int, ...]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's t interval of the sum, with probes - 1 degrees.

        Raises:
            ValueError: for a level outside (0, 1).
        """
        return students(self.value, self.standard_error, self.probes, level)


def log_determinant(
    operator: Operator,
    key: Key[Array, ""],
    *,
    damping: float,
    steps: int = 60,
    probes: int = 8,
) -> Sum:
    r"""Estimate :math:`\log \det(A + \delta 1)` over the surviving weights.

    Args:
        operator: of eigenvalues above -damping: Gauss-Newton or Fisher, or a Hessian
            with the damping of a Laplace approximation.
        key: of the probes.
        damping: delta > 0.
        steps: Lanczos steps a probe; the logarithm near zero needs more of them the
            smaller delta is beside the largest eigenvalue.
        probes: how many, at least 2.

    Raises:
        ValueError: for a damping that is not positive, or an eigenvalue at or below
            -damping (of which the logarithm is not real); as
            :func:`analysis.spectral_density`.

    Reference:
        Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos
        quadrature, SIAM Journal on Matrix Analysis and Applications 38 (2017).

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> found = analysis.log_determinant(
        ...     operator, jax.random.key(0), damping=0.5, probes=2
        ... )
        >>> round(found.value, 3)  # log(1.0 * 2.5)
        0.916
    """
    logarithm = lambda values: np.log(values + damping)
    return _sum(operator, key, logarithm, damping, steps, probes)


def effective_dimension(
    operator: Operator,
    key: Key[Array, ""],
    *,
    damping: float,
    steps: int = 60,
    probes: int = 8,
) -> Sum:
    r"""Estimate :math:`\sum_i \lambda_i / (\lambda_i + \delta)`.

    The number of directions that the data determine, beside a prior (or a decay) of
    precision delta.

    Args:
        operator: as :func:`log_determinant`.
        key: as there.
        damping: as there.
        steps: as there.
        probes: as there.

    Raises:
        ValueError: as there.

    Reference:
        MacKay, Bayesian interpolation, Neural Computation 4 (1992): gamma, the number
        of well-determined parameters.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> found = analysis.effective_dimension(
        ...     operator, jax.random.key(0), damping=0.5, probes=2
        ... )
        >>> round(found.value, 3)  # 0.5 + 0.8
        1.3
    """
    share = lambda values: values / (values + damping)
    return _sum(operator, key, share, damping, steps, probes)


def _sum(
    operator: Operator,
    key: Key[Array, ""],
    function: Callable[[np.ndarray], np.ndarray],
    damping: float,
    steps: int,
    probes: int,
) -> Sum:
    good = lambda delta: np.isfinite(delta) and delta > 0
    check_number("damping", damping, "a number > 0", good)
    at_least(2, probes=probes)
    at_least(1, steps=steps)
    check_key(key)
    support, room = support_of(operator, "survivors")
    if room < 1:
        raise ValueError("operator: its mask keeps no weight")
    deflate = room if room <= FEW else min(probes, FEW)
    steps = room if room <= FEW else min(steps, room)
    first, second = jax.random.split(key)
    products = check_symmetric(operator, first)
    if room <= FEW:  # a form for each coordinate, and nothing to estimate
        rules = _exact(operator.matvec, coordinates(operator, support), steps=steps)
    else:
        rules = _forms(
            operator.matvec,
            jax.random.split(second, deflate + probes),
            support,
            deflate=deflate,
            size=operator.size,
            steps=steps,
            dtype=operator.dtype,
        )
    nodes, weights = (np.asarray(part, np.float64) for part in rules[:2])
    check_finite(nodes)
    # An eigenvalue of zero comes out as rounding on either side.
    rounding = _ROUNDING * float(jnp.finfo(operator.dtype).eps) * np.abs(nodes).max()
    nodes = np.where((nodes < 0) & (nodes > -rounding), 0, nodes)
    low = nodes[weights > 0].min()
    if low <= -damping:
        raise ValueError(
            f"operator: eigenvalue {low:.3g}, at or below -damping = {-damping:.3g}; "
            "take a larger damping, or gauss_newton or fisher"
        )
    at_zero = float(function(np.zeros(1))[0])
    # Nodes of no weight lie behind the valid steps: f need not be defined there.
    values = np.zeros_like(nodes)
    values[weights > 0] = function(nodes[weights > 0]) - at_zero
    forms = (weights * values).sum(axis=1)  # v^T g(A) v
    exact, random = forms[:deflate].sum(), forms[deflate:]
    if not random.size:
        # Nothing is estimated: mean and spread of the random part are 0.
        random = np.zeros(probes)
    # An exact part has no spread, but the rounding of its sum.
    least = float(jnp.finfo(operator.dtype).eps) * (
        np.abs(forms).sum() + abs(room * at_zero)
    )
    return Sum(
        # n f(0) + sum_q q^T g(A) q + mean_v v^T g(A) v
        value=float(room * at_zero + exact + random.mean()),
        standard_error=max(float(random.std(ddof=1) / np.sqrt(probes)), least),
        probes=probes,
        deflated=deflate,
        steps=int(np.asarray(rules[2]).max()),
        matvecs=products + (deflate if room > FEW else 0) + len(forms) * steps,
        seed=seed_of(key),
    )


@functools.partial(jax.jit, static_argnames=("deflate", "size", "steps", "dtype"))
def _forms(
    matvec: Any,
    keys: Array,
    support: Array | None,
    *,
    deflate: int,
    size: int,
    steps: int,
    dtype: Any,
) -> tuple[Array, Array, Array]:
    """Return nodes and weights (starts, steps) of v^T f(A) v, and the valid steps.

    The starts are the columns of Q, then random signs without their part in Q.
    """
    basis = deflating(matvec, keys[:deflate], support, size, dtype)

    rule = functools.partial(_rule, matvec, steps)

    def probe(key: Array) -> tuple[Array, Array, Array]:
        v = signs(key, size, dtype, support)
        # (1 - Q Q^T) v, Q (n, deflate)
        return rule(v - basis @ (v @ basis))

    parts = (lax.map(rule, basis.T), lax.map(probe, keys[deflate:]))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *parts)


@functools.partial(jax.jit, static_argnames="steps")
def _exact(matvec: Any, units: Array, *, steps: int) -> tuple[Array, Array, Array]:
    """Return the rules of unit vectors, whose forms add up to the trace."""
    return lax.map(functools.partial(_rule, matvec, steps), units)


def _rule(matvec: Any, steps: int, start: Array) -> tuple[Array, Array, Array]:
    """Return nodes and weights of v^T f(A) v, and the valid steps."""
    small = lanczos.run(matvec, start, steps)
    values, vectors, valid = lanczos.eigen(small)
    # v^T f(A) v ~ v^T v sum_k (e_1^T u_k)^2 f(theta_k), T u_k = theta_k u_k.
    weights = jnp.where(valid, vectors[0] ** 2, 0) * (start @ start)
    return values, weights, small.valid
