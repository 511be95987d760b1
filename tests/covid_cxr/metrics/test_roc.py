"""Areas against the count over all pairs, and the corners of the curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.metrics import auc, roc_curve, weighted_auc
from covid_cxr.metrics.roc import dense_ranks


def pairs(label, score):
    label = np.asarray(label, bool)
    a, b = np.asarray(score)[label][:, None], np.asarray(score)[~label][None]
    return np.mean((a > b) + 0.5 * (a == b))


def sample(seed, count=37, levels=9):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    label[:2] = 0, 1
    return label, rng.integers(0, levels, count) / levels


@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs(seed):
    label, score = sample(seed)
    assert auc(label, score) == pytest.approx(pairs(label, score), abs=1e-14)
    curve = roc_curve(label, score)
    area = np.trapezoid(curve.sensitivity, curve.false_positive_rate)
    assert area == pytest.approx(pairs(label, score), abs=1e-14)
    assert auc(label, -score) == pytest.approx(1 - auc(label, score), abs=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_a_repetition(seed):
    label, score = sample(seed)
    times = np.random.default_rng(seed).integers(0, 4, label.size)
    wanted = auc(np.repeat(label, times), np.repeat(score, times))
    label, times = (jnp.asarray(a, jnp.float32) for a in (label, times))
    found = jax.jit(weighted_auc)(label, jnp.asarray(dense_ranks(score)), times)
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_the_curve_by_hand():
    curve = roc_curve([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1])
    np.testing.assert_array_equal(curve.threshold, [np.inf, 0.9, 0.8, 0.1])
    np.testing.assert_array_equal(curve.sensitivity, [0, 0.5, 1, 1])
    np.testing.assert_array_equal(curve.false_positive_rate, [0, 0, 0.5, 1])


def test_degenerate_areas():
    assert np.isnan(auc([1, 1], [0.2, 0.3]))
    assert auc([0, 1, 1], [0.5, 0.5, 0.5]) == 0.5
    nothing = weighted_auc(jnp.ones(3), jnp.arange(3), jnp.ones(3))
    assert bool(jnp.isnan(nothing))
    with pytest.raises(ValueError, match="both classes, got 0 positive and 2"):
        roc_curve([0, 0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([], [], "label: expected shape"),
        ([[0, 1]], [0.1, 0.2], "label: expected shape"),
        ([0, 2], [0.1, 0.2], "label: expected only 0 and 1"),
        ([0, np.nan], [0.1, 0.2], "label: expected only 0 and 1"),
        (["a", "b"], [0.1, 0.2], "label: expected only 0 and 1"),
        ([0, 1], [0.1, np.nan], "score: 1 of 2 values are not finite"),
        ([0, 1], [0.1, np.inf], "score: 1 of 2 values are not finite"),
        ([0, 1], [0.1], "score: expected 2 numbers"),
    ],
)
def test_bad_input(label, score, message):
    with pytest.raises(ValueError, match=message):
        auc(label, score)
