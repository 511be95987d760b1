"""Variances and tests of areas under ROC curves, by placement values.

The placement of a positive image is the share of negatives that it beats (ties count
one half), and the other way round; the area is the mean of either. All in NumPy and
float64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtr
from scipy.stats import rankdata

from covid_cxr.metrics.inputs import Scored, array, binary, finite, scored
from covid_cxr.metrics.intervals import NAN, Estimate, quantile


class Areas(NamedTuple):
    """Areas of K readers on the same images, and how they vary together.

    Attributes:
        auc: (K,) float64.
        covariance: (K, K) float64; NaN if a class has fewer than 2 images.

    Example:
        >>> label, scores = [0, 0, 1, 1], [[0.1, 0.4, 0.35, 0.8], [0.2, 0.1, 0.9, 0.8]]
        >>> areas = covid_cxr.metrics.delong(label, scores)
        >>> areas.auc.tolist(), areas.covariance.shape
        ([0.75, 1.0], (2, 2))
    """

    auc: np.ndarray
    covariance: np.ndarray


class Comparison(NamedTuple):
    """A paired test of two areas.

    Attributes:
        difference: area of the first minus that of the second, with its interval.
        z: the test statistic; NaN where it is undefined.
        p: two-sided p-value; 1 if the scores rank the images alike.

    Example:
        >>> label, first = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
        >>> second = [0.2, 0.1, 0.9, 0.8]
        >>> covid_cxr.metrics.delong_test(label, first, second).difference.value
        -0.25
    """

    difference: Estimate
    z: float
    p: float


def placements(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the placements of the positives, (m,), and of the negatives, (n,).

    Args:
        label: (N,) bool.
        score: (N,) float64.

    Returns:
        Shares in [0, 1], in O(N log N), in the order of the images.
    """
    positive, negative = score[label], score[~label]
    # A midrank R among all images less the midrank R' inside one's own class counts the
    # other class below, ties one half: V10_i = (R_i - R'_i) / n for the m positives,
    # V01_j = 1 - (R_j - R'_j) / m for the n negatives.
    ranks = rankdata(score)
    above = (ranks[label] - rankdata(positive)) / negative.size
    below = 1 - (ranks[~label] - rankdata(negative)) / positive.size
    return above, below


def delong(label: Any, scores: Any) -> Areas:
    """Return areas with DeLong's covariance, for independent images.

    Args:
        label: (N,) of 0 and 1.
        scores: (N,) for one reader, or (K, N) for K of them.

    Returns:
        The areas, NaN if a class is absent, and their covariance.

    Raises:
        ValueError: for labels or scores of another shape or not finite.

    Reference:
        DeLong, DeLong and Clarke-Pearson, Biometrics 1988; by midranks as Sun and Xu,
        IEEE Signal Processing Letters 2014.

    Example:
        >>> label, score = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
        >>> areas = covid_cxr.metrics.delong(label, score)
        >>> areas.auc.tolist(), round(float(areas.covariance[0, 0]) ** 0.5, 3)
        ([0.75], 0.354)
    """
    label = binary(label)
    rows = np.atleast_2d(array("scores", scores))
    if rows.ndim != 2 or not rows.shape[0]:
        raise ValueError(f"scores: expected (N,) or (K, N), got {np.shape(scores)}")
    rows = [finite("scores", row, label.size) for row in rows]
    nothing = np.full((len(rows), len(rows)), NAN)
    m, n = int(label.sum()), int((~label).sum())
    if not m or not n:
        return Areas(np.full(len(rows), NAN), nothing)
    pairs = [placements(label, row) for row in rows]
    above, below = (np.stack(side) for side in zip(*pairs, strict=True))
    area = above.mean(axis=1)
    if m < 2 or n < 2:
        return Areas(area, nothing)
    # S = S10 / m + S01 / n, (K, K), of the placements (K, m) and (K, n). np.cov returns
    # a scalar for a single reader.
    spread = np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n
    return Areas(area, spread)


