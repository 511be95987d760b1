"""Wilson and Holm by hand and by exact coverage."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from covid_cxr.metrics import Estimate, holm, wilson


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (3, 7), (7, 7), (41, 90)])
def test_wilson_equals_scipy(hits, trials):
    found = wilson(hits, trials, level=0.9)
    wanted = binomtest(hits, trials).proportion_ci(0.9, method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_wilson_covers():
    trials = 45
    intervals = [wilson(k, trials) for k in range(trials + 1)]
    covered = []
    for p in np.linspace(0.05, 0.95, 91):
        inside = np.array([i.low <= p <= i.high for i in intervals])
        covered.append(binom.pmf(np.arange(trials + 1), trials, p) @ inside)
    assert 0.945 < np.mean(covered) < 0.96  # exact, not simulated


def test_wilson_of_nothing_and_of_bad_counts():
    assert math.isnan(wilson(0, 0).value) and wilson(0, 0).note == "no trials"
    for hits, trials in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="successes: expected"):
            wilson(hits, trials)
    with pytest.raises(ValueError, match="level: expected a number in"):
        wilson(1, 3, level=95.0)


def test_holm_by_hand():
    found = holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    found = holm([0.4, math.nan, 0.6])
    np.testing.assert_allclose(found, [0.8, math.nan, 0.8])
    assert holm([]) == []
    assert all(type(p) is float for p in found)  # `p >= 0.05` is a plain bool
    for bad in ([0.2, 1.2], ["a"], [[0.1]]):
        with pytest.raises(ValueError, match="p_values"):
            holm(bad)


def test_text():
    assert Estimate(0.75, 0.5, 0.9).text(2) == "0.75 (0.50 to 0.90)"
    assert Estimate(0.75).text(1) == "0.8"
    assert Estimate(math.nan, note="no cases").text() == "undefined (no cases)"
