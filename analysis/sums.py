r"""Sums over eigenvalues: the log-determinant and the effective dimension.

.. math:: \sum_i f(\lambda_i) \approx \frac{n}{p} \sum_{v} \sum_j w_{vj} f(\theta_{vj})

with the quadrature rules of :mod:`analysis.spectrum`, one for each of p probes v. The
matrix is that of the n surviving weights: a pruned weight adds nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from analysis.curvature import support_of
from analysis.operators import Operator
from analysis.spectrum import spectral_density
from synaptax.typing import Array, Key


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum over eigenvalues with its standard error.

    Attributes:
        value: n times the mean over probes.
        standard_error: of that mean, from the spread of the probes; what too few steps
            leave out is not in it.
        probes: how many.
        steps: of Lanczos, the most that a probe took.
        matvecs: products with the operator.
        seed: the key's data.
    """

    value: float
    standard_error: float
    probes: int
    steps: int
    matvecs: int
    seed: tuple[int, ...]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's t interval of the sum, with probes - 1 degrees.

        Raises:
            ValueError: for a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level: expected a number in (0, 1), got {level}")
        from scipy import stats

        quantile = stats.t.ppf((1 + level) / 2, self.probes - 1)
        half = float(quantile) * self.standard_error
        return self.value - half, self.value + half


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
    if not (np.isfinite(damping) and damping > 0):
        raise ValueError(f"damping: expected a number > 0, got {damping}")
    rules = spectral_density(operator, key, steps=steps, probes=probes)
    room = support_of(operator, "survivors")[1]
    used = rules.weights > 0
    low = rules.nodes[used].min()
    if low <= -damping:
        raise ValueError(
            f"operator: eigenvalue {low:.3g}, at or below -damping = {-damping:.3g}; "
            "take a larger damping, or gauss_newton or fisher"
        )
    values = np.zeros_like(rules.nodes)
    values[used] = function(rules.nodes[used])
    sums = room * (rules.weights * values).sum(axis=1)
    return Sum(
        value=float(sums.mean()),
        standard_error=float(sums.std(ddof=1) / np.sqrt(probes)),
        probes=probes,
        steps=int(rules.valid_steps.max()),
        matvecs=rules.matvecs,
        seed=rules.seed,
    )
