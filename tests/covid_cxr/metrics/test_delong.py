"""DeLong's covariance against the definition over all pairs, and its test."""

import math

import numpy as np
import pytest
from scipy import stats

from covid_cxr.metrics import auc_interval, delong, delong_test
from covid_cxr.metrics._delong import clustered_variance, placements
from covid_cxr.metrics.inputs import scored


def oracle(label, scores):
    """Return areas and covariance from the (m, n) matrix of comparisons."""
    label = np.asarray(label, bool)
    above, below = [], []
    for score in scores:
        a, b = score[label][:, None], score[~label][None]
        kernel = (a > b) + 0.5 * (a == b)
        above.append(kernel.mean(axis=1))
        below.append(kernel.mean(axis=0))
    above, below = np.array(above), np.array(below)
    m, n, area = above.shape[1], below.shape[1], above.mean(axis=1)
    first = (above - area[:, None]) @ (above - area[:, None]).T / (m - 1)
    second = (below - area[:, None]) @ (below - area[:, None]).T / (n - 1)
    return area, first / m + second / n


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [4, 1000])
def test_delong_equals_the_oracle(seed, levels):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(83) % 3 == 0)
    scores = rng.integers(0, levels, (3, 83)) + 0.7 * levels * label
    found, (area, spread) = delong(label, scores), oracle(label, scores)
    np.testing.assert_allclose(found.auc, area, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance, spread, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.covariance, spread, rtol=1e-9)


def test_by_hand():
    # Positives 3 and 1, negatives 2 and 0: placements 1, 1/2 and (of 2, 0) 1/2, 1.
    above, below = placements(np.array([1, 1, 0, 0], bool), np.array([3.0, 1, 2, 0]))
    np.testing.assert_array_equal(above, [1, 0.5])
    np.testing.assert_array_equal(below, [0.5, 1])
    found = delong([1, 1, 0, 0], [3, 1, 2, 0])
    assert found.auc[0] == 0.75
    assert found.covariance[0, 0] == 0.125 / 2 + 0.125 / 2


def test_clusters_of_one_image_give_delong_with_another_divisor():
    rng = np.random.default_rng(0)
    label = np.arange(200) % 2
    score = rng.normal(size=200) + label
    single = clustered_variance(scored(label, score))
    # The cross term vanishes: no patient has images of both classes.
    assert single == pytest.approx(delong(label, score).covariance[0, 0], rel=1e-12)
    # Every patient twice: half the information.
    twice = [np.repeat(a, 2) for a in (label, score, np.arange(200))]
    assert clustered_variance(scored(*twice)) == pytest.approx(single, rel=1e-12)
    assert delong(*twice[:2]).covariance[0, 0] == pytest.approx(single / 2, rel=0.02)


def test_a_patient_with_both_classes_adds_the_cross_term():
    label = np.array([1, 0, 1, 0, 1, 0])
    score = np.array([3.0, 2.5, 1.0, 0.5, 2.0, 1.5])
    patient = np.array([0, 0, 1, 1, 2, 2])
    above, below = placements(label.astype(bool), score)
    area = above.mean()
    first, second = above - area, below - area  # one image of each class a patient
    wanted = 3 / 2 * (first @ first + second @ second + 2 * first @ second) / 9
    assert clustered_variance(scored(label, score, patient)) == pytest.approx(wanted)


def test_paired_test_rejects_as_often_as_it_says():
    rng = np.random.default_rng(3)
    trials, rejected = 400, 0
    label = np.arange(120) % 2
    for _ in range(trials):
        shared = rng.normal(size=120) + label
        pair = shared + rng.normal(size=(2, 120))
        rejected += delong_test(label, *pair).p < 0.05
    error = math.sqrt(0.05 * 0.95 / trials)
    assert abs(rejected / trials - 0.05) < 3.5 * error


