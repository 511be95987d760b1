"""First-order PSP-entropy against brute-force counting, and its errors."""

import itertools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import entropy
from pruning import preactivations
from tests.analysis import networks

CLASSES = 3
SHAPES = {"conv": (2, 3, 2), "dense": (5,)}
FLOOR = -(1e-4 * math.log2(1e-4) + 0.9999 * math.log2(0.9999))

update = jax.jit(entropy.update)


def potentials(seed, examples):
    """Return random potentials with exact zeros among them, and labels."""
    rng = np.random.default_rng(seed)
    zs = {
        name: rng.integers(-3, 4, (examples, *shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    labels = np.concatenate(
        [np.arange(CLASSES), rng.integers(0, CLASSES, examples - CLASSES)]
    )
    return zs, labels.astype(np.int32)


def brute_force(z, labels):
    """Count neuron by neuron, class by class, example by example."""
    flat = z.reshape(len(z), -1)
    counts = np.zeros((flat.shape[1], CLASSES), np.int64)
    for example, label in zip(flat, labels, strict=True):
        for neuron, value in enumerate(example):
            if value > 0:
                counts[neuron, label] += 1
    return counts


def counted(zs, labels, sizes):
    counts, start = entropy.init(SHAPES, CLASSES), 0
    for size in sizes:
        rows = slice(start, start + size)
        part = {name: jnp.asarray(z[rows]) for name, z in zs.items()}
        counts = update(counts, part, jnp.asarray(labels[rows]))
        start += size
    return counts


def test_counts_equal_brute_force_bit_for_bit():
    zs, labels = potentials(0, 37)
    counts = counted(zs, labels, [16, 16, 5])
    for name, z in zs.items():
        found = np.asarray(counts.on[name])
        assert found.dtype == np.int32
        np.testing.assert_array_equal(
            found.reshape(-1, CLASSES), brute_force(z, labels)
        )
    np.testing.assert_array_equal(counts.examples, np.bincount(labels))


def test_entropies_are_the_formula_applied_to_the_counts():
    zs, labels = potentials(1, 40)
    found = entropy.finalize(counted(zs, labels, [40]))
    assert found.shapes == SHAPES
    for name, z in zs.items():
        counts, examples = brute_force(z, labels), np.bincount(labels)
        for i in range(counts.shape[0]):
            for c in range(CLASSES):
                on = min(max(counts[i, c] / examples[c], 1e-4), 0.9999)
                off = min(max((examples[c] - counts[i, c]) / examples[c], 1e-4), 0.9999)
                wanted = -(on * math.log2(on) + off * math.log2(off))
                assert found.per_class[name][i, c] == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(
            found.per_neuron[name], found.per_class[name].sum(axis=1)
        )


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    seed=st.integers(0, 1000),
    order=st.permutations(range(12)),
    cuts=st.sets(st.integers(1, 11)),
)
def test_streaming_depends_on_neither_batch_size_nor_order(seed, order, cuts):
    zs, labels = potentials(seed, 12)
    wanted = counted(zs, labels, [12])
    ends = [0, *sorted(cuts), 12]
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    mixed = {name: z[list(order)] for name, z in zs.items()}
    found = counted(mixed, labels[list(order)], sizes)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_closed_values():
    # Always OFF, always ON, ON for half of each class, at 10 classes of 4 examples.
    labels = jnp.repeat(jnp.arange(10), 4)
    half = jnp.tile(jnp.array([1.0, -1.0]), 20)
    z = jnp.stack([jnp.full(40, -1.0), jnp.ones(40), half, jnp.zeros(40)], axis=1)
    counts = entropy.init({"a": (4,)}, 10)
    found = entropy.finalize(update(counts, {"a": z}, labels))
    np.testing.assert_allclose(
        found.per_neuron["a"], [10 * FLOOR, 10 * FLOOR, 10, 10 * FLOOR], rtol=1e-12
    )
    assert found.per_neuron["a"][0] == pytest.approx(10 * 0.0014730, rel=1e-4)
    np.testing.assert_array_equal(found.live["a"], [False, True, True, False])


def test_a_neuron_without_weights_is_dead_even_if_its_bias_keeps_it_on():
    zs, labels = potentials(2, 30)
    counts = counted(zs, labels, [30])
    channels = np.array([True, False])
    found = entropy.finalize(counts, alive={"conv": channels})
    seen = (zs["conv"] > 0).any(axis=0)
    np.testing.assert_array_equal(
        found.live["conv"].reshape(SHAPES["conv"]), seen & channels
    )
    np.testing.assert_array_equal(found.live["dense"], (zs["dense"] > 0).any(axis=0))


@pytest.mark.parametrize("pair", [True, False])
def test_measure_takes_both_forms_of_preactivations(pair):
    zs, labels = potentials(3, 20)
    params = jnp.float32(0.5)

    def preactivations(params, x):
        scaled = {name: params * z for name, z in x.items()}
        return (jnp.zeros(1), scaled) if pair else scaled

    batches = [
        ({name: z[rows] for name, z in zs.items()}, labels[rows])
        for rows in (slice(0, 8), slice(8, 16), slice(16, 20))
    ]
    found, squares = entropy.measure(preactivations, params, batches, CLASSES)
    wanted = entropy.finalize(counted(zs, labels, [20]))
    for name, z in zs.items():
        np.testing.assert_array_equal(found.per_class[name], wanted.per_class[name])
        assert squares[name] == pytest.approx(np.mean((0.5 * z) ** 2), rel=1e-6)
    on, seen = entropy.states(preactivations, params, batches)
    np.testing.assert_array_equal(seen, labels)
    for name, z in zs.items():
        np.testing.assert_array_equal(on[name], z.reshape(20, -1) > 0)


@pytest.mark.parametrize("kind", sorted(networks.NETWORKS))
def test_preactivations_of_linen_and_nnx_networks(kind):
    apply_fn, params = networks.NETWORKS[kind]()
    x, labels = networks.data(count=20)
    zs_of = preactivations(apply_fn, logits=False)
    found, squares = entropy.measure(zs_of, params, [(x, labels)], networks.CLASSES)
    (z,) = zs_of(params, x)[1].values()
    (name,) = found.per_class
    assert found.shapes == {name: (5,)}
    counts = brute_force(np.asarray(z), np.asarray(labels))
    wanted = entropy.binary_entropy(counts, np.bincount(labels))
    np.testing.assert_array_equal(found.per_class[name], wanted)
    assert squares[name] == pytest.approx(float(jnp.mean(z**2)), rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 1, 0], "labels: no example of class 2"),
        ([1, 1, 1, 1], "labels: expected 3 classes, all are of class 1"),
        ([0, 1, 2, 3], r"labels: 1 lie outside \[0, 3\)"),
        ([0, -1, 2, -5], r"labels: 2 lie outside \[0, 3\)"),
    ],
)
def test_labels_that_do_not_serve(labels, message):
    counts = entropy.init({"a": (2,)}, CLASSES)
    counts = update(counts, {"a": jnp.ones((4, 2))}, jnp.array(labels))
    with pytest.raises(ValueError, match=message):
        entropy.finalize(counts)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_potentials(bad):
    z = jnp.ones((3, 2)).at[1, 1].set(bad)
    counts = entropy.init({"a": (2,)}, CLASSES)
    counts = update(counts, {"a": z}, jnp.arange(3))
    with pytest.raises(ValueError, match="zs: layer a has 1 non-finite"):
        entropy.finalize(counts)
    with pytest.raises(ValueError, match="zs: layer a has non-finite"):
        entropy.states(lambda params, x: {"a": x}, None, [(z, jnp.arange(3))])


