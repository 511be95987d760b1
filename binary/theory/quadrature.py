"""Quadrature rules: Gaussian averages, an interval split at 0, half-line tails."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

# The density of a standard normal there is 1e-14 of its peak.
SPAN = 8.0


class Rule(NamedTuple):
    """Nodes and weights of a quadrature rule.

    Attributes:
        nodes: float64, shape (n,) or (rows, n).
        weights: float64, the shape of the nodes.
    """

    nodes: np.ndarray
    weights: np.ndarray


def check_window(window: Any) -> None:
    """Raise unless a window for u is a rule, or left out."""
    if not (window is None or isinstance(window, Rule)):
        raise ValueError(
            f"window: expected a Rule or None, got {type(window).__name__}"
        )


def _frozen(nodes: np.ndarray, weights: np.ndarray) -> Rule:
    # Cached rules are shared by all callers.
    for one in (nodes, weights):
        one.setflags(write=False)
    return Rule(nodes, weights)


@lru_cache(maxsize=32)
def gaussian_rule(points: int = 641, span: float = SPAN) -> Rule:
    """Return a rule for averages over a standard normal variable.

    The trapezoid rule on a uniform grid converges exponentially for integrands that
    are analytic in a strip; the weights are normalised to sum to 1.
    """
    nodes = np.linspace(-span, span, points)
    weights = np.exp(-0.5 * nodes**2)
    return _frozen(nodes, weights / weights.sum())


@lru_cache(maxsize=32)
def split_rule(points: int = 100, half_width: float = 1.0) -> Rule:
    """Return Gauss-Legendre nodes on [-L, 0] and on [0, L], ``points`` on each.

    Integrands with sign(m) jump at 0; a rule that does not split there is wrong by
    about a percent.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    right = 0.5 * half_width * (nodes + 1)
    scaled = 0.5 * half_width * weights
    return _frozen(
        np.concatenate([-right[::-1], right]),
        np.concatenate([scaled[::-1], scaled]),
    )


def truncated_rule(edge: np.ndarray, points: int = 80) -> Rule:
    """Return a rule for averages over a standard normal conditioned on u > edge.

    Args:
        edge: float64, shape (rows,), the lower limits.
        points: Gauss-Legendre nodes on the part of the half line where the density
            is above e^-36 of its largest value.

    Returns:
        Nodes and weights of shape (rows, points); each row of weights sums to 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    # Less than 1e-17 of the mass lies below -8.5. Up to sqrt(low^2 + 72) the density
    # falls to e^-36 of what it is at the edge, or of its peak where that is inside.
    low = np.maximum(np.asarray(edge, np.float64), -SPAN - 0.5)
    width = np.sqrt(np.maximum(low, 0) ** 2 + 72) - low
    u = low[:, None] + 0.5 * width[:, None] * (nodes + 1)
    peak = np.maximum(low, 0)[:, None]
    # e^(-(u^2 - peak^2) / 2): relative to the largest, so that no far tail underflows.
    mass = weights * np.exp(0.5 * (peak - u) * (peak + u))
    return Rule(u, mass / mass.sum(axis=1, keepdims=True))
