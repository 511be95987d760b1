"""The stochastic perceptron at fixed squared norm q* and inverse temperature beta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from binary.theory import configuration
from binary.theory.checks import check_alpha, check_beta, check_q_star
from binary.theory.ensembles import (
    _M_POINTS,
    _Z_POINTS,
    Ensemble,
    real_weights,
)
from binary.theory.fields import tilted_fields
from binary.theory.iteration import NotConverged, bracketed_root
from binary.theory.quadrature import (
    SPAN,
    Rule,
    check_window,
    gaussian_rule,
    split_rule,
)
from synaptax.checks import check_integer

_RISE = float(np.log(4 / 3))
# The finest grid, and the least nodes of z in a width sqrt(V).
_FINEST, _RESOLVED = 4, 1.2


@dataclass(frozen=True)
class StochasticPoint:
    """The replica-symmetric state of weights m drawn with exp(beta * likelihood).

    Attributes:
        alpha: patterns per weight.
        q_star: mean of m^2.
        beta: inverse temperature.
        q: overlap of two draws of m.
        q_hat: its conjugate.
        multiplier: A, which fixes the norm; None for binary control variables.
        free_entropy: log of the partition function per weight, Lebesgue measure on m.
        loss: mean of -log Phi(Delta) per pattern.
        energy_draw: mean training error of one draw W ~ Q_m.
        energy_mode: mean training error of sign(m).
        mean_abs: p_m, mean of |m|.
        alignment: t, mean of <m> <sign m>.
        replicon: the RS state is locally stable while this is below 1.
        iterations: turns of the saddle-point equations.
        residual: |q - q'| after one more turn of the saddle-point equations.
        ensemble: the measures, for robustness and the Franz-Parisi entropy.

    Example:
        >>> point = binary.theory.stochastic(0.55, 0.5, 20.0)
        >>> round(point.q, 4), round(point.energy_mode, 4), point.replicon < 1
        (0.4141, 0.0654, True)
    """

    alpha: float
    q_star: float
    beta: float
    q: float
    q_hat: float
    multiplier: float | None
    free_entropy: float
    loss: float
    energy_draw: float
    energy_mode: float
    mean_abs: float
    alignment: float
    replicon: float
    iterations: int
    residual: float
    ensemble: Ensemble


def solve_multiplier(
    q_hat: float, q_star: float, z: Rule, rule: Rule, start: float
) -> float:
    """Return A such that the mean of m^2 is q*, by safeguarded Newton steps.

    Raises:
        NotConverged: when the norm is not met to 1e-13 within 200 steps.
    """
    square = rule.nodes**2
    low, high = -np.inf, np.inf
    a = start
    for _ in range(200):
        weights, _ = real_weights(a, q_hat, z.nodes, rule)
        mean = weights @ square
        gap = float(z.weights @ mean - q_star)
        if abs(gap) < 1e-13 or high - low < 1e-13 * max(1.0, abs(a)):
            return a
        # The mean of m^2 rises with A, so each gap moves one end of the bracket.
        low, high = (a, high) if gap < 0 else (low, a)
        # d<m^2> / dA = (<m^4> - <m^2>^2) / 2, averaged over z
        slope = 0.5 * float(z.weights @ (weights @ square**2 - mean**2))
        step = -gap / max(slope, 1e-12)
        # Far from the root the slope is nearly 0 and Newton's step without bounds.
        a += float(np.clip(step, -0.5 * abs(a) - 10, 0.5 * abs(a) + 10))
        if not low < a < high:
            a = 0.5 * (low + high)
    raise NotConverged(f"multiplier: mean of m^2 off by {gap:.3g} after 200 steps")


def field_conjugate(alpha: float, variance: float, u: Rule, z: Rule) -> float:
    """Return q_hat = alpha int Dz0 (<u> / sqrt(V))^2."""
    mean = np.sum(u.weights * u.nodes, axis=1)
    return float(alpha * (z.weights @ mean**2) / variance)


def solve_overlap(
    gap: Callable[[float], float], q_self: float, name: str
) -> tuple[float, int, float]:
    """Return the q in (0, q_self) where one turn of the equations leads back to it.

    One turn raises a vanishing q and lowers one that approaches q_self, so a root lies
    between.

    Args:
        gap: q' - q after one turn.
        q_self: the largest q.
        name: what is solved, for the error.

    Returns:
        q, the turns taken, and |gap| at q.

    Raises:
        NotConverged: when the gap does not change sign, or is not below 1e-8.
    """
    q, calls = bracketed_root(gap, 1e-12, (1 - 1e-6) * q_self, name=name)
    residual = abs(gap(q))
    if not residual < 1e-8:
        raise NotConverged(f"{name}: residual {residual:.3g}, expected below 1e-08")
    return q, calls, residual


def observables(ensemble: Ensemble) -> dict[str, float]:
    """Return the fields of a StochasticPoint that the measures alone determine."""
    mean_abs, alignment = configuration.mode_overlaps(ensemble)
    return {
        "loss": configuration.loss(ensemble),
        "energy_draw": configuration.draw_energy(ensemble),
        "energy_mode": configuration.mode_energy(ensemble),
        "mean_abs": mean_abs,
        "alignment": alignment,
        "replicon": configuration.replicon(ensemble),
    }


def stochastic(
    alpha: float,
    q_star: float,
    beta: float,
    *,
    grid: int | None = None,
    window: Rule | None = None,
) -> StochasticPoint:
    r"""Solve the stochastic perceptron at fixed q* and beta.

    .. math::
        Z = \int_{[-1,1]^N} dm\,\delta\Big(\sum_i m_i^2 - q^* N\Big)
        \prod_\mu \Phi(\Delta_\mu)^\beta,\quad
        \Delta = \frac{\sqrt q z_0+\sqrt{q^*-q}\,u}{\sqrt{1-q^*}}

    Args:
        alpha: patterns per weight, > 0.
        q_star: mean of m^2, strictly between 0 and 1.
        beta: inverse temperature, > 0.
        grid: multiplies the number of quadrature nodes; by default the least, of 1 to
            4, that resolves the width sqrt(V) of m given its field.
        window: a fixed rule for u, to reproduce numbers computed with one; by default
            the nodes follow the measure.

    Returns:
        A :class:`StochasticPoint` of Python floats, with its ensemble.

    Raises:
        ValueError: for an argument out of range.
        NotConverged: when no saddle point is found to 1e-8, or beta is so large that
            the finest grid does not resolve it.

    Example:
        >>> round(binary.theory.stochastic(0.55, 0.5, 20.0).q, 4)
        0.4141

    Reference:
        Baldassi et al., arXiv 1710.09825.
    """
    alpha, q_star = check_alpha(alpha), check_q_star(q_star)
    beta = check_beta(beta)
    check_window(window)
    if grid is not None:
        grid = check_integer("grid", grid, 1)
    if grid is not None or window is not None:
        return _solve(alpha, q_star, beta, grid or 1, window)
    size = 1
    while size <= _FINEST:
        point = _solve(alpha, q_star, beta, size, None)
        spacing = 2 * SPAN / (_Z_POINTS - 1)
        needed = int(np.ceil(_RESOLVED * spacing / np.sqrt(point.ensemble.variance)))
        if needed <= size:
            return point
        size = needed
    raise NotConverged(
        f"stochastic: beta = {beta:g} at q_star = {q_star:g} needs a grid {size} times "
        f"the usual, more than {_FINEST}"
    )


def _solve(
    alpha: float, q_star: float, beta: float, grid: int, window: Rule | None
) -> StochasticPoint:
    """Solve on one grid."""
    z = gaussian_rule(grid * (_Z_POINTS - 1) + 1)
    m_rule = split_rule(grid * _M_POINTS)
    gain = 1 / np.sqrt(1 - q_star)
    multiplier = 0.0

    def tilt(q: float) -> tuple[Rule, np.ndarray]:
        return tilted_fields(
            q, q_star - q, gain, beta, z.nodes, points=60 * grid, window=window
        )

    def gap(q: float) -> float:
        nonlocal multiplier
        # q_hat from the fields, A from the norm, then q' = int Dz <m>^2; the next q
        # starts at this A.
        q_hat = field_conjugate(alpha, q_star - q, tilt(q)[0], z)
        multiplier = solve_multiplier(q_hat, q_star, z, m_rule, multiplier)
        weights, _ = real_weights(multiplier, q_hat, z.nodes, m_rule)
        return float(z.weights @ (weights @ m_rule.nodes) ** 2) - q

    name = f"stochastic(alpha={alpha:g}, q_star={q_star:g}, beta={beta:g})"
    q, calls, residual = solve_overlap(gap, q_star, name)
    u, log_fields = tilt(q)
    q_hat = field_conjugate(alpha, q_star - q, u, z)
    weights, log_weights = real_weights(multiplier, q_hat, z.nodes, m_rule)
    ensemble = Ensemble(
        "stochastic", alpha, q_star, q, q_hat, float(gain), z, m_rule.nodes, weights, u
    )
    # phi = -q*_hat q* / 2 + q_hat q / 2 + G_S + alpha G_E, with q*_hat = A + q_hat
    return StochasticPoint(
        alpha=alpha,
        q_star=q_star,
        beta=beta,
        q=q,
        q_hat=q_hat,
        multiplier=multiplier,
        free_entropy=-0.5 * (multiplier + q_hat) * q_star
        + 0.5 * q_hat * q
        + float(z.weights @ log_weights)
        + alpha * float(z.weights @ log_fields),
        iterations=calls,
        residual=residual,
        ensemble=ensemble,
        **observables(ensemble),
    )


def critical_beta(
    alpha: float, q_star: float, *, low: float = 2.0, high: float = 100.0
) -> StochasticPoint:
    """Return the point of the de Almeida-Thouless line: replicon = 1 at fixed q*.

    Beta rises from ``low`` by steps of a third until the replicon passes 1, so this is
    the lowest such beta; the RS state may become stable again further up.

    Args:
        alpha: patterns per weight, > 0.
        q_star: mean of m^2, strictly between 0 and 1.
        low: an inverse temperature at which the RS state is stable.
        high: the largest that is tried.

    Raises:
        ValueError: for an argument out of range.
        NotConverged: when the replicon does not pass 1 between the two.

    Example:
        >>> line = binary.theory.critical_beta(0.55, 0.9, low=15.0, high=40.0)
        >>> round(line.beta, 1), round(line.replicon, 3)
        (26.3, 1.0)
    """
    low, high = check_beta(low, "low"), check_beta(high, "high")
    if low > high:
        raise ValueError(f"high: expected at least low = {low:g}, got {high:g}")

    def at(log_beta: float) -> StochasticPoint:
        return stochastic(alpha, q_star, float(np.exp(log_beta)))

    here = float(np.log(low))
    if at(here).replicon > 1:
        raise NotConverged(f"critical_beta: RS is unstable already at beta = {low:g}")
    while here < np.log(high):
        before, here = here, min(here + _RISE, float(np.log(high)))
        if at(here).replicon > 1:
            log_beta, _ = bracketed_root(
                lambda t: at(t).replicon - 1,
                before,
                here,
                name="critical_beta",
                tolerance=1e-8,
            )
            return at(log_beta)
    raise NotConverged(
        f"critical_beta: RS is stable up to beta = {high:g} at q* = {q_star:g}"
    )
