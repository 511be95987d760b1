"""Thresholds against the search over all of them."""

import numpy as np
import pytest

from covid_cxr.metrics import FIXED, at_sensitivity, confusion, decide, rates, youden


@pytest.mark.parametrize("seed", range(4))
def test_youden_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    label = np.arange(60) % 2
    score = np.round(rng.normal(size=60) + label, 1)
    chosen = youden(label, score)
    cells = confusion(label, score, chosen.value)
    reached = 2 * float(rates.balanced_accuracy(cells)) - 1
    every = [confusion(label, score, t) for t in np.append(score, np.inf)]
    assert reached == pytest.approx(
        max(2 * float(rates.balanced_accuracy(c)) - 1 for c in every)
    )
    assert chosen.sensitivity == pytest.approx(float(rates.sensitivity(cells)))
    assert chosen.specificity == pytest.approx(float(rates.specificity(cells)))
    assert chosen.chosen_on == 60


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95])
def test_fixed_sensitivity_is_reached_and_just(wanted):
    rng = np.random.default_rng(1)
    label = np.arange(80) % 2
    score = rng.normal(size=80) + label
    chosen = at_sensitivity(label, score, wanted)
    got = float(rates.sensitivity(confusion(label, score, chosen.value)))
    assert got == chosen.sensitivity >= wanted
    assert got - 1 / 40 < wanted
    assert chosen.rule == f"sensitivity >= {wanted:g}"


@pytest.mark.parametrize("low", [0.3, 1.7e308 / 2, 1e-320, -1.0])
def test_a_threshold_between_neighbours_calls_the_upper_alone(low):
    score = [low, np.nextafter(low, np.inf)]
    chosen = youden([0, 1], score)
    assert decide(score, chosen).tolist() == [False, True]
    far = youden([0, 1], [1e308, 1.7e308])
    assert np.isfinite(far.value) and far.sensitivity == far.specificity == 1


def test_corners():
    assert FIXED.value == 0.5
    worst = youden([1, 0], [0.1, 0.9])  # nothing beats calling none positive
    assert decide([0.1, 0.9], worst).sum() == 0
    assert decide([0.4, 0.5], FIXED).tolist() == [False, True]
    constant = at_sensitivity([1, 0, 1], [0.3, 0.3, 0.3], 0.9)
    assert constant.sensitivity == 1 and constant.specificity == 0
    with pytest.raises(ValueError, match="both classes"):
        youden([1, 1], [0.1, 0.9])
    with pytest.raises(ValueError, match="wanted"):
        at_sensitivity([1, 0], [0.1, 0.9], 1.5)
