"""One clear error for each bad argument of the theory."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from binary._checks import number


def check_alpha(alpha: Any) -> float:
    """Return a load alpha > 0 as a float."""
    return number("alpha", alpha, "a finite load > 0", lambda a: 0 < a < inf)


def check_beta(beta: Any, name: str = "beta") -> float:
    """Return an inverse temperature beta > 0 as a float."""
    expected = "a finite inverse temperature > 0"
    return number(name, beta, expected, lambda b: 0 < b < inf)


def check_q_star(q_star: Any) -> float:
    """Return a squared norm q* strictly between 0 and 1 as a float."""
    expected = "a number strictly between 0 and 1"
    return number("q_star", q_star, expected, lambda q: 0 < q < 1)


def check_margin(kappa: Any) -> float:
    """Return a finite margin as a float."""
    return number("kappa", kappa, "a finite margin")


def check_distance(distance: Any) -> float:
    """Return a Hamming distance per weight in [0, 0.5] as a float."""
    expected = "a fraction of weights in [0, 0.5]"
    return number("distance", distance, expected, lambda d: 0 <= d <= 0.5)


def listed(values: Any, name: str) -> list[Any]:
    """Return the values of a sequence or an array; else raise naming it."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}: expected a list of numbers, got {values!r}")
    return list(values)
