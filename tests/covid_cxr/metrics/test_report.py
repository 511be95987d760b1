"""The report: its figures, its intervals, and what it says of degenerate sets."""

import math
import statistics

import jax
import numpy as np
import pytest

from covid_cxr.metrics import Threshold, auc, compare_auc, delong_test, evaluate
from covid_cxr.metrics.rates import RATES, confusion

KEY = jax.random.key(0)
REPLICATES = 400


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(50), 2)
    label = (patient % 2).astype(int)
    logits = label - 0.5 + rng.normal(size=50)[patient] + 0.3 * rng.normal(size=100)
    return label, 1 / (1 + np.exp(-logits)), patient


@pytest.fixture(scope="module")
def report(cohort):
    label, score, patient = cohort
    return evaluate(
        label,
        score,
        patient=patient,
        key=KEY,
        threshold=Threshold(0.4, "youden", 77),
        prevalences=(0.05,),
        replicates=REPLICATES,
    )


def test_report_holds_the_point_values(report, cohort):
    label, score, _ = cohort
    assert (report.images, report.patients, report.positives) == (100, 50, 50)
    assert report.cells == confusion(label, score, 0.4)
    assert report.metrics["auc"].value == auc(label, score)
    for name, rate in RATES.items():
        assert report.metrics[name].value == float(rate(report.cells))
    wanted = {"auc", "brier", "ece", "ppv@0.05", "npv@0.05", *RATES}
    assert set(report.metrics) == wanted
    assert report.threshold.rule == "youden"
    assert report.recalibration.slope > 0
    assert report.notes == ()


def test_intervals_contain_and_are_wider_by_patient(report, cohort):
    label, score, _ = cohort
    by_image = evaluate(label, score, key=KEY, replicates=REPLICATES)
    for name, estimate in report.metrics.items():
        assert estimate.low <= estimate.value + 1e-6, name
        if name != "ece":  # biased upwards, and more so on a resample
            assert estimate.value <= estimate.high + 1e-6, name
    width = lambda e: e.high - e.low
    assert width(report.metrics["auc"]) > 1.2 * width(by_image.metrics["auc"])
    analytic = report.auc_analytic
    assert width(analytic) == pytest.approx(width(report.metrics["auc"]), rel=0.25)


def test_bootstrap_draws_equal_resampled_numpy(cohort):
    """The jitted metrics of a weighted sample are those of the repeated sample."""
    import jax.numpy as jnp

    from covid_cxr.metrics import calibration
    from covid_cxr.metrics import report as module
    from covid_cxr.metrics.roc import dense_ranks

    label, score, _ = cohort
    times = np.random.default_rng(1).integers(0, 4, label.size)
    columns = {
        "label": label,
        "called": score >= 0.4,
        "probability": score,
    }
    data = {n: jnp.asarray(np.asarray(c), jnp.float32) for n, c in columns.items()}
    data["rank"] = jnp.asarray(dense_ranks(score))
    data["bin"] = jnp.asarray(calibration.mass_bins(score), jnp.int32)
    found = jax.jit(module._statistics)(data, jnp.asarray(times, jnp.float32))
    again, scores = np.repeat(label, times), np.repeat(score, times)
    cells = confusion(again, scores, 0.4)
    for name, rate in RATES.items():
        assert float(found[name]) == pytest.approx(float(rate(cells)), rel=1e-5)
    assert float(found["auc"]) == pytest.approx(auc(again, scores), rel=1e-5)
    brier = calibration.brier(again, scores)
    assert float(found["brier"]) == pytest.approx(brier, rel=1e-5)


def test_scores_that_are_no_probabilities_are_not_calibrated(cohort):
    label, score, patient = cohort
    found = evaluate(
        label, 4 * score - 2, patient=patient, key=KEY, replicates=REPLICATES
    )
    assert found.recalibration is None
    assert "brier" not in found.metrics
    assert found.metrics["auc"].value == auc(label, score)


def test_degenerate_sets_are_reported(cohort):
    label, score, patient = cohort
    one = evaluate(
        np.ones(100, int), score, patient=patient, key=KEY, replicates=REPLICATES
    )
    assert math.isnan(one.metrics["auc"].value)
    assert math.isnan(one.metrics["dor"].value)
    assert one.metrics["sensitivity"].low < one.metrics["sensitivity"].high
    assert one.notes[0].startswith("no negative image")
    flat = evaluate(
        label, np.full(100, 0.3), patient=patient, key=KEY, replicates=REPLICATES
    )
    assert flat.metrics["auc"].value == 0.5
    assert flat.notes[0].startswith("constant scores")
    alone = evaluate(
        label, score, patient=np.zeros(100), key=KEY, replicates=REPLICATES
    )
    assert math.isnan(alone.metrics["auc"].low)
    assert alone.notes[0].startswith("a single patient")


def test_a_rate_of_1_has_wilsons_interval_by_patient():
    label, patient = np.repeat([0, 1], 20), np.repeat(np.arange(20), 2)
    score = np.where(np.arange(40) < 22, 0.2, 0.8)
    found = evaluate(label, score, patient=patient, key=KEY, replicates=50).metrics
    specificity = found["specificity"]  # 10 patients, for Wilson: n / (n + z^2)
    z = statistics.NormalDist().inv_cdf(0.975)
    assert specificity.value == specificity.high == 1
    assert specificity.low == pytest.approx(10 / (10 + z**2))
    assert found["sensitivity"].value == 0.9


def test_paired_comparison_agrees_with_delong(cohort):
    label, score, patient = cohort
    rng = np.random.default_rng(5)
    other = score + 0.4 * rng.normal(size=100)
    estimate, p = compare_auc(label, score, other, key=KEY, replicates=2000)
    test = delong_test(label, score, other)
    assert estimate.value == pytest.approx(test.difference.value)
    assert estimate.low == pytest.approx(test.difference.low, abs=0.02)
    assert estimate.high == pytest.approx(test.difference.high, abs=0.02)
    assert abs(p - test.p) < 0.05
    same, p = compare_auc(label, score, score, patient=patient, key=KEY, replicates=50)
    assert (same.value, same.low, same.high, p) == (0, 0, 0, 1)
    undefined, p = compare_auc([1, 1], [1, 2], [2, 1], key=KEY, replicates=50)
    assert math.isnan(undefined.value) and math.isnan(p)
