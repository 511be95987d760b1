"""Everything there is to say of one set of scored images, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.metrics import calibration, rates
from covid_cxr.metrics._delong import auc_interval
from covid_cxr.metrics.inputs import Scored, fraction, scored, whole
from covid_cxr.metrics.intervals import NAN, Estimate, wilson
from covid_cxr.metrics.rates import RATES, Confusion
from covid_cxr.metrics.resampling import Replicates, bootstrap, percentile
from covid_cxr.metrics.roc import auc, dense_ranks, weighted_auc
from covid_cxr.metrics.thresholds import FIXED, Threshold, value_of
from synaptax.checks import check_flags
from synaptax.typing import Array

_BINS = 10
_EACH = 80  # resamples for each comparison: four times what 0.05 needs after Holm


@dataclasses.dataclass(frozen=True)
class Report:
    """The performance of one model on one set.

    Attributes:
        images: how many.
        patients: how many they come from.
        positives: images that are positive.
        threshold: the operating point of the rates.
        cells: the confusion table there.
        metrics: name to estimate, with patient-bootstrap intervals: ``auc``, the
            :data:`covid_cxr.metrics.rates.RATES`, ``ppv@P`` and ``npv@P`` for each
            prevalence P asked for, and ``brier``, ``ece`` for probabilities. A
            sensitivity or specificity of 0 or 1, whose resamples are all alike, has
            Wilson's interval, a trial a patient.
        auc_analytic: the area with its analytic interval (clustered by patient).
        dor_analytic: the odds ratio with Woolf's interval, which takes images for
            independent.
        recalibration: slope and intercept; None if the scores are no probabilities.
        notes: what a reader must know: an absent class, constant scores.

    Example:
        >>> label, score = [0, 0, 1, 1] * 5, [0.1, 0.6, 0.4, 0.9] * 5
        >>> key = jax.random.key(0)
        >>> report = covid_cxr.metrics.evaluate(label, score, key=key, replicates=20)
        >>> report.images, report.positives, report.metrics["auc"].value
        (20, 10, 0.75)
    """

    images: int
    patients: int
    positives: int
    threshold: Threshold
    cells: Confusion
    metrics: dict[str, Estimate]
    auc_analytic: Estimate
    dor_analytic: Estimate
    recalibration: calibration.Recalibration | None
    notes: tuple[str, ...]


def evaluate(
    label: Any,
    score: Any,
    *,
    key: Array,
    patient: Any = None,
    threshold: Threshold = FIXED,
    prevalences: tuple[float, ...] = (),
    replicates: int = 2000,
    stratified: bool = True,
    level: float = 0.95,
) -> Report:
    """Measure one model on one set of images, with intervals by patient.

    Degenerate sets are reported, not refused: with one class the metrics that need
    both are NaN and say why.

    Args:
        label: (N,) of 0 and 1.
        score: (N,) finite numbers; Brier score and calibration are given if all are
            in [0, 1].
        key: typed PRNG key of the bootstrap.
        patient: (N,) identifiers; default: every image has a patient of its own.
        threshold: chosen on other (validation) images, or fixed.
        prevalences: where else to give predictive values, each in (0, 1).
        replicates: bootstrap resamples.
        stratified: draw positive and negative patients separately.
        level: coverage of the intervals.

    Returns:
        The report.

    Raises:
        ValueError: for labels or scores that :func:`covid_cxr.metrics.inputs.scored`
            refuses.

    Example:
        >>> label, score = [0, 0, 1, 1] * 5, [0.1, 0.6, 0.4, 0.9] * 5
        >>> key = jax.random.key(0)
        >>> report = covid_cxr.metrics.evaluate(label, score, key=key, replicates=20)
        >>> report.metrics["sensitivity"].value, report.cells
        (0.5, Confusion(tp=5, fp=5, tn=5, fn=5))
    """
    data = scored(label, score, patient)
    check_flags(stratified=stratified)
    if not np.iterable(prevalences):
        raise ValueError(f"prevalences: expected several numbers, got {prevalences!r}")
    prevalences = tuple(fraction("prevalences", one) for one in prevalences)
    cells = rates.confusion(data.label, data.score, value_of(threshold))
    likely = bool(data.score.min() >= 0 and data.score.max() <= 1)
    resamples = _replicated(data, threshold, likely, key, replicates, stratified)
    # The point estimates are the sample's, in float64; the bootstrap's are float32.
    metrics = {
        name: resamples._replace(value={name: value}).estimate(name, level=level)
        for name, value in _points(data, cells, likely).items()
    }
    metrics |= _extreme(data, metrics, level)
    for prevalence in prevalences:
        metrics |= _predictive(cells, resamples, prevalence, level)
    return Report(
        images=data.label.size,
        patients=data.patients,
        positives=data.positives,
        threshold=threshold,
        cells=cells,
        metrics=metrics,
        auc_analytic=auc_interval(
            data.label, data.score, patient=data.patient, level=level
        ),
        dor_analytic=rates.odds_ratio_interval(cells, level=level),
        recalibration=(
            calibration.recalibration(data.label, data.score) if likely else None
        ),
        notes=_notes(data),
    )


def compare_auc(
    label: Any,
    first: Any,
    second: Any,
    *,
    key: Array,
    patient: Any = None,
    replicates: int = 2000,
    comparisons: int = 1,
    level: float = 0.95,
) -> tuple[Estimate, float]:
    """Compare two models on the same images by a paired bootstrap over patients.

    Args:
        label: (N,) of 0 and 1.
        first: (N,) scores of one model.
        second: (N,) scores of the other, in the same order.
        key: typed PRNG key.
        patient: (N,) identifiers; default: every image has a patient of its own.
        replicates: least resamples.
        comparisons: how many p-values :func:`covid_cxr.metrics.holm` is to adjust
            together, m. No p-value of R resamples is below 1 / R, and Holm multiplies
            the smallest by m: so at least 80 m are drawn, or no difference could ever
            be told from chance.
        level: coverage of the interval.

    Returns:
        The area of the first minus that of the second with its percentile interval,
        and a two-sided p-value: twice the smaller share of resamples on either side
        of no difference (ties count one half), at least 1 / R of R resamples.

    Raises:
        ValueError: for labels or scores that :func:`covid_cxr.metrics.inputs.scored`
            refuses.

    Example:
        >>> label, first, second = [0, 1] * 5, [0.1, 0.9] * 5, [0.5, 0.5] * 5
        >>> difference, p = covid_cxr.metrics.compare_auc(
        ...     label, first, second, key=jax.random.key(0), replicates=20
        ... )
        >>> difference.value
        0.5
    """
    scores = (first, second)
    areas = auc_draws(
        label, scores, key=key, patient=patient, replicates=replicates, m=comparisons
    )
    return areas.difference(0, 1, level=level)


class AucDraws(NamedTuple):
    """Areas of models on the same images, and on the same resamples of patients.

    Attributes:
        area: (M,) float64.
        draws: (M, R) float64; NaN where a resample leaves them undefined.
        patients: how many patients there are to draw from.
    """

    area: np.ndarray
    draws: np.ndarray
    patients: int

    def difference(
        self, first: int, second: int, *, level: float = 0.95
    ) -> tuple[Estimate, float]:
        """Return what :func:`compare_auc` does, of two of the models."""
        value = float(self.area[first] - self.area[second])
        draws = self.draws[first] - self.draws[second]
        valid = draws[~np.isnan(draws)]
        if value == 0 and valid.size and not valid.any():  # both rank the images alike
            return Estimate(0.0, 0.0, 0.0), 1.0
        estimate = percentile(value, draws, patients=self.patients, level=level)
        if not valid.size or np.isnan(estimate.low):
            return estimate, NAN
        sides = [np.mean(valid < 0), np.mean(valid > 0)]
        # p = 2 min(P*(d < 0), P*(d > 0)) + P*(d = 0) over the R resamples; none is
        # below 1 / R.
        p = 2 * (min(sides) + np.mean(valid == 0) / 2)
        return estimate, float(np.clip(p, 1 / draws.size, 1))


def auc_draws(
    label: Any,
    scores: Sequence[Any],
    *,
    key: Array,
    patient: Any = None,
    replicates: int = 2000,
    m: int = 1,
) -> AucDraws:
    """Bootstrap the areas of several models on the same images, once for all pairs.

    Args:
        label: (N,) of 0 and 1.
        scores: M times (N,).
        key: typed PRNG key.
        patient: (N,) identifiers; default: every image has a patient of its own.
        replicates: least resamples.
        m: comparisons, see :func:`compare_auc`.
    """
    whole("comparisons", m, 1)
    whole("replicates", replicates, 1)
    models = [scored(label, score, patient) for score in scores]
    one = models[0]
    ranks = np.stack([dense_ranks(model.score) for model in models], axis=1)
    resamples = bootstrap(
        _areas,
        {"label": one.label, "rank": ranks},
        one.patient,
        key=key,
        replicates=max(replicates, _EACH * m),
        stratum=one.label,
    )
    draws = np.stack([resamples.draws[f"{i}"] for i in range(len(models))])
    areas = np.array([auc(label, score) for score in scores])
    return AucDraws(areas, draws, resamples.patients)


def _areas(data: Any, weight: Array) -> dict[str, Array]:
    of_model = jax.vmap(weighted_auc, in_axes=(None, 1, None))
    areas = of_model(data["label"], data["rank"], weight)
    return {f"{i}": area for i, area in enumerate(areas)}


def _statistics(data: Any, weight: Array) -> dict[str, Array]:
    """Return all metrics of weighted images; NaN where undefined."""
    label, called = data["label"], data["called"]
    cells = Confusion(
        (weight * called * label).sum(),
        (weight * called * (1 - label)).sum(),
        (weight * (1 - called) * (1 - label)).sum(),
        (weight * (1 - called) * label).sum(),
    )
    out = {name: rate(cells) for name, rate in RATES.items()}
    out["auc"] = weighted_auc(label, data["rank"], weight)
    if "probability" in data:
        gap = data["probability"] - label
        total = jnp.maximum(weight.sum(), 1)
        out["brier"] = (weight * gap**2).sum() / total
        # The bins are the sample's, not each resample's, which keeps the shapes fixed:
        # ECE = sum_b |sum_{i in b} w_i (p_i - y_i)| / sum_i w_i.
        gaps = jax.ops.segment_sum(weight * gap, data["bin"], _BINS)
        out["ece"] = jnp.abs(gaps).sum() / total
    return out


def _points(data: Scored, cells: Confusion, likely: bool) -> dict[str, float]:
    """Return the metrics of the sample itself, in float64."""
    out = {"auc": auc(data.label, data.score)}
    out |= {name: float(rate(cells)) for name, rate in RATES.items()}
    if likely:
        out["brier"] = calibration.brier(data.label, data.score)
        out["ece"] = calibration.ece(data.label, data.score, bins=_BINS)
    return out


def _extreme(
    data: Scored, metrics: dict[str, Estimate], level: float
) -> dict[str, Estimate]:
    """Return a sensitivity or specificity of 0 or 1 with Wilson's interval.

    Its resamples are all alike, which would say that it is certain. Patients, not
    radiographs, are taken for the trials, for those of one patient are not independent.
    """
    result = {}
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        value = metrics[name].value
        if value in (0, 1):
            patients = int(np.unique(data.patient[data.label == label]).size)
            result[name] = wilson(int(value) * patients, patients, level=level)
    return result


def _replicated(
    data: Scored,
    threshold: Threshold,
    likely: bool,
    key: Array,
    replicates: int,
    stratified: bool,
) -> Replicates:
    # Called and ranked in float64: the bootstrap casts to 32 bits, which would join
    # scores that differ, or move one over the threshold.
    arrays = {
        "label": data.label,
        "called": data.score >= threshold.value,
        "rank": dense_ranks(data.score),
    }
    if likely:
        arrays["probability"] = data.score
        arrays["bin"] = calibration.mass_bins(data.score, _BINS)
    return bootstrap(
        _statistics,
        arrays,
        data.patient,
        key=key,
        replicates=replicates,
        stratum=data.label if stratified else None,
    )


def _predictive(
    cells: Confusion, found: Replicates, prevalence: float, level: float
) -> dict[str, Estimate]:
    """Return both predictive values at a prevalence."""
    out = {}
    hit, clear = found.draws["sensitivity"], found.draws["specificity"]
    rate_draws = Confusion(hit, 1 - clear, clear, 1 - hit)  # rates in place of counts
    for name, rate in (("ppv", rates.ppv_at), ("npv", rates.npv_at)):
        out[f"{name}@{prevalence:g}"] = percentile(
            float(rate(cells, prevalence)),
            rate(rate_draws, prevalence),
            patients=found.patients,
            level=level,
        )
    return out


def _notes(data: Scored) -> tuple[str, ...]:
    notes = []
    if not data.positives or not data.negatives:
        absent = "positive" if not data.positives else "negative"
        notes.append(f"no {absent} image: metrics that need both classes are undefined")
    if np.ptp(data.score) == 0:
        notes.append("constant scores: the model says the same of every image")
    if data.patients < 2:
        notes.append("a single patient: no interval can be given")
    return tuple(notes)