def test_arguments_that_do_not_fit():
    counts = entropy.init({"a": (2,)}, CLASSES)
    labels = jnp.arange(3)
    with pytest.raises(ValueError, match="classes: expected at least 2"):
        entropy.init({"a": (2,)}, 1)
    with pytest.raises(ValueError, match="shapes: expected at least one layer"):
        entropy.init({}, 2)
    with pytest.raises(ValueError, match="layer a has shape"):
        entropy.update(counts, {"a": jnp.ones((3, 4))}, labels)
    with pytest.raises(ValueError, match=r"expected layers \['a'\]"):
        entropy.update(counts, {"b": jnp.ones((3, 2))}, labels)
    with pytest.raises(ValueError, match="labels: expected integers"):
        entropy.update(counts, {"a": jnp.ones((3, 2))}, jnp.ones(3))
    with pytest.raises(ValueError, match="batches: expected at least one example"):
        entropy.finalize(counts)
    full = entropy.update(counts, {"a": jnp.ones((3, 2))}, labels)
    with pytest.raises(ValueError, match="alive: unknown layer b"):
        entropy.finalize(full, alive={"b": np.ones(2, bool)})
    with pytest.raises(ValueError, match="alive: layer a has shape"):
        entropy.finalize(full, alive={"a": np.ones(3, bool)})
    with pytest.raises(ValueError, match="alive: layer a is int64, expected bool"):
        entropy.finalize(full, alive={"a": np.ones(2, int)})


def test_no_batches_and_strange_preactivations():
    with pytest.raises(ValueError, match="batches: expected at least one"):
        entropy.measure(lambda params, x: {"a": x}, None, [], 2)
    with pytest.raises(ValueError, match="batches: expected at least one"):
        entropy.states(lambda params, x: {"a": x}, None, [])
    with pytest.raises(ValueError, match="preactivations: expected a function"):
        entropy.layers_of(lambda params, x: x, None, jnp.ones(2))
