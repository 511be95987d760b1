"""Calibration against scipy's optimiser, closed forms, and simulation."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import binomtest

from covid_cxr.metrics import (
    at_prevalence,
    brier,
    ece,
    log_loss,
    recalibration,
    reliability,
    temperature,
    tempered,
)


def cohort(count=4000, slope=1.0, shift=0.0, seed=0):
    """Return labels, and predictions whose true logit is shift + slope * logit."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=count) * 1.5
    return rng.random(count) < expit(shift + slope * logits), expit(logits)


@pytest.mark.parametrize(("slope", "shift"), [(1, 0), (0.4, -1), (2, 0.5)])
def test_recalibration_recovers_and_is_the_maximum(slope, shift):
    label, p = cohort(slope=slope, shift=shift)
    found = recalibration(label, p)
    assert found.slope == pytest.approx(slope, abs=0.2)
    assert found.intercept == pytest.approx(shift, abs=0.2)
    x = logit(p)
    loss = lambda w: np.mean(
        np.logaddexp(0, w[0] + w[1] * x) - label * (w[0] + w[1] * x)
    )
    best = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose([found.intercept, found.slope], best, atol=1e-5)
    assert np.mean(expit(found.in_the_large + x)) == pytest.approx(label.mean())


def test_recalibration_of_degenerate_predictions_says_why():
    assert recalibration([1, 1], [0.2, 0.9]).note == "one class is absent"
    assert recalibration([1, 0], [0.5, 0.5]).note == "constant predictions"
    apart = recalibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert apart.note == "the predictions separate the classes"
    assert math.isnan(apart.slope) and math.isfinite(apart.in_the_large)
    assert math.isfinite(recalibration([0, 1, 1, 0], [0.0, 1.0, 0.2, 0.4]).in_the_large)


def test_scores_by_hand():
    assert brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)
    assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(
        -(math.log(0.8) + math.log(0.6)) / 2
    )
    assert math.isfinite(log_loss([1, 0], [0.0, 1.0]))
    label, p = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.8]
    assert ece(label, p, bins=2) == pytest.approx(0.5 * abs(0.15 - 0.5) + 0.5 * 0.3)
    assert ece(label, [0.5] * 4, bins=10) == pytest.approx(0.25)  # ties share a bin
    curve = reliability(label, p, bins=2)
    assert [one.count for one in curve] == [2, 2]
    assert curve[0].observed.value == 0.5
    assert curve[0].observed.low < 0.15 < curve[0].observed.high


def test_the_shares_of_bins_have_wilsons_interval():
    for level in (0.8, 0.95):
        for one in reliability(*cohort(count=200), bins=4, level=level):
            trials = binomtest(round(one.observed.value * one.count), one.count)
            ends = trials.proportion_ci(level, method="wilson")
            np.testing.assert_allclose(one.observed[1:3], ends, rtol=1e-12)


def test_ece_of_a_calibrated_model_is_its_documented_bias():
    label, p = cohort(count=5000)
    found = ece(label, p, bins=10)
    bias = np.mean(
        [
            math.sqrt(2 * b.predicted * (1 - b.predicted) / math.pi / b.count)
            for b in reliability(label, p)
        ]
    )
    assert 0.3 * bias < found < 2.5 * bias
    wrong, q = cohort(count=5000, slope=0.3)
    assert ece(wrong, q) > 5 * bias


@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_temperature_is_found(heat):
    rng = np.random.default_rng(2)
    z = rng.normal(size=5000) * 2
    label = rng.random(5000) < expit(z)
    found = temperature(label, z * heat)
    assert found == pytest.approx(heat, rel=0.15)
    least = log_loss(label, tempered(z * heat, found))
    for other in (0.99, 1.01):
        assert log_loss(label, tempered(z * heat, found * other)) > least


def test_temperature_stops_at_its_range():
    assert temperature([0, 1], [-1.0, 1.0]) == 0.01  # separated: ever colder
    assert temperature([1, 0], [-1.0, 1.0]) == 100  # the wrong way round
    with pytest.raises(ValueError, match="both classes"):
        temperature([1, 1], [0.5, 0.5])
    with pytest.raises(ValueError, match="temperature > 0"):
        tempered([0.5], 0.0)


def test_prevalence_shift_is_bayes():
    p = np.array([0.0, 0.3, 0.8, 1.0])
    odds = 0.3 / 0.7 * (0.05 / 0.95) / (0.4 / 0.6)
    moved = at_prevalence(p, 0.4, 0.05)
    assert moved[1] == pytest.approx(odds / (1 + odds))
    assert moved[0] == 0 and moved[3] == 1
    np.testing.assert_allclose(at_prevalence(moved, 0.05, 0.4), p, atol=1e-12)
    with pytest.raises(ValueError, match="wanted"):
        at_prevalence(p, 0.4, 0.0)


def test_probabilities_outside_their_range():
    for function in (brier, log_loss, ece, recalibration, reliability):
        with pytest.raises(ValueError, match=r"probabilities: expected .* in \[0, 1\]"):
            function([0, 1], [0.2, 1.2])
    with pytest.raises(ValueError, match="bins"):
        ece([0, 1], [0.2, 0.7], bins=0)


@pytest.mark.parametrize("scale", [2e-4, 2e-3, 1.0, 8.0])
def test_a_timid_or_bold_model_has_its_slope(scale):
    rng = np.random.default_rng(1)
    z = rng.normal(size=400)
    label = rng.random(400) < expit(z)
    found = recalibration(label, expit(scale * z))
    plain = recalibration(label, expit(z))
    assert found.slope == pytest.approx(plain.slope / scale, rel=1e-4)
    assert found.intercept == pytest.approx(plain.intercept, abs=1e-4)


@pytest.mark.parametrize("p", [[0.1, 0.2, 0.2, 0.9], [0.9, 0.8, 0.8, 0.2]])
def test_classes_that_only_touch_are_separated_too(p):
    assert "separate" in recalibration([0, 0, 1, 1], p).note
    assert recalibration([1, 0, 0, 1], p).note == ""
