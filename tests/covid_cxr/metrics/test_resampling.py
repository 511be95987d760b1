"""The bootstrap by patient: what is drawn, and what its intervals cover."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from covid_cxr.metrics import bootstrap, weighted_auc
from covid_cxr.metrics._delong import auc_interval
from covid_cxr.metrics.resampling import percentile, plan, resample
from covid_cxr.metrics.roc import dense_ranks

DRAW = jax.jit(jax.vmap(resample, in_axes=(0, None)))
PATIENTS, IMAGES, WITHIN, SHIFT = 60, 4, 0.7, 0.75


def area(data, weight):
    return {"auc": weighted_auc(data["label"], data["rank"], weight)}


def mean(data, weight):
    return {"mean": (weight * data).sum() / weight.sum()}


def clustered(rng):
    """Return one cohort: (label, score, patient), truth ndtr(SHIFT / sqrt 2)."""
    patient = np.repeat(np.arange(PATIENTS), IMAGES)
    label = patient % 2
    shared = rng.normal(size=PATIENTS)[patient] * math.sqrt(WITHIN)
    own = rng.normal(size=patient.size) * math.sqrt(1 - WITHIN)
    return label, SHIFT * label + shared + own, patient


def coverage(cohorts, replicates, seed, by_image=None):
    """Return how often each interval covers the true area, and the areas' spread.

    Of ``by_image`` cohorts (default: of all) images are resampled too: that they fail
    is plain from few.
    """
    by_image = cohorts if by_image is None else by_image
    truth = float(ndtr(SHIFT / math.sqrt(2)))
    rng = np.random.default_rng(seed)
    keys = jax.random.split(jax.random.key(seed), cohorts)
    hits = {"patient": 0, "image": 0, "analytic": 0}
    areas, spread = [], {"patient": [], "image": []}
    for cohort, key in enumerate(keys):
        label, score, patient = clustered(rng)
        data = {"label": label.astype(float), "rank": dense_ranks(score)}
        for name, unit in (("image", np.arange(label.size)), ("patient", patient)):
            if name == "image" and cohort >= by_image:
                continue
            found = bootstrap(area, data, unit, key=key, replicates=replicates)
            interval = found.estimate("auc")
            hits[name] += interval.low <= truth <= interval.high
            spread[name].append(found.draws["auc"].std())
        areas.append(found.value["auc"])
        interval = auc_interval(label, score, patient=patient)
        hits["analytic"] += interval.low <= truth <= interval.high
    spread = {name: float(np.mean(s)) for name, s in spread.items()}
    counts = {"image": by_image}
    rates = {name: hit / counts.get(name, cohorts) for name, hit in hits.items()}
    return rates, spread, float(np.std(areas))


def test_patients_are_covered_and_images_are_not():
    cohorts = 250
    rates, spread, true = coverage(cohorts, 300, 0, by_image=80)
    error = math.sqrt(0.95 * 0.05 / cohorts)
    assert abs(rates["patient"] - 0.95) < 0.02 + 3 * error
    assert rates["image"] < 0.85 < rates["patient"]
    assert spread["image"] < 0.7 * true < spread["patient"]


@pytest.mark.slow
def test_coverage_within_two_points():
    cohorts = 4000
    rates, spread, true = coverage(cohorts, 1000, 1)
    error = math.sqrt(0.95 * 0.05 / cohorts)
    print(rates, spread, true, f"standard error {error:.4f}")
    assert 0.93 <= rates["patient"] <= 0.97
    assert 0.93 <= rates["analytic"] <= 0.97
    assert rates["image"] < 0.80
    assert spread["patient"] == pytest.approx(true, rel=0.1)


def test_a_patient_is_drawn_whole():
    patient = np.array(["b", "a", "b", "c", "a", "b"])
    drawn = plan(patient)
    weights = np.asarray(
        jax.vmap(lambda k: resample(k, drawn))(jax.random.split(jax.random.key(0), 500))
    )
    assert weights.shape == (500, 64)
    assert (weights[:, 6:] == 0).all()
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    times = weights[:, [0, 1, 3]]
    assert (times.sum(axis=1) == 3).all()
    error = math.sqrt(3 * (1 / 3) * (2 / 3) / 500)
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=4 * error)


def test_strata_keep_their_number_of_patients():
    patient = np.array([0, 0, 1, 2, 3, 3, 4, 5])
    label = np.array([1, 1, 1, 0, 0, 1, 0, 1])  # patient 3 is mixed, alone
    drawn = plan(patient, label)
    weights = np.asarray(
        jax.vmap(lambda k: resample(k, drawn))(jax.random.split(jax.random.key(0), 200))
    )
    assert (weights[:, [0, 2, 7]].sum(axis=1) == 3).all()
    assert (weights[:, [3, 6]].sum(axis=1) == 2).all()
    assert (weights[:, [4, 5]] == 1).all()
    assert weights[:, 2].max() > 1


def test_the_mean_of_draws_is_that_of_theory():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    found = bootstrap(mean, x, np.arange(100), key=jax.random.key(0), replicates=4000)
    assert found.value["mean"] == pytest.approx(x.mean(), abs=1e-6)
    se = x.std() / 10
    assert found.draws["mean"].mean() == pytest.approx(x.mean(), abs=4 * se / 63)
    assert found.draws["mean"].std() == pytest.approx(se, rel=0.06)


def test_the_interval_is_between_the_quantiles_of_the_draws():
    draws = np.random.default_rng(0).permutation(np.arange(1001.0))
    found = percentile(500.0, draws, patients=10)
    assert (found.low, found.high) == pytest.approx((25, 975))
    found = percentile(500.0, draws, patients=10, level=0.5)
    assert (found.low, found.high) == pytest.approx((250, 750))


def test_same_key_same_draws_and_one_compilation():
    calls = []

    def counted(data, weight):
        calls.append(1)
        return mean(data, weight)

    x = np.arange(70.0)
    one = bootstrap(counted, x, x // 2, key=jax.random.key(1), replicates=50)
    before = len(calls)
    two = bootstrap(counted, x, x // 2, key=jax.random.key(1), replicates=50)
    np.testing.assert_array_equal(one.draws["mean"], two.draws["mean"])
    bootstrap(counted, x[:66], x[:66] // 3, key=jax.random.key(1), replicates=50)
    assert len(calls) == before  # padded to the same size


def test_undefined_resamples_are_counted():
    label = np.array([1, 0, 0, 0, 0, 0])
    data = {"label": label.astype(float), "rank": np.arange(6)}
    found = bootstrap(area, data, np.arange(6), key=jax.random.key(0), replicates=400)
    assert "undefined on" in found.estimate("auc").note  # about (5/6)^6 = 33 %
    kept = bootstrap(
        area, data, np.arange(6), key=jax.random.key(0), replicates=400, stratum=label
    )
    assert not np.isnan(kept.draws["auc"]).any()
    assert kept.estimate("auc").note == "no variance observed"  # one positive image
    single = bootstrap(mean, np.ones(3), ["p"] * 3, key=jax.random.key(0))
    assert single.estimate("mean").note == "fewer than 2 patients"
    assert math.isnan(single.estimate("mean").low)


def test_bad_input():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="replicates"):
        bootstrap(mean, np.ones(3), np.arange(3), key=key, replicates=0)
    with pytest.raises(ValueError, match="data: expected a leading axis of 3"):
        bootstrap(mean, np.ones(4), np.arange(3), key=key)
    with pytest.raises(ValueError, match="at least one image"):
        bootstrap(mean, jnp.ones(0), [], key=key)
    with pytest.raises(ValueError, match="stratum"):
        bootstrap(mean, np.ones(3), np.arange(3), key=key, stratum=[1])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_draws_that_do_not_vary_bound_nothing(value):
    found = percentile(value, np.full(1000, value), patients=10)
    assert found.value == value and math.isnan(found.low)
    assert found.note == "no variance observed"
    found = percentile(value, np.r_[np.full(949, value), np.full(51, 0.7)], patients=10)
    assert found.low < found.high
