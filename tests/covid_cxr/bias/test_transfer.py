"""Pneumonia, scored as COVID-19."""

import jax
import numpy as np

from covid_cxr.bias import transfer
from covid_cxr.metrics import auc_interval

KEY = jax.random.key(0)


def test_calls_and_shift_are_means():
    rng = np.random.default_rng(0)
    ill = np.arange(100) % 2
    score = rng.random(100) * 0.5 + 0.3 * ill
    found = transfer(ill, score, np.arange(100) // 4, key=KEY, threshold=0.4)
    called = score >= 0.4
    for estimate, value in (
        (found.called, called.mean()),
        (found.called_pneumonia, called[ill == 1].mean()),
        (found.called_healthy, called[ill == 0].mean()),
        (found.shift, score[ill == 1].mean() - score[ill == 0].mean()),
    ):
        np.testing.assert_allclose(estimate.value, value, rtol=1e-5)
        assert estimate.low <= value <= estimate.high
    assert found.auc.low > 0.5 and found.images == 100


def test_calls_have_the_interval_of_a_share():
    """At 8000 resamples their width is known to 1 %; 10 % too narrow would be seen."""
    ill, called = np.arange(400) % 2, np.random.default_rng(0).random(400) < 0.4
    found = transfer(ill, called, np.arange(400), key=KEY, replicates=8000)
    for estimate, chosen in (
        (found.called, ill >= 0),
        (found.called_pneumonia, ill == 1),
        (found.called_healthy, ill == 0),
    ):
        share = called[chosen].mean()
        error = np.sqrt(share * (1 - share) / chosen.sum())
        width = estimate.high - estimate.low
        np.testing.assert_allclose(width, 2 * 1.96 * error, rtol=0.05)
    assert found.auc == auc_interval(ill, called * 1.0, patient=np.arange(400))


def test_pneumonia_alone_has_no_area():
    found = transfer([1] * 8, np.linspace(0, 1, 8), range(8), key=KEY)
    assert np.isnan(found.auc.value) and np.isnan(found.shift.value)
    assert found.called.value == 0.5
