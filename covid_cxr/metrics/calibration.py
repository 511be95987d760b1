"""Whether a probability of 0.8 comes true four times out of five."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from covid_cxr.metrics.inputs import binary, finite, fraction, probability, whole
from covid_cxr.metrics.intervals import NAN, Estimate, wilson
from synaptax.checks import check_number

_EDGE = 1e-12  # probabilities are kept this far from 0 and 1 before a logit


class Bin(NamedTuple):
    """Images of similar predicted probability.

    Attributes:
        count: how many.
        predicted: their mean predicted probability.
        observed: the share that is positive, with Wilson's interval.
    """

    count: int
    predicted: float
    observed: Estimate


class Recalibration(NamedTuple):
    """The logistic regression of the label on the logit of the prediction.

    Attributes:
        slope: 1 if calibrated; below 1 means too extreme, above 1 too timid. NaN if
            undefined.
        intercept: 0 if calibrated, fitted together with the slope.
        in_the_large: the intercept with slope 1; negative means that predictions are
            too high on the whole.
        note: why something is undefined; empty otherwise.

    Example:
        >>> covid_cxr.metrics.Recalibration(0.6, 0.1, in_the_large=0.0).slope
        0.6
    """

    slope: float
    intercept: float
    in_the_large: float
    note: str = ""


def brier(label: Any, probabilities: Any) -> float:
    """Return the mean squared difference of probability and label, in [0, 1].

    Example:
        >>> covid_cxr.metrics.brier([0, 1], [0.0, 0.5])
        0.125
    """
    truth, p = _pair(label, probabilities)
    return float(np.mean((p - truth) ** 2))


def log_loss(label: Any, probabilities: Any) -> float:
    """Return the mean negative log-likelihood in nats.

    Example:
        >>> round(covid_cxr.metrics.log_loss([0, 1], [0.5, 0.5]), 4)
        0.6931
    """
    truth, p = _pair(label, probabilities)
    # A certain and wrong prediction costs 27.6 nats instead of infinity.
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return float(-np.mean(np.where(truth, np.log(p), np.log1p(-p))))


def mass_bins(probabilities: np.ndarray, bins: int = 10) -> np.ndarray:
    """Number bins of about equal mass, ties together: (N,) int64 in [0, bins)."""
    whole("bins", bins, 1)
    # Of N images, one with r others below it is in bin floor(r B / N); ties share r.
    below = np.searchsorted(np.sort(probabilities), probabilities, "left")
    return below * bins // probabilities.size


def ece(label: Any, probabilities: Any, *, bins: int = 10) -> float:
    r"""Return the expected calibration error over bins of equal mass.

    .. math:: \sum_b \frac{n_b}{N} |\bar p_b - \bar y_b|

    It is biased upwards on small samples: with n images a bin, a calibrated
    prediction is off by about :math:`\sqrt{2 p (1 - p) / \pi n}`.

    Args:
        label: (N,) of 0 and 1.
        probabilities: (N,) in [0, 1].
        bins: how many; tied predictions share a bin.

    Returns:
        The error in [0, 1].

    Raises:
        ValueError: for other shapes or values.

    Example:
        >>> round(covid_cxr.metrics.ece([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6], bins=2), 3)
        0.25
    """
    curve = reliability(label, probabilities, bins=bins)
    total = sum(one.count for one in curve)
    gaps = [one.count * abs(one.predicted - one.observed.value) for one in curve]
    return float(sum(gaps) / total)


def reliability(
    label: Any, probabilities: Any, *, bins: int = 10, level: float = 0.95
) -> list[Bin]:
    """Return the reliability curve: a point for each bin of equal mass.

    Args:
        label: (N,) of 0 and 1.
        probabilities: (N,) in [0, 1].
        bins: how many at most.
        level: coverage of the intervals of the observed shares.

    Returns:
        The bins that hold an image, from low to high probability.

    Raises:
        ValueError: for other shapes or values.

    Example:
        >>> label, probability = [0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6]
        >>> points = covid_cxr.metrics.reliability(label, probability, bins=2)
        >>> len(points)
        2
    """
    truth, p = _pair(label, probabilities)
    number = mass_bins(p, bins)
    points = []
    for index in np.unique(number):
        members = number == index
        hits, count = int(truth[members].sum()), int(members.sum())
        points.append(
            Bin(count, float(p[members].mean()), wilson(hits, count, level=level))
        )
    return points


def recalibration(label: Any, probabilities: Any) -> Recalibration:
    r"""Fit slope and intercept of the calibration line.

    .. math:: \mathrm{logit} P(y = 1) = a + b\, \mathrm{logit}(p)

    Args:
        label: (N,) of 0 and 1.
        probabilities: (N,) in [0, 1].

    Returns:
        The fit; NaN with a note if a class is absent, the predictions are constant,
        or they separate the classes.

    Raises:
        ValueError: for other shapes or values.

    Reference:
        Cox, Two further applications of a model for binary regression, 1958.

    Example:
        >>> label, extreme = [0, 1, 0, 1] * 5, [0.01, 0.02, 0.98, 0.99] * 5
        >>> covid_cxr.metrics.recalibration(label, extreme).slope < 1
        np.True_
    """
    truth, p = _pair(label, probabilities)
    x = logit(np.clip(p, _EDGE, 1 - _EDGE))
    if truth.all() or not truth.any():
        return Recalibration(NAN, NAN, NAN, "one class is absent")
    large = _offset(truth, x)
    if np.ptp(x) == 0:
        return Recalibration(NAN, NAN, large, "constant predictions")
    if x[truth].min() >= x[~truth].max() or x[truth].max() <= x[~truth].min():
        # Then, and only then, the likelihood has no maximum.
        return Recalibration(NAN, NAN, large, "the predictions separate the classes")
    # Standardised: a timid model's logits span little, and its slope may be hundreds.
    centre, spread = x.mean(), x.std()
    # a + b x = a' + b' (x - centre) / spread, solved for a and b in the last line.
    intercept, slope = _logistic(truth, (x - centre) / spread)
    return Recalibration(slope / spread, intercept - slope * centre / spread, large)


def temperature(label: Any, logits: Any) -> float:
    """Return the T > 0 for which sigmoid(logit / T) has the least log-loss.

    Fit it on validation images, apply it to others by :func:`tempered`.

    Args:
        label: (N,) of 0 and 1, both present.
        logits: (N,) finite numbers.

    Returns:
        T in [0.01, 100]; an end of that range if the loss still falls there.

    Raises:
        ValueError: for other shapes or values, or an absent class.

    Reference:
        Guo et al., On calibration of modern neural networks, arXiv 1706.04599.

    Example:
        >>> label, logits = [0, 1, 0, 1] * 5, [-4.0, -3.0, 3.0, 4.0] * 5
        >>> covid_cxr.metrics.temperature(label, logits) > 1  # too sure of itself
        True
    """
    truth = binary(label)
    z = finite("logits", logits, truth.size)
    if truth.all() or not truth.any():
        raise ValueError("label: expected both classes to fit a temperature")
    # With s = 1 / T the loss mean(log(1 + exp(s z)) - y s z) has the derivative
    # mean((sigmoid(s z) - y) z), which rises with s.
    slope = lambda scale: float(np.mean((expit(scale * z) - truth) * z))
    low, high = 0.01, 100.0  # of 1 / T; the loss is convex in it
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    return 1 / _root(slope, low, high)


def tempered(logits: Any, heat: float) -> np.ndarray:
    """Return sigmoid(logit / T): (N,) float64; T must be positive.

    Example:
        >>> covid_cxr.metrics.tempered([0.0, 4.0], 2.0).round(3).tolist()
        [0.5, 0.881]
    """
    check_number("heat", heat, "a temperature > 0", lambda given: given > 0)
    return expit(finite("logits", logits, np.size(logits)) / heat)


def at_prevalence(probabilities: Any, trained: float, wanted: float) -> np.ndarray:
    """Return probabilities moved from one prevalence to another.

    The logit moves by the difference of the prevalences' logits: right if only the
    share of positives differs, not what positives and negatives look like.

    Args:
        probabilities: (N,) in [0, 1].
        trained: prevalence at which they are calibrated, in (0, 1).
        wanted: prevalence where they are used, in (0, 1).

    Returns:
        (N,) float64.

    Raises:
        ValueError: for numbers outside their range.

    Example:
        >>> p = covid_cxr.metrics.at_prevalence([0.5], trained=0.5, wanted=0.01)
        >>> p.round(3).tolist()
        [0.01]
    """
    p = probability("probabilities", probabilities, np.size(probabilities))
    # Bayes with p(x | y) unchanged: logit p' = logit p + logit q' - logit q.
    shift = logit(fraction("wanted", wanted)) - logit(fraction("trained", trained))
    return expit(logit(p) + shift)


def _pair(label: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    truth = binary(label)
    return truth, probability("probabilities", probabilities, truth.size)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of a monotone function between two points."""
    return float(brentq(function, low, high, xtol=1e-12))  # pyright: ignore


