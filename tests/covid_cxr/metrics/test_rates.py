"""Rates by hand, in NumPy and in JAX."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.metrics import (
    Confusion,
    confusion,
    f_score,
    npv_at,
    odds_ratio,
    odds_ratio_interval,
    ppv_at,
)
from covid_cxr.metrics.rates import RATES

CELLS = Confusion(tp=8, fp=3, tn=12, fn=2)
BY_HAND = {
    "sensitivity": 8 / 10,
    "specificity": 12 / 15,
    "balanced_accuracy": 0.8,
    "accuracy": 20 / 25,
    "f_score": 16 / 21,
    "ppv": 8 / 11,
    "npv": 12 / 14,
    "dor": 8.5 * 12.5 / (3.5 * 2.5),
    "bounded_dor": (8.5 * 12.5 - 3.5 * 2.5) / (8.5 * 12.5 + 3.5 * 2.5),
}


@pytest.mark.parametrize("name", list(RATES))
def test_rates_by_hand(name):
    assert float(RATES[name](CELLS)) == pytest.approx(BY_HAND[name], rel=1e-12)
    traced = jax.jit(RATES[name])(Confusion(*(jnp.float32(c) for c in CELLS)))
    assert float(traced) == pytest.approx(BY_HAND[name], rel=1e-5)


def test_confusion_counts_at_or_above_the_threshold():
    found = confusion([1, 1, 0, 0, 1], [0.5, 0.4, 0.5, 0.1, 0.9], 0.5)
    assert found == Confusion(tp=2, fp=1, tn=1, fn=1)
    with pytest.raises(ValueError, match="threshold"):
        confusion([1, 0], [0.1, 0.2], math.nan)


def test_no_rate_is_infinite():
    perfect = Confusion(tp=5, fp=0, tn=5, fn=0)
    assert float(odds_ratio(perfect)) == 5.5**2 / 0.5**2
    for cells in (Confusion(0, 0, 5, 0), Confusion(5, 0, 0, 0), Confusion(0, 0, 0, 0)):
        for rate in RATES.values():
            assert not math.isinf(float(rate(cells)))
        assert math.isnan(float(odds_ratio(cells)))
        assert odds_ratio_interval(cells).note == "one class is absent"
    assert math.isnan(float(f_score(Confusion(0, 0, 5, 0))))


def test_odds_ratio_interval_covers():
    # Exact over the two binomials: no simulation error.
    from scipy.stats import binom

    m, n, sens, spec = 40, 30, 0.7, 0.8
    truth = sens * spec / ((1 - sens) * (1 - spec))
    covered = 0.0
    for tp in range(m + 1):
        for tn in range(n + 1):
            chance = binom.pmf(tp, m, sens) * binom.pmf(tn, n, spec)
            found = odds_ratio_interval(Confusion(tp, n - tn, tn, m - tp))
            covered += chance * (found.low <= truth <= found.high)
    assert 0.94 < covered < 0.98


def test_odds_ratio_interval_is_woolfs():
    found = odds_ratio_interval(Confusion(30, 5, 20, 10), level=0.9)
    ratio = 30.5 * 20.5 / (5.5 * 10.5)
    error = math.sqrt(1 / 30.5 + 1 / 5.5 + 1 / 20.5 + 1 / 10.5)
    expected = [ratio * math.exp(z * error) for z in (0, -1.6448536, 1.6448536)]
    assert found[:3] == pytest.approx(expected, rel=1e-6)


def test_predictive_values_at_a_prevalence():
    # At the sample's own prevalence they are the sample's own.
    assert float(ppv_at(CELLS, 10 / 25)) == pytest.approx(8 / 11)
    assert float(npv_at(CELLS, 10 / 25)) == pytest.approx(12 / 14)
    assert float(ppv_at(CELLS, 0.01)) == pytest.approx(0.8 * 0.01 / (0.008 + 0.198))
    arrays = Confusion(*(np.array([c, 2 * c]) for c in CELLS))
    np.testing.assert_allclose(ppv_at(arrays, 0.4), [8 / 11, 8 / 11])
    with pytest.raises(ValueError, match="prevalence: expected a number in"):
        ppv_at(CELLS, 1.0)
