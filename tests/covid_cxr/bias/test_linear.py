"""Cheap classifiers, judged on unseen patients."""

import numpy as np
import pytest

from covid_cxr.bias import linear, types
from covid_cxr.metrics import auc_interval
from tests.covid_cxr.bias.cohorts import table


def test_a_patient_is_never_on_both_sides():
    # A feature for each patient: useless unless the patient was trained on.
    patients = np.repeat(np.arange(40), 5)
    index, label = table(patients, (patients % 2), ["one"] * 200)
    features = np.eye(40)[patients]
    assert linear.probe("x", index, features, label).found.value < 0.6
    images, _ = table(range(200), label, ["one"] * 200)
    leaked = linear.out_of_fold(images, features, label)
    assert linear.scored("x", images, label, leaked).found.value > 0.99


def test_what_is_there_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    index, label = table(range(300), np.arange(300) % 2, ["one"] * 300)
    noise = rng.normal(size=(300, 20))
    assert not linear.probe("noise", index, noise, label).fires
    noise[:, 3] += 2 * label
    found = linear.probe("signal", index, noise, label)
    assert found.fires and found.images == found.patients == 300
    assert not linear.probe("signal", index, noise, label, alarm=False).fires


def test_a_probe_has_the_interval_of_its_area():
    rng = np.random.default_rng(1)
    index, label = table(np.arange(90) // 2, np.arange(90) // 2 % 2, ["one"] * 90)
    score = rng.normal(size=90) + label
    area = linear.scored("scores", index, label, score).found
    assert area == auc_interval(label, score, patient=index.patient)
    assert area.low < area.value < area.high


@pytest.mark.parametrize(("positives", "negatives"), [(20, 30), (60, 60), (400, 90)])
def test_the_smallest_area_by_its_definition(positives, negatives):
    """Hanley and McNeil (1982); 1.9600 and 0.8416 are of 95 % and of power 80 %."""

    def above(area):
        one, two = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (positives - 1) * (one - area**2)
        variance += (negatives - 1) * (two - area**2)
        error = (variance / (positives * negatives)) ** 0.5
        return area - (1.9600 + 0.8416) * error > 0.5 + types.MARGIN

    area = types.smallest_area(positives, negatives)
    assert above(area + 1e-5) and not above(area - 0.001 - 1e-5)


def test_pixels_are_means_of_blocks():
    images = np.random.default_rng(0).random((2, 9, 9), np.float32)
    small = linear.pixels(images, side=4)
    assert small.shape == (2, 16)
    np.testing.assert_allclose(small[1, 5], images[1, 2:4, 2:4].mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        linear.pixels(images)


def test_one_class_alone_gives_a_constant():
    score = linear.logistic(np.ones((4, 2)), np.ones(4))
    np.testing.assert_array_equal(score(np.zeros((3, 2))), 1)


@pytest.mark.parametrize(
    ("features", "target", "message"),
    [
        (np.ones((9, 2)), np.zeros(10), "features: expected"),
        (np.ones((10, 2)), np.full(10, 2), "target: expected"),
        (np.full((10, 2), np.nan), np.zeros(10), "finite"),
        (np.full((10, 2), 1e200), np.zeros(10), "none beyond 1e100"),
        (np.ones((10, 2)), np.full(10, 0.5), "target: expected"),
        (np.ones((10, 2)), np.full(10, np.nan), "target: expected"),
    ],
)
def test_bad_input(features, target, message):
    index, _ = table(range(10), [0] * 10, ["one"] * 10)
    with pytest.raises(ValueError, match=message):
        linear.out_of_fold(index, features, target)


def test_too_few_patients():
    index, label = table([1, 1, 2, 2], [0, 0, 1, 1], ["one"] * 4)
    with pytest.raises(ValueError, match="2 patients do not fill 5"):
        linear.out_of_fold(index, np.ones((4, 1)), label)
