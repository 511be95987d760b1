"""Binary control variables: the stochastic perceptron with m = sqrt(q*) sigma."""

from __future__ import annotations

import numpy as np

from binary.theory._stochastic import (
    StochasticPoint,
    field_conjugate,
    observables,
    solve_overlap,
)
from binary.theory.checks import check_alpha, check_beta, check_q_star
from binary.theory.ensembles import _Z_POINTS, Ensemble, binary_weights
from binary.theory.fields import tilted_fields
from binary.theory.iteration import NotConverged
from binary.theory.quadrature import Rule, check_window, gaussian_rule
from binary.theory.special import log_2cosh


def control(
    alpha: float,
    q_star: float,
    beta: float,
    *,
    window: Rule | None = None,
) -> StochasticPoint:
    r"""Solve the perceptron whose control variables are signs.

    .. math::
        \varphi = -\tfrac12\hat q(1-q) + \int Dz\log2\cosh(\sqrt{\hat q}z)
        + \alpha\int Dz_0\log\int Du\,\Phi^\beta\Big(\sqrt{\tfrac{q^*}{1-q^*}}
        (\sqrt q z_0+\sqrt{1-q}\,u)\Big)

    The binarised configuration is sigma itself. Order parameters and the ensemble are
    those of sigma, so ``q_self`` is 1.

    Args:
        alpha: patterns per weight, > 0.
        q_star: mean of m^2, strictly between 0 and 1.
        beta: inverse temperature, > 0.
        window: a fixed rule for u; by default the nodes follow the measure.

    Returns:
        A :class:`~binary.theory.stochastic.StochasticPoint` without a multiplier.

    Raises:
        ValueError: for an argument out of range.
        NotConverged: when no saddle point is found to 1e-8.

    Example:
        >>> round(binary.theory.control(0.55, 0.5, 20.0).q, 4)
        0.8617
    """
    alpha, q_star = check_alpha(alpha), check_q_star(q_star)
    beta = check_beta(beta)
    check_window(window)
    z = gaussian_rule(_Z_POINTS)
    # m = sqrt(q*) sigma and S = N (1 - q*): Delta = gain times the field of sigma.
    gain = float(np.sqrt(q_star / (1 - q_star)))

    def gap(q: float) -> float:
        u, _ = tilted_fields(q, 1 - q, gain, beta, z.nodes, window=window)
        q_hat = field_conjugate(alpha, 1 - q, u, z)
        return float(z.weights @ np.tanh(np.sqrt(q_hat) * z.nodes) ** 2) - q

    name = f"control(alpha={alpha:g}, q_star={q_star:g}, beta={beta:g})"
    q, calls, residual = solve_overlap(gap, 1.0, name)
    u, log_fields = tilted_fields(q, 1 - q, gain, beta, z.nodes, window=window)
    q_hat = field_conjugate(alpha, 1 - q, u, z)
    # tanh(sqrt(q_hat) z) turns over within 1 / sqrt(q_hat): a wider step misses it.
    if np.sqrt(q_hat) * (z.nodes[1] - z.nodes[0]) > 1:
        raise NotConverged(f"{name}: q = {q:g} is too close to 1 for the grid")
    signs = np.array([-1.0, 1.0])
    weights = binary_weights(q_hat, z.nodes)
    ensemble = Ensemble("control", alpha, 1.0, q, q_hat, gain, z, signs, weights, u)
    phi = -0.5 * q_hat * (1 - q) + z.weights @ log_2cosh(np.sqrt(q_hat) * z.nodes)
    return StochasticPoint(
        alpha=alpha,
        q_star=q_star,
        beta=beta,
        q=q,
        q_hat=q_hat,
        multiplier=None,
        free_entropy=float(phi + alpha * (z.weights @ log_fields)),
        iterations=calls,
        residual=residual,
        ensemble=ensemble,
        **observables(ensemble),
    )
