"""One clear error for each bad argument of the theory."""

from __future__ import annotations

import math


def _fail(name: str, wanted: str, value: object) -> None:
    raise ValueError(f"{name}: expected {wanted}, got {value!r}")


def check_alpha(alpha: float) -> float:
    """Return a load alpha > 0 as a float."""
    alpha = float(alpha)
    if not (math.isfinite(alpha) and alpha > 0):
        _fail("alpha", "a finite load > 0", alpha)
    return alpha


def check_beta(beta: float) -> float:
    """Return an inverse temperature beta > 0 as a float."""
    beta = float(beta)
    if not (math.isfinite(beta) and beta > 0):
        _fail("beta", "a finite inverse temperature > 0", beta)
    return beta


def check_q_star(q_star: float) -> float:
    """Return a squared norm q* strictly between 0 and 1 as a float."""
    q_star = float(q_star)
    if not 0 < q_star < 1:
        _fail("q_star", "a number strictly between 0 and 1", q_star)
    return q_star


def check_margin(kappa: float) -> float:
    """Return a finite margin as a float."""
    kappa = float(kappa)
    if not math.isfinite(kappa):
        _fail("kappa", "a finite margin", kappa)
    return kappa


def check_distance(distance: float) -> float:
    """Return a Hamming distance per weight in [0, 0.5] as a float."""
    distance = float(distance)
    if not 0 <= distance <= 0.5:
        _fail("distance", "a fraction of weights in [0, 0.5]", distance)
    return distance
