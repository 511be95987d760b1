"""Selection against a stable sort: exact counts, ties, floors, sharding, errors."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruning import masks
from pruning._select import LIMIT, ordered_keys, target_count
from tests.pruning.references import every, on_devices, oracle, same

SHAPES = {"a": (4, 6), "b": (3, 2, 5), "c": (2, 2)}
TOTAL = sum(math.prod(shape) for shape in SHAPES.values())
quick = settings(max_examples=60, deadline=None)
tied = st.sampled_from(
    [0.0, -0.0, 1.0, 1.0, 2.0, -1.0, 1e-40, 3e38, np.inf, -np.inf, np.nan]
)
trees = st.fixed_dictionaries(
    {name: arrays(np.float32, shape, elements=tied) for name, shape in SHAPES.items()}
)
densities = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 0.25])


@quick
@given(trees, densities, st.sampled_from(["global", "layer"]), st.integers(0, 3))
def test_selection_is_the_stable_sort_on_inputs_full_of_ties(tree, d, scope, floor):
    found, info = masks.select_with_info(tree, d, scope=scope, min_per_leaf=floor)
    same(found, oracle(tree, d, scope, floor))
    kept = masks.count(found).kept
    assert kept == int(info.kept)
    if floor == 0 and scope == "global":
        assert kept == round(d * TOTAL)


@quick
@given(
    st.fixed_dictionaries(
        {
            name: arrays(np.float32, shape, elements=st.floats(width=32))
            for name, shape in SHAPES.items()
        }
    ),
    densities,
)
def test_selection_is_the_stable_sort_on_any_floats(tree, density):
    found = masks.select(tree, density, min_per_leaf=0)
    same(found, oracle(tree, density))


@quick
@given(arrays(np.float32, 6, elements=st.floats(width=32) | tied))
def test_keys_order_floats(values):
    keys = np.asarray(ordered_keys(jnp.asarray(values)))
    for x, i in zip(values, keys, strict=True):
        for y, j in zip(values, keys, strict=True):
            if np.isnan(x):
                assert (i < j) == (not np.isnan(y))
            elif not np.isnan(y):
                assert (i < j) == (x < y)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_selection_in_each_dtype(dtype, key):
    keys = jax.random.split(key, len(SHAPES))
    tree = {
        name: jax.random.normal(k, shape, dtype)
        for k, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }
    wide = {name: np.asarray(leaf).astype(np.float64) for name, leaf in tree.items()}
    same(masks.select(tree, 0.3, min_per_leaf=0), oracle(wide, 0.3))


def test_float64_scores_that_float32_cannot_tell_apart():
    values = 1 + np.arange(24.0).reshape(4, 6) * 1e-12
    with jax.enable_x64(True):
        tree = {"a": jnp.asarray(values), "b": jnp.ones((2, 3), jnp.float32)}
        found = jax.tree.map(np.asarray, masks.select(tree, 0.4, min_per_leaf=0))
        traced = jax.jit(lambda d: masks.select(tree, d, min_per_leaf=0))(0.4)
        same(traced, found)
    same(found, oracle({"a": values, "b": np.ones((2, 3))}, 0.4))
    assert found["a"].sum() == 12 and found["a"].reshape(-1)[-12:].all()


def test_nan_ranks_lowest_and_negative_zero_ties_with_zero():
    scores = jnp.array([[jnp.nan, -jnp.inf, -0.0, 0.0, 1.0]])
    kept = [
        np.asarray(masks.select(scores, k / 5, min_per_leaf=0))[0] for k in range(6)
    ]
    order = [4, 2, 3, 1, 0]
    for k in range(6):
        assert set(np.flatnonzero(kept[k])) == set(order[:k])


# Counting.


counted = jax.jit(target_count, static_argnums=1)


@quick
@given(
    st.floats(0, 1, width=32) | st.sampled_from([0.5, 0.25, 1.0, 2**-149, 2**-20]),
    st.sampled_from([0, 3, 7, 266_200, 200_000_000, LIMIT]),
)
@example(float(np.float32(0.1)), 200_000_000)
@example(0.5, 3)
@example(0.5, 7)
@example(1.0, LIMIT)
def test_a_traced_density_counts_exactly_for_its_value(density, total):
    found = counted(np.float32(density), total)
    assert int(found) == round(Fraction(density) * total)


def test_counts_at_200_million_weights_are_integers():
    total = 200_000_000
    assert target_count(0.001, total) == 200_000
    assert target_count(0.1, total) == 20_000_000
    wrong = int(np.round(np.float32(total) * np.float32(0.9)))
    assert target_count(0.9, total) == 180_000_000
    assert counted(0.9, total) == round(float(np.float32(0.9)) * total)
    # float32, the obvious way, is off by several weights.
    assert abs(wrong - round(float(np.float32(0.9)) * total)) > 1


@pytest.mark.slow
def test_selection_of_200_million_weights():
    side = 20_000
    row = jnp.arange(side, dtype=jnp.int32)
    # Few distinct values, so that the cut falls inside millions of ties.
    scores = ((row[:, None] * 31 + row[None, : side // 2]) % 1009).astype(jnp.float32)
    found = masks.select({"a": scores}, 0.001)
    assert masks.count(found).kept == 200_000
    assert masks.count(found).total == 200_000_000


def test_a_broken_traced_density_prunes_nothing():
    kept = jax.jit(lambda d: masks.count(masks.select(jnp.ones((3, 4)), d)).kept)
    assert int(kept(jnp.float32(jnp.nan))) == 12
    assert int(kept(jnp.float32(1.5))) == 12
    assert int(kept(jnp.float32(-0.5))) == 1


# The floor.


def test_the_floor_keeps_a_weak_leaf_alive_within_the_budget():
    scores = {"weak": jnp.full((4, 4), 1e-3), "strong": jnp.arange(1.0, 101.0)[None]}
    bare, info = masks.select_with_info(scores, 0.1, min_per_leaf=0)
    assert not bool(bare["weak"].any()) and not any(info.floored.values())
    kept, info = masks.select_with_info(scores, 0.1)
    assert masks.count(kept).leaves["weak"].kept == 1
    assert masks.count(kept).kept == round(0.1 * 116) == int(info.kept)
    assert bool(info.floored["weak"]) and not bool(info.floored["strong"])
    assert masks.collapsed(scores, 0.1) == ("weak",)
    assert masks.collapsed(scores, 0.9) == ()
    with pytest.raises(ValueError, match=r"density: 0\.1 leaves fewer .* in weak"):
        masks.select(scores, 0.1, on_collapse="raise")
    masks.select(scores, 0.9, on_collapse="raise")
    with pytest.raises(ValueError, match="on_collapse"):
        jax.jit(lambda s: masks.select(s, 0.1, on_collapse="raise"))(scores)


def test_floors_that_exceed_the_budget_win():
    scores = {str(i): jnp.ones((2, 2)) * i for i in range(3)}
    assert masks.count(masks.select(scores, 0.0)).kept == 3
    assert masks.count(masks.select(scores, 0.0, min_per_leaf=0)).kept == 0
    assert masks.count(masks.select(scores, 0.0, min_per_leaf=9)).kept == 12
    assert masks.count(masks.select(scores, 0.0, scope="layer")).kept == 3
    assert masks.collapsed(scores, 0.0, scope="layer") == ("0", "1", "2")


def test_only_allowed_entries_are_kept():
    scores = {"w": jnp.arange(12.0).reshape(3, 4)}
    allowed = {"w": jnp.arange(12).reshape(3, 4) < 6}
    found = masks.select(scores, 0.25, allowed=allowed)["w"]
    np.testing.assert_array_equal(np.flatnonzero(found), [3, 4, 5])
    found = masks.select(scores, 0.9, allowed=allowed)["w"]
    np.testing.assert_array_equal(found, allowed["w"])
    broken = {"w": jnp.full((3, 4), jnp.nan)}
    found = masks.select(broken, 0.25, allowed=allowed)["w"]
    np.testing.assert_array_equal(np.flatnonzero(found), [0, 1, 2])
    nothing = {"w": jnp.zeros((3, 4), bool)}
    assert masks.count(masks.select(scores, 0.5, allowed=nothing)).kept == 0


# Transformations and sharding.


def test_one_compilation_serves_every_density_and_vmap_serves_seeds(key):
    calls = []

    @jax.jit
    def chosen(scores, density):
        calls.append(1)
        return masks.select(scores, density)

    scores = jax.random.normal(key, (5, 8, 9))
    for d in (0.1, 0.5, 0.9):
        same({"x": chosen(scores[0], d)}, oracle({"x": scores[0]}, d))
    assert len(calls) == 1
    targets = jnp.linspace(0.1, 0.9, 5)
    wide = jax.jit(jax.vmap(masks.select))(scores, targets)
    for i in range(5):
        same({"x": wide[i]}, oracle({"x": scores[i]}, float(targets[i])))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_exactly_k_of_params_sharded_over_8_devices(scope, key):
    one, two = jax.random.split(key)
    # Rounded, so that the cut falls among ties that lie on several devices.
    whole = {
        "a": jnp.round(2 * jax.random.normal(one, (32, 16))),
        "b": jnp.round(jax.random.normal(two, (16, 32))),
    }
    parts = on_devices(whole, {"a": (None, "d"), "b": ("d", None)})
    found = jax.jit(lambda tree: masks.select(tree, 0.3, scope=scope))(parts)
    same(found, oracle(jax.tree.map(np.asarray, whole), 0.3, scope))
    for name in parts:
        assert found[name].sharding == parts[name].sharding


# Bad input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 1.5}, r"density: expected a number in \[0, 1\], got 1.5"),
        ({"density": -0.1}, r"density: expected a number in \[0, 1\]"),
        ({"density": math.nan}, r"density: expected a number in \[0, 1\], got nan"),
        ({"density": np.ones(2)}, "density: expected a scalar"),
        ({"scope": "model"}, "scope: expected 'global' or 'layer', got 'model'"),
        ({"structure": "neuron"}, "structure: expected 'element' or a Structure"),
        ({"min_per_leaf": -1}, "min_per_leaf: expected an integer >= 0, got -1"),
        ({"on_collapse": "warn"}, "on_collapse: expected 'keep' or 'raise'"),
        ({"prunable": lambda name, leaf: False}, "no leaf is prunable"),
        ({"structure": masks.block((5, 2))}, r"leaf w: blocks of \(5, 2\) do not tile"),
        ({"structure": masks.n_m(2, 5)}, "leaf w: axis -2 .* not a multiple of m=5"),
        ({"structure": masks.n_m(2, 4, 3)}, "leaf w: shape .* has no axis 3"),
        ({"structure": masks.input_channel(), "prunable": every}, "leaf b: input chan"),
        ({"allowed": {"w": jnp.ones((4, 4))}}, "allowed: leaf b is missing"),
        (
            {"allowed": {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}},
            "allowed: leaf b is float32, expected bool",
        ),
    ],
)
def test_bad_options_of_select(options, message):
    scores = {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}
    with pytest.raises(ValueError, match=message):
        masks.select(scores, **{"density": 0.5, **options})