def _offset(truth: np.ndarray, x: np.ndarray) -> float:
    """Return the a for which the mean of sigmoid(a + x) is the share of positives."""
    # The score equation of the intercept where the slope is 1: mean(sigmoid(a + x)) =
    # mean(y).
    excess = lambda a: float(np.mean(expit(a + x)) - truth.mean())
    # By _EDGE |x| <= 27.7, and |logit(k / N)| <= log N: the zero lies within 80 for any
    # N below e^52.
    return _root(excess, -80.0, 80.0)


def _logistic(truth: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Return intercept and slope by damped Newton steps, for classes that overlap."""
    # X = (1, x), (N, 2): loss mean(log(1 + exp(X w)) - y X w), gradient X^T (p - y) /
    # N, Hessian X^T diag(p (1 - p)) X / N.
    design = np.stack([np.ones_like(x), x], axis=1)
    loss = lambda w: float(np.mean(np.logaddexp(0, design @ w) - truth * (design @ w)))
    weights = np.zeros(2)
    for _ in range(100):
        p = expit(design @ weights)
        gradient = design.T @ (p - truth) / x.size
        hessian = (design * (p * (1 - p))[:, None]).T @ design / x.size
        # Least squares, not solve: where all p are near 0 or 1 the Hessian is singular.
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        size = 1.0
        # Halved until the loss does not rise; 1e-15 lets its rounding pass.
        while loss(weights - size * step) > loss(weights) + 1e-15 and size > 1e-8:
            size /= 2
        weights = weights - size * step
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1])
