"""Decision thresholds: chosen on validation images, then carried over unchanged."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.metrics.inputs import finite, fraction, number
from covid_cxr.metrics.roc import roc_curve


class Threshold(NamedTuple):
    """A threshold and where it comes from.

    Attributes:
        value: an image is called positive if its score is at least this.
        rule: how it was chosen, ``"fixed"``, ``"youden"`` or ``"sensitivity >= 0.9"``.
        chosen_on: the number of validation images it was chosen on; 0 if fixed.
        sensitivity: on those images; NaN if fixed.
        specificity: likewise.

    Example:
        >>> threshold = covid_cxr.metrics.youden([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.8])
        >>> threshold.rule, threshold.chosen_on
        ('youden', 4)
    """

    value: float
    rule: str
    chosen_on: int = 0
    sensitivity: float = math.nan
    specificity: float = math.nan


FIXED = Threshold(0.5, "fixed")


def youden(label: Any, score: Any) -> Threshold:
    """Return the threshold with the largest sensitivity + specificity - 1.

    Of equal ones, the highest. It lies midway between two neighbouring scores.

    Args:
        label: (N,) of 0 and 1, both present; of validation images.
        score: (N,) finite numbers.

    Returns:
        The threshold with what it reaches on these images.

    Raises:
        ValueError: if a class is absent.

    Reference:
        Youden, Index for rating diagnostic tests, Cancer 1950.

    Example:
        >>> covid_cxr.metrics.youden([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.8]).value
        0.5
    """
    curve = roc_curve(label, score)
    # argmax takes the first, and thresholds fall along the curve: of equal ones the
    # highest.
    index = int(np.argmax(curve.sensitivity - curve.false_positive_rate))
    return _at(curve, index, "youden", np.size(label))


def at_sensitivity(label: Any, score: Any, wanted: float) -> Threshold:
    """Return the highest threshold that reaches a sensitivity.

    Args:
        label: (N,) of 0 and 1, both present; of validation images.
        score: (N,) finite numbers.
        wanted: in (0, 1).

    Returns:
        The threshold with what it reaches on these images.

    Raises:
        ValueError: if a class is absent or ``wanted`` is outside (0, 1).

    Example:
        >>> label, score = [0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8]
        >>> threshold = covid_cxr.metrics.at_sensitivity(label, score, 0.9)
        >>> threshold.sensitivity, threshold.specificity
        (1.0, 0.5)
    """
    wanted = fraction("wanted", wanted)
    curve = roc_curve(label, score)
    # 1e-12: by the rounding of 0.1 + 0.2, say, no further positive shall be asked for.
    index = int(np.argmax(curve.sensitivity >= wanted - 1e-12))
    return _at(curve, index, f"sensitivity >= {wanted:g}", np.size(label))


def decide(score: Any, threshold: Threshold) -> np.ndarray:
    """Return which images are called positive: (N,) bool.

    Example:
        >>> covid_cxr.metrics.decide([0.2, 0.7], covid_cxr.metrics.FIXED).tolist()
        [False, True]
    """
    return finite("score", score, np.size(score)) >= value_of(threshold)


def value_of(threshold: Threshold) -> float:
    """Return a threshold's number; a ValueError for no Threshold, or one of NaN."""
    if not isinstance(threshold, Threshold):
        raise ValueError(f"threshold: expected a Threshold, got {threshold!r}")
    value = number("threshold.value", threshold.value)
    if math.isnan(value):
        raise ValueError("threshold.value: expected a number, got NaN")
    return value


def _at(curve: Any, index: int, rule: str, count: int) -> Threshold:
    """Return point ``index`` of a curve, its threshold between the scores."""
    values = curve.threshold
    if index == 0:
        # Nothing is called: just above the highest score.
        value = float(np.nextafter(values[1], np.inf))
    elif index + 1 == values.size:
        # Everything is called: no lower score is there to lie midway to.
        value = float(values[index])
    else:
        upper, lower = values[index], values[index + 1]
        middle = lower / 2 + upper / 2  # no sum of two large scores is infinite
        # Of neighbouring numbers it may be the lower, which is not to be called.
        value = float(middle if lower < middle <= upper else upper)
    return Threshold(
        value,
        rule,
        count,
        float(curve.sensitivity[index]),
        1 - float(curve.false_positive_rate[index]),
    )
