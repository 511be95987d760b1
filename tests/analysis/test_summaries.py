"""Bootstrap intervals: by hand, reproducible, and covering what they should."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from analysis import entropy, summaries
from tests import unchecked


def first_order(values, live=None):
    per_neuron = {name: np.asarray(H, float) for name, H in values.items()}
    if live is None:
        live = {name: np.ones(H.size, bool) for name, H in per_neuron.items()}
    shapes = {name: H.shape for name, H in per_neuron.items()}
    return entropy.FirstOrder({}, per_neuron, live, shapes, np.ones(2))


def test_layer_means_by_hand():
    live = {"a": np.array([True, False]), "b": np.array([False] * 3)}
    found = first_order({"a": [1, 3], "b": [4, 4, 8]}, live)
    assert summaries.layer_means(found) == pytest.approx(
        {"a": 2, "b": 16 / 3, "network": 4}
    )
    alive = summaries.layer_means(found, live=True)
    assert alive["a"] == 1 and alive["network"] == 1 and math.isnan(alive["b"])


def test_over_neurons_is_the_standard_error_of_a_mean(key):
    rng = np.random.default_rng(0)
    values = {"a": rng.exponential(size=400), "b": rng.exponential(size=100)}
    found = summaries.over_neurons(first_order(values), key, replicates=4000)
    for name, H in values.items():
        wanted = 2 * 1.96 * H.std() / math.sqrt(H.size)
        assert found[name].high - found[name].low == pytest.approx(wanted, rel=0.08)
        assert found[name].low < found[name].mean < found[name].high
        assert found[name].mean == pytest.approx(H.mean())
        assert found[name][3:] == ("neurons", H.size)
    # Layers are resampled apart: their variances add up by the square of their share.
    spread = math.hypot(*(np.sqrt(H.size) * H.std() for H in values.values())) / 500
    pooled = found["network"]
    assert pooled.high - pooled.low == pytest.approx(2 * 1.96 * spread, rel=0.08)
    again = summaries.over_neurons(first_order(values), key, replicates=4000)
    assert again == found


@pytest.mark.parametrize("units", [2, 3, 20])
def test_few_units_have_the_interval_of_student(units):
    level = 0.95
    naive = stats.norm.ppf(0.975) * math.sqrt((units - 1) / units)
    expected = stats.t.ppf(0.975, units - 1)
    np.testing.assert_allclose(
        summaries._expansion(units, level) * naive, expected, rtol=1e-12
    )


def test_over_neurons_leaves_out_a_layer_without_live_neurons(key):
    live = {"a": np.array([True, True]), "b": np.array([False])}
    found = first_order({"a": [1, 3], "b": [4]}, live)
    assert set(summaries.over_neurons(found, key, live=True)) == {"a", "network"}
    nothing = first_order({"a": [1.0]}, {"a": np.array([False])})
    assert summaries.over_neurons(nothing, key, live=True) == {}


def test_pairs_over_neurons_covers_the_spread_of_a_u_statistic(key):
    # Pair values |x_i - x_j|: compare with the spread over fresh samples.
    rng = np.random.default_rng(1)
    n = 60

    def partner_means(x):
        return np.abs(x[:, None] - x[None, :]).sum(axis=1) / (n - 1)

    fresh = [partner_means(rng.normal(size=n)).mean() for _ in range(2000)]
    widths = [
        np.subtract(*summaries.pairs_over_neurons(
            partner_means(rng.normal(size=n)), one)[2:0:-1])
        for one in jax.random.split(key, 20)
    ]  # fmt: skip
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(fresh), rel=0.15)


def test_pairs_of_few_neurons_are_covered(key):
    """200 layers of 12 neurons: 91 % expected; without the widening it were 86 %."""
    rng, n, true = np.random.default_rng(3), 12, 2 / math.sqrt(math.pi)
    held = 0
    for one in jax.random.split(key, 200):
        x = rng.normal(size=n)
        partners = np.abs(x[:, None] - x[None, :]).sum(axis=1) / (n - 1)
        pairs = summaries.pairs_over_neurons(partners, one, replicates=500)
        held += pairs.low <= true <= pairs.high
    assert held >= 175  # 182 +- 4; 172 +- 5 if it were not widened


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_basic_ones(level, key, monkeypatch):
    """2 x the estimate less the quantiles of the draws, which are given here."""
    H = np.arange(5.0, 26.0)  # 21 neurons, mean 15
    draws = 15 + np.linspace(-1, 3, 1001)
    monkeypatch.setattr(summaries, "_resample", lambda *_: draws.astype(np.float32))
    tails = np.array([(1 + level) / 2, (1 - level) / 2])
    moved = -1 + 4 * tails  # the quantiles, less the mean
    pairs = summaries.pairs_over_neurons(H, key, level=level)
    wide = stats.t.ppf(tails[0], 20) / stats.norm.ppf(tails[0]) * math.sqrt(21 / 20)
    np.testing.assert_allclose(pairs[1:3], 15 - 2 * wide * moved, rtol=1e-5)
    single = summaries.over_neurons(first_order({"a": H}), key, level=level)["a"]
    np.testing.assert_allclose(single[1:3], 15 - wide * moved, rtol=1e-5)


def test_over_examples_draws_examples_within_their_class(key):
    # One neuron: with p = 0.3 of 50 on, the counts drawn are binomial.
    on, labels = {"a": (np.arange(50) < 15)[:, None]}, np.zeros(50, int)
    # At this level both quantiles lie well within a step of the distribution.
    found = summaries.over_examples(on, labels, 1, key, level=0.88, replicates=20_000)[
        "a"
    ]
    low, high = stats.binom.ppf([0.06, 0.94], 50, 0.3)
    H = [float(stats.entropy([n, 50 - n], base=2)) for n in (15, low, high)]
    expected = (H[0], 2 * H[0] - H[2], 2 * H[0] - H[1])
    np.testing.assert_allclose(found[:3], expected, rtol=1e-5)


def test_over_examples_covers_the_entropy_of_the_population(key):
    # 40 neurons driven by one hidden value an example, so examples matter together.
    classes, size, neurons = 2, 100, 40
    cuts = np.linspace(0.1, 0.9, neurons)
    wanted = classes * np.mean(entropy.binary_entropy(1e6 * cuts, 1e6))
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(classes), size)
    inside = 0
    for one in jax.random.split(key, 60):
        on = {"a": rng.uniform(size=(classes * size, 1)) < cuts}
        found = summaries.over_examples(on, labels, classes, one, replicates=100)
        inside += found["a"].low <= wanted <= found["a"].high
        assert found["a"].over == "examples"
        np.testing.assert_allclose(found["network"][:3], found["a"][:3])
    assert inside >= 51  # 95 % of 60 is 57, with standard error 1.7


def test_over_examples_gives_the_estimate_of_the_whole_sample(key):
    rng = np.random.default_rng(3)
    on = {"a": rng.uniform(size=(30, 6)) < 0.4, "b": rng.uniform(size=(30, 3)) < 0.4}
    labels = np.arange(30) % 3
    live = {"a": np.arange(6) < 4, "b": np.zeros(3, bool)}
    found = summaries.over_examples(on, labels, 3, key, live=live, replicates=10)
    counts = entropy.init({"a": (4,)}, 3)
    z = np.where(on["a"][:, :4], 1.0, -1.0).astype(np.float32)
    H = entropy.finalize(entropy.update(counts, {"a": jax.numpy.asarray(z)},
                                        jax.numpy.asarray(labels)))  # fmt: skip
    assert set(found) == {"a", "network"}
    assert found["a"].mean == pytest.approx(H.per_neuron["a"].mean(), rel=1e-12)
    assert found["a"].neurons == 4


def test_bad_input(key):
    found = first_order({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="level: expected"):
        summaries.over_neurons(found, key, level=1.0)
    with pytest.raises(ValueError, match="replicates: expected"):
        summaries.over_neurons(found, key, replicates=1)
    with pytest.raises(ValueError, match="labels: no example of class 1"):
        on = {"a": np.ones((2, 2), bool)}
        summaries.over_examples(on, np.zeros(2, int), 2, key)


def test_the_positions_of_a_channel_are_drawn_together():
    """A 95 % interval over channels holds the mean of the channels they come from."""
    rng, hits, count = np.random.default_rng(0), 0, 100
    for seed in range(count):
        channel = rng.uniform(2, 8, 20)  # mean 5
        H = np.broadcast_to(channel, (64, 20)) + 0.3 * rng.standard_normal((64, 20))
        layer = entropy.FirstOrder(
            {"conv": np.repeat(H.reshape(-1, 1) / 2, 2, 1)},
            {"conv": H.reshape(-1)},
            {"conv": np.ones(H.size, bool)},
            {"conv": (8, 8, 20)},
            np.array([10, 10]),
        )
        key = jax.random.key(seed)
        found = summaries.over_neurons(layer, key, replicates=200)["conv"]
        hits += found.low <= 5 <= found.high
    assert hits >= 88
    with pytest.raises(ValueError, match=r"axis: layer conv has shape \(8, 8, 20\)"):
        summaries.over_neurons(layer, key, axis=3)


def test_states_and_labels_that_do_not_fit_are_named(key):
    on = {"a": np.ones((4, 3), bool)}
    with pytest.raises(ValueError, match=r"labels: expected integers.* 1 lie"):
        summaries.over_examples(on, np.array([0, 1, 1, -1]), 2, key)
    with pytest.raises(
        ValueError, match=r"on: layer a is bool of shape .* one a label"
    ):
        summaries.over_examples(on, np.array([0, 1]), 2, key)
    with pytest.raises(ValueError, match="labels: expected integers"):
        summaries.over_examples(on, np.array([0, 1, 0.5, 1]), 2, key)
    message = "per_neuron: the draft form has none"
    with unchecked(), pytest.raises(ValueError, match=message):
        summaries.pairs_over_neurons(None, key)
