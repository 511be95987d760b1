"""Pairs of one source against all pairs."""

import jax
import numpy as np

from covid_cxr.bias import same_source
from tests.covid_cxr.bias.cohorts import table

KEY = jax.random.key(0)


def slow(label, score, source):
    """Return the area over pairs within sources and over all pairs, by a loop."""
    won = np.zeros(2)
    pairs = np.zeros(2)
    for i in np.flatnonzero(label):
        for j in np.flatnonzero(label == 0):
            better = float(score[i] > score[j]) + 0.5 * (score[i] == score[j])
            same = source[i] == source[j]
            won += better * np.array([same, 1])
            pairs += [same, 1]
    return won / pairs


def test_areas_are_those_of_the_pairs():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60)
    source = rng.choice(["a", "b", "c"], 60)
    score = np.round(rng.random(60) + 0.3 * label, 1)  # with ties
    index, label = table(np.arange(60) // 2, label, source)
    within, gain = same_source(index, label, score, key=KEY, replicates=50)
    expected = slow(label, score, source)
    np.testing.assert_allclose(within.found.value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gain.found.value, expected[1] - expected[0], atol=1e-6)


def test_a_score_that_is_the_source_gains_all_from_it():
    rng = np.random.default_rng(1)
    label = np.arange(200) % 2
    source = np.where(rng.random(200) < 0.15 + 0.7 * label, "a", "b")
    index, label = table(range(200), label, source)
    score = (source == "a") + 0.01 * rng.random(200)
    within, gain = same_source(index, label, score, key=KEY, replicates=200)
    assert gain.fires and not within.fires
    assert within.found.low < 0.5 < within.found.high
    honest = label + rng.normal(size=200)
    assert not same_source(index, label, honest, key=KEY, replicates=200)[1].fires


def test_one_class_a_source_leaves_it_undefined():
    index, label = table(range(20), [0, 1] * 10, ["a", "b"] * 10)
    for one in same_source(index, label, np.arange(20.0), key=KEY):
        assert np.isnan(one.found.value) and not one.fires
        assert one.note == "0 of 2 sources have both classes"


def test_one_source_has_nothing_to_gain_from_others():
    index, label = table(range(20), [0, 1] * 10, ["a"] * 20)
    within, gain = same_source(index, label, np.arange(20.0), key=KEY, replicates=50)
    assert within.found.value > 0.5 and not gain.fires
    assert gain.found.text() == "undefined (one source)"
