"""What follows from the four cells of a confusion table.

Each function takes a :class:`Confusion` of counts, weights or arrays of them (NumPy
or JAX alike) and returns NaN where its denominator is zero, never infinity. Counts are
added as floats, for integers of few bits overflow; what is no :class:`Confusion` of
numbers >= 0 is a ValueError.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.metrics.inputs import array, fraction, number, scored
from covid_cxr.metrics.intervals import NAN, Estimate, quantile

CORRECTION = 0.5  # added to each cell of an odds ratio (Haldane, Anscombe)


class Confusion(NamedTuple):
    """Counts of images by truth and decision.

    Attributes:
        tp: positive, called positive.
        fp: negative, called positive.
        tn: negative, called negative.
        fn: positive, called negative.

    Example:
        >>> covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2).fn
        2
    """

    tp: Any
    fp: Any
    tn: Any
    fn: Any


def confusion(label: Any, score: Any, threshold: float = 0.5) -> Confusion:
    """Count decisions at a threshold.

    Args:
        label: (N,) of 0 and 1.
        score: (N,) finite numbers.
        threshold: an image is called positive if its score is at least this.

    Returns:
        Four integers.

    Raises:
        ValueError: for labels or scores that :func:`covid_cxr.metrics.inputs.scored`
            refuses, or a threshold that is NaN.

    Example:
        >>> covid_cxr.metrics.confusion([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
        Confusion(tp=2, fp=1, tn=1, fn=0)
    """
    data = scored(label, score)
    threshold = number("threshold", threshold)
    if math.isnan(threshold):
        raise ValueError("threshold: expected a number, got NaN")
    called = data.score >= threshold
    cells = (
        called & data.label,
        called & ~data.label,
        ~called & ~data.label,
        ~called & data.label,
    )
    return Confusion(*(int(cell.sum()) for cell in cells))


def sensitivity(cells: Confusion) -> Any:
    """Return TP / (TP + FN), the recall or true positive rate.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.sensitivity(cells))
        0.8
    """
    cells = _floats(cells)
    return _ratio(cells.tp, cells.tp + cells.fn)


def specificity(cells: Confusion) -> Any:
    """Return TN / (TN + FP).

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.specificity(cells))
        0.9
    """
    cells = _floats(cells)
    return _ratio(cells.tn, cells.tn + cells.fp)


def balanced_accuracy(cells: Confusion) -> Any:
    """Return (sensitivity + specificity) / 2.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.balanced_accuracy(cells).round(3))
        0.85
    """
    return (sensitivity(cells) + specificity(cells)) / 2


def accuracy(cells: Confusion) -> Any:
    """Return (TP + TN) / N.

    Example:
        >>> float(covid_cxr.metrics.accuracy(covid_cxr.metrics.Confusion(8, 1, 9, 2)))
        0.85
    """
    cells = _floats(cells)
    return _ratio(cells.tp + cells.tn, cells.tp + cells.tn + cells.fp + cells.fn)


def f_score(cells: Confusion) -> Any:
    """Return 2 TP / (2 TP + FP + FN), the F1 of the positive class.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.f_score(cells).round(3))
        0.842
    """
    cells = _floats(cells)
    return _ratio(2 * cells.tp, 2 * cells.tp + cells.fp + cells.fn)


def positive_predictive_value(cells: Confusion) -> Any:
    """Return TP / (TP + FP) at the prevalence of the sample.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.positive_predictive_value(cells).round(3))
        0.889
    """
    cells = _floats(cells)
    return _ratio(cells.tp, cells.tp + cells.fp)


def negative_predictive_value(cells: Confusion) -> Any:
    """Return TN / (TN + FN) at the prevalence of the sample.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.negative_predictive_value(cells).round(3))
        0.818
    """
    cells = _floats(cells)
    return _ratio(cells.tn, cells.tn + cells.fn)


def ppv_at(cells: Confusion, prevalence: float) -> Any:
    """Return the positive predictive value at a prevalence in (0, 1), by Bayes.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.ppv_at(cells, 0.01).round(3))
        0.075
    """
    share = fraction("prevalence", prevalence)
    hit = sensitivity(cells) * share
    return _ratio(hit, hit + (1 - specificity(cells)) * (1 - share))


def npv_at(cells: Confusion, prevalence: float) -> Any:
    """Return the negative predictive value at a prevalence in (0, 1), by Bayes.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> float(covid_cxr.metrics.npv_at(cells, 0.01).round(4))
        0.9978
    """
    share = fraction("prevalence", prevalence)
    clear = specificity(cells) * (1 - share)
    return _ratio(clear, clear + (1 - sensitivity(cells)) * share)


def odds_ratio(cells: Confusion) -> Any:
    r"""Return the diagnostic odds ratio, one half added to each cell.

    .. math:: \frac{(TP + \frac12)(TN + \frac12)}{(FP + \frac12)(FN + \frac12)}

    NaN if a class is absent. The uncorrected ratio is infinite whenever sensitivity
    or specificity is 1.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> round(float(covid_cxr.metrics.odds_ratio(cells)), 2)
        21.53
    """
    cells = _floats(cells)
    tp, fp, tn, fn = (cell + CORRECTION for cell in cells)
    pairs = (cells.tp + cells.fn) * (cells.tn + cells.fp)
    # x / x is 1 where both classes are there, NaN where the pairs are 0.
    return _ratio(pairs, pairs) * (tp * tn) / (fp * fn)


def bounded_odds(cells: Confusion) -> Any:
    """Return Yule's Q, (DOR - 1) / (DOR + 1) in (-1, 1), of the corrected ratio.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> round(float(covid_cxr.metrics.bounded_odds(cells)), 3)
        0.911
    """
    ratio = odds_ratio(cells)
    return (ratio - 1) / (ratio + 1)


def odds_ratio_interval(cells: Confusion, *, level: float = 0.95) -> Estimate:
    """Return the diagnostic odds ratio with Woolf's interval on the log scale.

    Args:
        cells: integer counts of independent images.
        level: coverage of the interval.

    Returns:
        The corrected ratio and its interval; NaN with a note if a class is absent.

    Reference:
        Glas et al., The diagnostic odds ratio, J. Clinical Epidemiology 2003.

    Example:
        >>> cells = covid_cxr.metrics.Confusion(tp=8, fp=1, tn=9, fn=2)
        >>> estimate = covid_cxr.metrics.odds_ratio_interval(cells)
        >>> round(estimate.low, 1), round(estimate.high)
        (2.3, 199)
    """
    cells = _floats(cells)
    if any(np.ndim(cell) for cell in cells):
        raise ValueError("cells: expected four counts, got arrays")
    value = float(odds_ratio(cells))
    if math.isnan(value):
        return Estimate(NAN, note="one class is absent")
    # Woolf: sd(log DOR) = sqrt(1/TP + 1/FP + 1/TN + 1/FN), of the corrected cells.
    spread = math.sqrt(sum(1 / (cell + CORRECTION) for cell in cells))
    factor = math.exp(quantile(level) * spread)
    return Estimate(value, value / factor, value * factor)


RATES = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
    "f_score": f_score,
    "ppv": positive_predictive_value,
    "npv": negative_predictive_value,
    "dor": odds_ratio,
    "bounded_dor": bounded_odds,
}


def _floats(cells: Confusion) -> Confusion:
    """Return counts as floats: NumPy's as float64, JAX's integers as float32."""
    if not isinstance(cells, Confusion):
        raise ValueError(f"cells: expected a Confusion, got {type(cells).__name__}")
    return Confusion(*map(_float, cells._fields, cells))


def _float(name: str, cell: Any) -> Any:
    if isinstance(cell, jax.Array):  # may be traced, and is then taken at its word
        inexact = jnp.issubdtype(cell.dtype, jnp.inexact)
        return cell if inexact else cell.astype(jnp.float32)
    counts = array(f"cells.{name}", cell)
    if counts.dtype.kind not in "biuf" or (counts < 0).any():
        raise ValueError(f"cells.{name}: expected numbers >= 0, got {cell!r}")
    return counts.astype(np.float64)


def _ratio(part: Any, whole: Any) -> Any:
    """Return part / whole, NaN where whole is zero; in NumPy or JAX as given."""
    xp = jnp if isinstance(whole, jax.Array) else np
    # Both branches of where are computed: the inner one keeps 0 / 0 out.
    nonzero = whole > 0
    return xp.where(nonzero, part / xp.where(nonzero, whole, 1), xp.nan)
