"""Intervals for what was counted."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from binary._checks import number
from synaptax.checks import check_integer


class Proportion(NamedTuple):
    """A proportion with its Wilson score interval.

    Attributes:
        count: successes.
        total: trials.
        value: count / total.
        low: lower end.
        high: upper end.
    """

    count: int
    total: int
    value: float
    low: float
    high: float


def wilson(count: int, total: int, *, level: float = 0.95) -> Proportion:
    """Return a proportion with its Wilson score interval.

    Args:
        count: successes, from 0 to ``total``.
        total: trials, at least 1.
        level: confidence, in (0, 1).

    Raises:
        ValueError: naming the argument out of range.

    Reference:
        Wilson, Probable inference, the law of succession, and statistical inference,
        JASA 22 (1927).
    """
    total = check_integer("total", total, 1)
    count = check_integer("count", count, 0, total)
    level = number("level", level, "a number in (0, 1)", lambda x: 0 < x < 1)
    z = -NormalDist().inv_cdf((1 - level) / 2)
    # (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    share = count / total
    shrink = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / shrink
    spread = math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    half = z * spread / shrink
    # 0 and 1 exactly at the ends, where the difference leaves a rounding error.
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return Proportion(count, total, share, low, high)