def auc_interval(
    label: Any, score: Any, *, patient: Any = None, level: float = 0.95
) -> Estimate:
    """Return an area with its analytic interval, formed on the logit scale.

    Args:
        label: (N,) of 0 and 1.
        score: (N,) finite numbers.
        patient: (N,) identifiers; with them the variance is Obuchowski's for
            clustered images, without them DeLong's for independent ones.
        level: coverage of the interval.

    Returns:
        The area and an interval inside [0, 1]; a note where one of them is undefined.

    Raises:
        ValueError: for what :func:`covid_cxr.metrics.inputs.scored` refuses.

    Example:
        >>> label, score = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.8, 0.9]
        >>> area = covid_cxr.metrics.auc_interval(label, score)
        >>> round(area.value, 3), 0 < area.low < area.value < area.high < 1
        (0.889, True)
    """
    data, z = scored(label, score, patient), quantile(level)
    area, spread = delong(data.label, data.score)
    value, variance = float(area[0]), float(spread[0, 0])
    if math.isnan(value):
        return Estimate(NAN, note="one class is absent")
    if patient is not None:
        variance = clustered_variance(data)
    if math.isnan(variance):
        return Estimate(value, note="too few images or patients for a variance")
    if variance == 0 or not 0 < value < 1:
        note = "constant scores" if np.ptp(data.score) == 0 else "no variance observed"
        return Estimate(value, note=note)
    # By the delta method sd(logit A) = sd(A) / (A (1 - A)). Back on A the ends stay
    # inside (0, 1), as A -+ z sd(A) would not near 1.
    half = z * math.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-half, half]))
    return Estimate(value, float(low), float(high))


def clustered_variance(data: Scored) -> float:
    """Return the variance of the area when images of one patient are related.

    Args:
        data: images, with both classes present.

    Returns:
        The variance; NaN if fewer than 2 patients have images of a class.

    Reference:
        Obuchowski, Nonparametric analysis of clustered ROC curve data,
        Biometrics 1997.
    """
    above, below = placements(data.label, data.score)
    area, m, n = above.mean(), data.positives, data.negatives
    total = data.patients
    hit, clear = data.patient[data.label], data.patient[~data.label]
    # Sums by patient of V10 - A over his m_i positives and of V01 - A over his n_i
    # negatives, (patients,) each; a patient without one of the kinds has 0.
    first = np.bincount(hit, above - area, total)
    second = np.bincount(clear, below - area, total)
    with_hit, with_clear = np.unique(hit).size, np.unique(clear).size
    if with_hit < 2 or with_clear < 2:
        return NAN
    # With I patients, I10 of them with a positive and I01 with a negative,
    #   Var A = I10 / (I10 - 1) sum_i first_i^2 / m^2
    #         + I01 / (I01 - 1) sum_i second_i^2 / n^2
    #         + 2 I / (I - 1) sum_i first_i second_i / (m n);
    # the last term is of the patients who have both.
    return float(
        with_hit / (with_hit - 1) * (first @ first) / m**2
        + with_clear / (with_clear - 1) * (second @ second) / n**2
        + 2 * total / (total - 1) * (first @ second) / (m * n)
    )


def delong_test(
    label: Any, first: Any, second: Any, *, level: float = 0.95
) -> Comparison:
    """Test whether two readers of the same independent images have equal areas.

    Args:
        label: (N,) of 0 and 1.
        first: (N,) scores of one reader.
        second: (N,) scores of the other, in the same order.
        level: coverage of the difference's interval.

    Returns:
        The difference, z and the two-sided p-value; NaN with a note if undefined.

    Raises:
        ValueError: for labels or scores of another shape or not finite.

    Example:
        >>> label, first = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
        >>> second = [0.2, 0.1, 0.9, 0.8]
        >>> round(covid_cxr.metrics.delong_test(label, first, second).p, 3)
        0.48
    """
    label = binary(label)
    both = [finite(n, s, label.size) for n, s in (("first", first), ("second", second))]
    area, spread = delong(label, np.stack(both))
    difference = float(area[0] - area[1])
    # Var(A_1 - A_2) = S_11 + S_22 - 2 S_12: the readers see the same images.
    variance = float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    if math.isnan(variance):
        note = "fewer than 2 images of a class"
        return Comparison(Estimate(difference, note=note), NAN, NAN)
    # S has entries up to 1/2, so 1e-15 is what rounding leaves of a difference that is
    # 0.
    if variance <= 1e-15:
        if difference == 0:
            same = Estimate(0.0, 0.0, 0.0, "both rank the images alike")
            return Comparison(same, 0.0, 1.0)
        return Comparison(Estimate(difference, note="no variance observed"), NAN, NAN)
    spread_of = math.sqrt(variance)
    z, half = difference / spread_of, quantile(level) * spread_of
    estimate = Estimate(difference, difference - half, difference + half)
    return Comparison(estimate, z, float(2 * ndtr(-abs(z))))
