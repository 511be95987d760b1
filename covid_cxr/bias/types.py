"""What a bias probe says."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from covid_cxr.metrics import Estimate
from covid_cxr.metrics.inputs import binary
from covid_cxr.metrics.intervals import quantile

#: A probe that could see only leaks above this area is not called silent.
WEAK = 0.8
_POWER = 0.8  # share of draws in which the smallest leak is to be seen

#: How far above silence an interval must lie for a probe to fire.
MARGIN = 0.05


class Probe(NamedTuple):
    """One question put to data or network, and its answer.

    Attributes:
        name: what was asked.
        found: the answer with its 95 % interval by patient.
        images: how many were scored.
        patients: how many they come from.
        alarm: whether a high value is a fault; a radiograph with its lungs in sight may
            well tell the label, a radiograph without them may not.
        silence: the value that says nothing: 1/2 for an area, 0 for a difference.
        note: what a reader must know.
        smallest: the smallest true area that would fire with these numbers in four of
            five draws (:func:`smallest_area`); NaN where that is not known.

    Example:
        >>> of = covid_cxr.metrics.Estimate
        >>> probe = covid_cxr.bias.Probe("source only", of(0.93, 0.88, 0.97), 120, 60)
        >>> probe.fires  # 0.88 lies above 1/2 + MARGIN
        True
    """

    name: str
    found: Estimate
    images: int
    patients: int
    alarm: bool = True
    silence: float = 0.5
    note: str = ""
    smallest: float = math.nan

    @property
    def fires(self) -> bool:
        """Whether it found a fault: the whole interval is above silence + MARGIN."""
        # Without an interval, as an area of 1 has none, the value itself decides.
        low = self.found.low if not math.isnan(self.found.low) else self.found.value
        return self.alarm and low > self.silence + MARGIN

    @property
    def verdict(self) -> str:
        """What may be said: an alarm, silence and of what, or that it saw nothing."""
        if self.fires:
            return "ALARM"
        if not self.alarm:
            return "no alarm"
        if math.isnan(self.found.value):
            return "undefined"
        if math.isnan(self.smallest):
            return "silent"
        if self.smallest > WEAK:
            return f"a leak below {self.smallest:.2f} could not be seen"
        return f"silent; a leak of {self.smallest:.2f} would be seen"


def labels_of(label: Any, count: int) -> np.ndarray:
    """Return (count,) labels as int64; a ValueError for others than 0 and 1."""
    values = binary(label).astype(np.int64)
    if values.size != count:
        raise ValueError(f"label: expected {count}, one an image, got {values.size}")
    return values


def smallest_area(positives: int, negatives: int) -> float:
    r"""Return the smallest area whose interval would lie above silence + MARGIN.

    .. math:: A - (z_{0.975} + z_{0.8})\, \mathrm{SE}(A) > 1/2 + \mathrm{MARGIN}

    with Hanley and McNeil's standard error for m positive and n negative patients,

    .. math:: \mathrm{SE}^2 = \frac{A(1-A) + (m-1)(Q_1-A^2) + (n-1)(Q_2-A^2)}{mn},
        \quad Q_1 = \frac{A}{2-A},\; Q_2 = \frac{2A^2}{1+A}

    Args:
        positives: patients with an image of the class.
        negatives: patients with one of the other.

    Returns:
        An area to 0.001; 1 if there are too few for any, NaN if a class is absent.

    Reference:
        Hanley and McNeil, The meaning and use of the area under a ROC curve,
        Radiology 1982.
    """
    if not positives or not negatives:
        return math.nan
    area = np.arange(0.5 + MARGIN, 1, 0.001)
    first = area / (2 - area) - area**2
    second = 2 * area**2 / (1 + area) - area**2
    variance = area * (1 - area) + (positives - 1) * first + (negatives - 1) * second
    error = np.sqrt(variance / (positives * negatives))
    reach = quantile(0.95) + float(ndtri(_POWER))
    visible = area[area - reach * error > 0.5 + MARGIN]
    return float(visible[0]) if visible.size else 1.0
