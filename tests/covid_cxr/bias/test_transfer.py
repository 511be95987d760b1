"""Pneumonia, scored as COVID-19."""

import jax
import numpy as np

from covid_cxr.bias import transfer

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


def test_pneumonia_alone_has_no_area():
    found = transfer([1] * 8, np.linspace(0, 1, 8), range(8), key=KEY)
    assert np.isnan(found.auc.value) and np.isnan(found.shift.value)
    assert found.called.value == 0.5
