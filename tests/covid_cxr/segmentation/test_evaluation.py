"""Measures of agreement by hand and by brute force."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from covid_cxr.segmentation import agreement, dice, hausdorff95, iou
from covid_cxr.segmentation.evaluation import border

KEY = jax.random.key(0)


def square(top, left, side=4, size=12):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def brute(first, second):
    """Return the 95 % quantile over all border pixels of nearest distances."""
    a, b = np.argwhere(border(first)), np.argwhere(border(second))
    apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return np.quantile(np.concatenate([apart.min(axis=1), apart.min(axis=0)]), 0.95)


def test_by_hand():
    a, b = square(2, 2), square(2, 4)
    assert dice(a, b) == 0.5
    assert iou(a, b) == 8 / 24
    assert hausdorff95(a, b) == 2
    assert hausdorff95(a, b, 0.5) == 1
    assert hausdorff95(a, a) == 0
    assert border(square(2, 2)).sum() == 12


@pytest.mark.parametrize("seed", range(3))
def test_hausdorff_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 15, 13)) < 0.2
    assert hausdorff95(a, b) == pytest.approx(brute(a, b))


def test_empty_masks():
    empty = np.zeros((12, 12), bool)
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert dice(empty, square(0, 0)) == 0
    assert hausdorff95(empty, empty) == 0
    assert math.isnan(hausdorff95(empty, square(0, 0)))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_of_means_have_the_width_of_a_mean(level):
    """At 8000 resamples their width is known to 1 %; 10 % too narrow would be seen."""
    rng = np.random.default_rng(0)
    truth = np.ones((60, 4, 4), bool)
    found = rng.random(truth.shape) < rng.uniform(0.2, 0.9, (60, 1, 1))
    result = agreement(found, truth, key=KEY, replicates=8000, level=level)
    for name in ("dice", "iou"):
        error = result.per_radiograph[name].std() / np.sqrt(60)
        width = result.mean[name].high - result.mean[name].low
        expected = 2 * stats.norm.ppf((1 + level) / 2) * error
        assert width == pytest.approx(expected, rel=0.05)


def test_agreement_is_by_patient():
    truth = np.stack([square(2, 2)] * 8)
    found = np.stack([square(2, 2 + k // 4) for k in range(8)])
    by_film = agreement(found, truth, key=KEY, replicates=300)
    patient = np.arange(8) // 4
    by_patient = agreement(found, truth, key=KEY, patient=patient, replicates=300)
    assert (by_patient.radiographs, by_patient.patients) == (8, 2)
    assert by_patient.mean["dice"].value == pytest.approx((4 + 4 * 0.75) / 8)
    width = lambda one: one.mean["dice"].high - one.mean["dice"].low
    assert width(by_patient) > width(by_film)


def test_distances_in_millimetres_where_there_are_any():
    truth = np.stack([square(2, 2)] * 8)
    found = np.stack([square(2, 3)] * 7 + [np.zeros((12, 12), bool)])
    one = agreement(found, truth, key=KEY, replicates=300)
    two = agreement(found, truth, key=KEY, spacing=np.full(8, 2.0), replicates=300)
    assert (one.undefined, one.unit, two.unit) == (1, "px", "mm")
    assert one.mean["hd95"].value == hausdorff95(found[0], truth[0]) == 1
    assert two.mean["hd95"].value == 2
    assert one.mean["dice"].value == pytest.approx(7 * 0.75 / 8)


def test_bad_masks():
    a = np.zeros((2, 4, 4), bool)
    with pytest.raises(ValueError, match="predicted: expected bool"):
        agreement(a.astype(float), a, key=KEY)
    with pytest.raises(ValueError, match=r"truth: expected \(2, 4, 4\)"):
        agreement(a, a[:1], key=KEY)
    with pytest.raises(ValueError, match="truth: expected bool"):
        agreement(a, a[0], key=KEY)
