"""A covariate tied to the label, ever more."""

import numpy as np
import pytest

from covid_cxr.bias import sweep
from covid_cxr.metrics import auc_interval
from tests.covid_cxr.bias.cohorts import table

RNG = np.random.default_rng(0)
N = 800
PATIENT = np.arange(N) // 2
LABEL, COVARIATE = PATIENT % 2, (PATIENT // 2) % 2 == 1
INDEX, _ = table(PATIENT, LABEL, ["one"] * N)


def test_a_classifier_of_the_covariate_falls_when_it_is_reversed():
    features = np.stack([COVARIATE, LABEL + 2 * RNG.normal(size=N)], axis=1)
    points = sweep(INDEX, LABEL, COVARIATE, features)
    assert [one.ratio for one in points] == [0.5, 0.75, 1.0]
    assert points[-1].same.value > 0.95 and points[-1].reversed.value < 0.2
    assert abs(points[0].same.value - points[0].reversed.value) < 1e-12
    assert len({one.radiographs for one in points}) == 1


def test_a_classifier_of_the_disease_does_not():
    features = (LABEL + 0.5 * RNG.normal(size=N))[:, None]
    for one in sweep(INDEX, LABEL, COVARIATE, features):
        assert one.reversed.value > 0.8


def test_the_areas_have_their_intervals():
    def look(train, test):
        score = LABEL[test] + RNG.normal(size=len(test))
        areas.append(auc_interval(LABEL[test], score, patient=PATIENT[test]))
        return score

    areas = []
    (one,) = sweep(
        INDEX, LABEL, COVARIATE, np.zeros((N, 0)), ratios=(0.8,), classify=look
    )
    assert [one.same, one.reversed] == areas


def test_patients_are_on_one_side_and_the_ratio_is_as_asked():
    def look(train, test):
        assert not set(PATIENT[train]) & set(PATIENT[test])
        seen.append((COVARIATE[train] == (LABEL[train] == 1)).mean())
        return np.zeros(len(test))

    seen = []
    sweep(INDEX, LABEL, COVARIATE, np.zeros((N, 0)), ratios=(0.8,), classify=look)
    np.testing.assert_allclose(seen, 0.8)


@pytest.mark.parametrize(
    ("covariate", "ratios", "message"),
    [
        (COVARIATE, (1.5,), "ratios: expected in"),
        (LABEL == 1, (0.5,), "at least 2 patients with label 0 and covariate True"),
    ],
)
def test_bad_input(covariate, ratios, message):
    with pytest.raises(ValueError, match=message):
        sweep(INDEX, LABEL, covariate, np.zeros((N, 1)), ratios=ratios)
