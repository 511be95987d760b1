"""Measures of the field of one pattern, given its frozen part z0.

The field is sqrt(q) z0 + sqrt(V) u with u a standard normal, reweighted by how well the
pattern is satisfied. Where z0 is very negative the weight moves u far into its tail, so
the nodes follow the density of each row; a fixed window cuts it off.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from binary.theory.quadrature import Rule, truncated_rule
from binary.theory.special import hazard, log_gaussian, log_tail

# The second derivative of the log density is -1 or below, by its u^2 / 2: at a distance
# of sqrt(2 * 40) = 8.9 from the mode it has fallen by 40, which is within the reach.
_DEPTH, _REACH = 40.0, 9.5


def normalised(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of probabilities and the log of each row's sum."""
    # The largest exponent comes out first: exp of the rest neither overflows nor is all
    # 0.
    peak = log_weights.max(axis=1, keepdims=True)
    mass = np.exp(log_weights - peak)
    total = mass.sum(axis=1, keepdims=True)
    return mass / total, (np.log(total) + peak)[:, 0]


def _bisect(
    positive: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    steps: int,
) -> np.ndarray:
    for _ in range(steps):
        middle = 0.5 * (low + high)
        below = positive(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def tilted_nodes(edge: np.ndarray, slope: float, beta: float, points: int) -> Rule:
    """Return nodes for averages over G(u) Phi(slope * (u - edge))^beta, row by row.

    The density is log-concave. Each row covers where it is above e^-40 of its peak,
    by Gauss-Legendre rules on both sides of the edge (of the peak, if the edge is
    outside), so that functions which step at the edge are integrated as well.

    Args:
        edge: float64, shape (Z,), where the field is zero.
        slope: how fast the argument of Phi grows with u, > 0.
        beta: inverse temperature.
        points: nodes on each side.

    Returns:
        A rule of shape (Z, 2 * points) for plain integrals over u.
    """

    def log_density(u: np.ndarray) -> np.ndarray:
        return -0.5 * u**2 + beta * log_tail(-slope * (u - edge))

    # The mode is where u = beta slope GH(-slope (u - edge)). At the bounds the right
    # side is above and below u: GH > 0 at u = 0, and GH < 1 beyond the edge.
    far = np.maximum(edge, 0) + beta * slope + 1
    mode = _bisect(
        lambda u: beta * slope * hazard(-slope * (u - edge)) > u, 0 * edge, far, 40
    )
    floor = log_density(mode) - _DEPTH
    # Sixteen halvings are enough: an end that is off by 1e-4 moves a density of e^-40.
    left = _bisect(lambda u: log_density(u) < floor, mode - _REACH, mode, 16)
    right = _bisect(lambda u: log_density(u) > floor, mode, mode + _REACH, 16)
    # A step at the edge, or a kink at large beta, is then at an end of a rule and not
    # inside one.
    split = np.where((edge > left) & (edge < right), edge, mode)
    x, w = np.polynomial.legendre.leggauss(points)
    nodes, weights = [], []
    for low, high in ((left, split), (split, right)):
        half = 0.5 * (high - low)[:, None]
        nodes.append(low[:, None] + half * (x + 1))
        weights.append(half * w)
    return Rule(np.concatenate(nodes, 1), np.concatenate(weights, 1))


def tilted_fields(
    q: float,
    variance: float,
    gain: float,
    beta: float,
    z: np.ndarray,
    *,
    points: int = 60,
    window: Rule | None = None,
) -> tuple[Rule, np.ndarray]:
    """Return the measure of u tilted by Phi(gain * field)^beta, and its log norm.

    Args:
        q: overlap of two references.
        variance: V = q_self - q.
        gain: Delta = gain * field.
        beta: inverse temperature.
        z: nodes of z0, shape (Z,).
        points: nodes on each side of the edge.
        window: a fixed rule for a standard normal u to use instead, such as
            ``gaussian_rule(641)``, which cuts off at |u| = 8.

    Returns:
        A normalised rule, shape (Z, U), and the log norms, shape (Z,).
    """
    if window is None:
        # sqrt(q) z0 + sqrt(V) u = 0
        edge = -np.sqrt(q / variance) * z
        u, plain = tilted_nodes(edge, gain * np.sqrt(variance), beta, points)
        log_w = log_gaussian(u) + np.log(plain)
    else:
        u, log_w = window.nodes[None, :], np.log(window.weights)
    # (Z, U); in logs to the end, as Phi^beta underflows at large beta.
    field = np.sqrt(q) * z[:, None] + np.sqrt(variance) * u
    probability, log_norm = normalised(beta * log_tail(-gain * field) + log_w)
    return Rule(u, probability), log_norm


def satisfied_fields(q: float, variance: float, z: np.ndarray) -> Rule:
    """Return the measure of u conditioned on a positive field, shape (Z, U)."""
    # The limit of beta and gain to infinity: Phi^beta becomes a step at the edge.
    return truncated_rule(-np.sqrt(q / variance) * z)
