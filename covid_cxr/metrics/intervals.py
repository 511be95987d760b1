"""Estimates with their intervals, Wilson's interval, and Holm's correction."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import binomtest

from covid_cxr.metrics.inputs import fraction, whole

NAN = math.nan


class Estimate(NamedTuple):
    """A number, how sure it is, and what keeps it from being one.

    Attributes:
        value: the point estimate; NaN where it is undefined.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        note: why value or interval is undefined or degenerate; empty if neither is.

    Example:
        >>> covid_cxr.metrics.Estimate(0.8, 0.7, 0.9).low
        0.7
    """

    value: float
    low: float = NAN
    high: float = NAN
    note: str = ""

    def text(self, digits: int = 3) -> str:
        """Return ``0.812 (0.744 to 0.871)``, or what stands in the way."""
        if math.isnan(self.value):
            return f"undefined ({self.note})" if self.note else "undefined"
        if math.isnan(self.low):
            return f"{self.value:.{digits}f}"
        return (
            f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"
        )


def quantile(level: float) -> float:
    """Return z with P(|Z| <= z) = level for a standard normal Z."""
    return float(ndtri(0.5 + fraction("level", level) / 2))


def wilson(successes: int, trials: int, *, level: float = 0.95) -> Estimate:
    r"""Return a proportion with Wilson's score interval.

    .. math:: \frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}

    Args:
        successes: 0 <= successes <= trials.
        trials: independent trials, one image of each patient say; 0 gives NaN and a
            note.
        level: coverage of the interval.

    Returns:
        The proportion and its interval, which stays inside [0, 1].

    Raises:
        ValueError: for counts that are negative or do not fit.

    Reference:
        Wilson, Probable inference, the law of succession, and statistical inference,
        JASA 1927.

    Example:
        >>> estimate = covid_cxr.metrics.wilson(9, 10)
        >>> round(estimate.low, 3), round(estimate.high, 3)
        (0.596, 0.982)
    """
    successes, trials = whole("successes", successes), whole("trials", trials)
    if not 0 <= successes <= trials:
        raise ValueError(
            f"successes: expected 0 to {trials} (the trials), got {successes}"
        )
    fraction("level", level)
    if not trials:
        return Estimate(NAN, note="no trials")
    ends = binomtest(successes, trials).proportion_ci(level, method="wilson")
    return Estimate(successes / trials, float(ends.low), float(ends.high))


def holm(p_values: Any) -> list[float]:
    """Return Holm's adjusted p-values, in the order given.

    Rejecting what is at most alpha keeps the chance of any false rejection at most
    alpha, whatever the dependence. NaN (a test that could not be done) stays NaN and
    is not counted.

    Args:
        p_values: (K,) numbers in [0, 1] or NaN.

    Returns:
        K numbers, plain as p-values are everywhere here.

    Raises:
        ValueError: for another shape or a number outside [0, 1].

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, 1979.

    Example:
        >>> [round(p, 3) for p in covid_cxr.metrics.holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    try:
        p = np.asarray(p_values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"p_values: expected numbers: {error}") from error
    valid = ~np.isnan(p)
    if p.ndim != 1 or np.any((p[valid] < 0) | (p[valid] > 1)):
        raise ValueError("p_values: expected shape (K,) in [0, 1]")
    out = np.full(p.shape, NAN)
    order = np.flatnonzero(valid)[np.argsort(p[valid], kind="stable")]
    # With p_(1) <= ... <= p_(K): p'_(i) = min(1, max_{j <= i} (K - j + 1) p_(j)).
    factors = np.arange(order.size, 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return out.tolist()