def test_paired_test_of_a_real_difference():
    rng = np.random.default_rng(4)
    label = np.arange(300) % 2
    good, bad = 2 * label + rng.normal(size=(2, 300)) * [[1], [6]]
    found = delong_test(label, good, bad)
    back = delong_test(label, bad, good)
    assert found.p < 1e-4
    assert found.difference.low > 0
    assert back.z == -found.z and back.p == found.p
    areas, spread = oracle(label, np.stack([good, bad]))
    z = (areas[0] - areas[1]) / math.sqrt(
        spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]
    )
    assert found.z == pytest.approx(z, rel=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("patients", [None, 60])
def test_the_interval_is_the_normal_one_on_the_logit_scale(level, patients):
    rng = np.random.default_rng(5)
    label = np.arange(180) % 2
    score = rng.normal(size=180) + label
    patient = None if patients is None else rng.integers(patients, size=180)
    found = auc_interval(label, score, patient=patient, level=level)
    (area,), ((variance,),) = oracle(label, score[None])
    if patients is not None:  # the sum by patient, by its definition
        variance = by_patient(label, score, patient)
    # d logit(A) = dA / (A (1 - A))
    spread = math.sqrt(variance) / (area * (1 - area))
    low, high = stats.norm.interval(level, math.log(area / (1 - area)), spread)
    expected = [area, 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-9)


def by_patient(label, score, patient):
    """Return Obuchowski's variance of an area from sums over pairs and patients."""
    above, below = score[label == 1], score[label == 0]
    kernel = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    first, second = kernel.mean(1) - kernel.mean(), kernel.mean(0) - kernel.mean()
    hit, clear = patient[label == 1], patient[label == 0]
    names = np.unique(patient)
    ours = np.array([first[hit == name].sum() for name in names]) / first.size
    theirs = np.array([second[clear == name].sum() for name in names]) / second.size
    shrink = lambda count: count / (count - 1)
    return (
        shrink(np.unique(hit).size) * (ours**2).sum()
        + shrink(np.unique(clear).size) * (theirs**2).sum()
        + 2 * shrink(names.size) * (ours * theirs).sum()
    )


def test_the_interval_of_a_difference_is_the_normal_one():
    rng = np.random.default_rng(6)
    label = np.arange(90) % 3 == 0
    pair = rng.normal(size=(2, 90)) + label
    found = delong_test(label, *pair, level=0.9).difference
    area, spread = oracle(label, pair)
    error = math.sqrt(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    expected = stats.norm.interval(0.9, area[0] - area[1], error)
    np.testing.assert_allclose(found[1:3], expected, rtol=1e-9)


def test_degenerate_inputs_say_why():
    assert auc_interval([1, 1, 1], [1, 2, 3]).note == "one class is absent"
    assert auc_interval([1, 0, 0], [1, 2, 3]).note.startswith("too few images")
    constant = auc_interval([1, 0, 0, 1], [5, 5, 5, 5])
    assert (constant.value, constant.note) == (0.5, "constant scores")
    perfect = auc_interval([1, 1, 0, 0], [4, 3, 2, 1])
    assert (perfect.value, perfect.note) == (1.0, "no variance observed")
    lone = auc_interval([1, 1, 0, 0], [4, 1, 2, 3], patient=["a"] * 4)
    assert lone.note.startswith("too few images or patients")
    same = delong_test([1, 0, 1, 0], [1, 2, 3, 0], [10, 20, 30, 0])
    assert (same.z, same.p) == (0, 1)
    assert math.isnan(delong_test([1, 0], [1, 2], [2, 1]).p)
    apart = delong_test([1, 1, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4])
    assert math.isnan(apart.p) and apart.difference.note == "no variance observed"
    assert np.isnan(delong([1, 1], [[1, 2], [2, 1]]).auc).all()


@pytest.mark.parametrize("scores", [np.zeros((2, 2, 2)), np.zeros((0, 4))])
def test_scores_of_another_shape(scores):
    with pytest.raises(ValueError, match="scores: expected"):
        delong([0, 1, 0, 1], scores)
