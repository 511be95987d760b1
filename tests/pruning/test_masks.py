"""Masks against obvious NumPy references: exact counts, ties, structures, errors."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import NamedSharding, PartitionSpec

from pruning import masks
from pruning._select import LIMIT, ordered_keys, target_count

SHAPES = {"a": (4, 6), "b": (3, 2, 5), "c": (2, 2)}
TOTAL = sum(math.prod(shape) for shape in SHAPES.values())
quick = settings(max_examples=60, deadline=None)


def every(name, leaf):
    return True


def ranked(flat):
    """Return indices best first: NaN last, ties by index."""
    flat = np.asarray(flat, np.float64)
    return np.lexsort((np.arange(flat.size), -flat, np.isnan(flat)))


def oracle(tree, density, scope="global", floor=0):
    """Choose one by one, in the order of a stable sort."""
    names = sorted(tree)
    sizes = [np.asarray(tree[name]).size for name in names]
    if scope == "layer":
        result = {}
        for name, size in zip(names, sizes, strict=True):
            kept = max(round(density * size), min(floor, size))
            flags = np.zeros(size, bool)
            flags[ranked(np.ravel(tree[name]))[:kept]] = True
            result[name] = flags.reshape(np.shape(tree[name]))
        return result
    flat = np.concatenate([np.ravel(tree[name]) for name in names])
    owner = np.repeat(np.arange(len(names)), sizes)
    order = ranked(flat)
    flags = np.zeros(flat.size, bool)
    for leaf, size in enumerate(sizes):
        mine = order[owner[order] == leaf]
        flags[mine[: min(floor, size)]] = True
    for index in order:
        if flags.sum() >= round(density * flat.size):
            break
        flags[index] = True
    parts = np.split(flags, np.cumsum(sizes)[:-1])
    return {n: p.reshape(np.shape(tree[n])) for n, p in zip(names, parts, strict=True)}


def same(found, wanted):
    for name in wanted:
        np.testing.assert_array_equal(np.asarray(found[name]), wanted[name], name)


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


@quick
@given(
    st.floats(0, 1, width=32) | st.sampled_from([0.5, 0.25, 1.0, 2**-149, 2**-20]),
    st.integers(0, LIMIT) | st.sampled_from([3, 200_000_000, LIMIT]),
)
@example(float(np.float32(0.1)), 200_000_000)
@example(0.5, 5)
@example(0.5, 7)
@example(1.0, LIMIT)
def test_a_traced_density_counts_exactly_for_its_value(density, total):
    found = jax.jit(target_count, static_argnums=1)(np.float32(density), total)
    assert int(found) == round(Fraction(density) * total)


def test_counts_at_200_million_weights_are_integers():
    total = 200_000_000
    assert target_count(0.001, total) == 200_000
    assert target_count(0.1, total) == 20_000_000
    wrong = int(np.round(np.float32(total) * np.float32(0.9)))
    assert target_count(0.9, total) == 180_000_000
    assert jax.jit(target_count, static_argnums=1)(0.9, total) == round(
        float(np.float32(0.9)) * total
    )
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


def test_count_and_density_name_their_denominator():
    mask = {"w": jnp.array([[True, False], [True, True]]), "b": jnp.array([False])}
    counts = masks.count(mask)
    assert counts == masks.Counts(3, 4, {"w": masks.LeafCount(3, 4)})
    assert all(type(n) is int for n in (counts.kept, counts.total))
    assert masks.count(mask, prunable=every).total == 5
    assert masks.density(mask) == 0.75
    assert masks.density(mask, prunable=every) == 0.6
    traced = jax.jit(lambda m: masks.count(m).kept)(mask)
    assert traced.dtype == jnp.int32 and int(traced) == 3
    assert float(jax.jit(masks.density)(mask)) == 0.75


# Application and algebra.


def test_apply_mask_clears_what_is_not_finite():
    params = {"w": jnp.array([[jnp.nan, jnp.inf], [-0.0, 3.0]]), "b": jnp.ones(2)}
    mask = {"w": jnp.array([[False, False], [False, True]]), "b": jnp.ones(2, bool)}
    found = masks.apply_mask(params, mask)
    np.testing.assert_array_equal(found["w"], [[0, 0], [0, 3]])
    assert not np.signbit(np.asarray(found["w"])).any()
    np.testing.assert_array_equal(found["b"], [1, 1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_threshold_mask_keeps_the_threshold_itself(dtype):
    params = {"w": jnp.array([[0.5, -0.5], [0.25, jnp.nan]], dtype), "b": jnp.zeros(2)}
    found = jax.jit(masks.threshold_mask)(params, 0.5)
    np.testing.assert_array_equal(found["w"], [[True, True], [False, False]])
    assert found["b"].dtype == bool and bool(found["b"].all())
    everywhere = masks.threshold_mask(params, 0.5, prunable=every)
    assert not bool(everywhere["b"].any())


def test_magnitude_mask_is_selection_by_absolute_value(key):
    params = {"w": jax.random.normal(key, (5, 6)), "b": jnp.ones(6)}
    found = masks.magnitude_mask(params, 0.2)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    same(found, oracle({"w": np.abs(params["w"])}, 0.2))
    assert bool(found["b"].all())


def test_mask_algebra():
    first = {"w": jnp.array([True, True, False, False])}
    second = {"w": jnp.array([True, False, True, False])}
    both, either = masks.intersect(first, second), masks.union(first, second)
    np.testing.assert_array_equal(both["w"], [1, 0, 0, 0])
    np.testing.assert_array_equal(either["w"], [1, 1, 1, 0])
    assert masks.flips(first, second) == masks.Flips(pruned=1, regrown=1)
    assert masks.flips(first, both) == masks.Flips(pruned=1, regrown=0)
    assert bool(masks.full_mask(first)["w"].all())
    shapes = {"w": jax.ShapeDtypeStruct((2, 3), jnp.float32)}
    assert masks.full_mask(shapes)["w"].shape == (2, 3)


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


# Structures.


def grouped(values, structure):
    """Return (group scores, list of index masks) by walking over the groups."""
    shape = values.shape
    index = np.indices(shape)
    if structure == "neuron":
        label = index[-1]
    elif structure == "input":
        label = index[-2]
    else:
        label = np.zeros(shape, int)
        for axis, side in zip((-2, -1), structure, strict=True):
            label = label * 100 + index[axis] // side
        for axis in range(len(shape) - 2):
            label = label + 10_000 * (axis + 1) * index[axis]
    members = [label == one for one in np.unique(label)]
    return np.array([np.abs(values[m]).mean() for m in members]), members


@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("structure", "reference"),
    [
        (masks.neuron(), "neuron"),
        (masks.neuron("sum"), "neuron"),
        (masks.input_channel(), "input"),
        (masks.block((2, 3)), (2, 3)),
    ],
)
def test_groups_are_kept_whole_best_first_within_the_budget(
    structure, reference, density, key
):
    shapes = {"a": (4, 6), "b": (2, 2, 4, 3)}
    keys = jax.random.split(key, 2)
    tree = {
        n: jax.random.normal(k, s)
        for k, (n, s) in zip(keys, shapes.items(), strict=True)
    }
    found = masks.select(tree, density, structure=structure, min_per_leaf=0)
    values, owners, sizes = [], [], []
    for name in tree:
        scores, members = grouped(np.asarray(tree[name]), reference)
        if getattr(structure, "reduction", "mean") == "sum":
            scores = scores * members[0].sum()
        values += list(scores)
        owners += [(name, member) for member in members]
        sizes += [member.sum() for member in members]
    wanted = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    left = round(density * 72)
    for i in ranked(values):
        if sizes[i] > left:
            break
        left -= sizes[i]
        wanted[owners[i][0]] |= owners[i][1]
    same(found, wanted)


def test_tied_groups_of_different_size_stop_at_the_first_that_does_not_fit():
    tree = {"a": jnp.ones((6, 4)), "b": jnp.ones((2, 4))}
    found = masks.select(tree, 10 / 32, structure=masks.neuron(), min_per_leaf=0)
    np.testing.assert_array_equal(np.asarray(found["a"]).sum(0), [6, 0, 0, 0])
    assert not bool(found["b"].any())


def test_a_group_floor_counts_groups():
    tree = {"weak": jnp.full((5, 4), 1e-3), "strong": jnp.ones((20, 4))}
    found = masks.select(tree, 0.5, structure=masks.neuron(), min_per_leaf=2)
    assert masks.count(found).leaves["weak"].kept == 10


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 2), (4, 4), (1, 8)])
def test_n_of_m_keeps_the_n_best_of_every_run(n, m, axis, key):
    values = jnp.round(2 * jax.random.normal(key, (8, 16)))
    scores = {"w": jnp.abs(values)}
    found = np.asarray(masks.select(scores, 1.0, structure=masks.n_m(n, m, axis))["w"])
    runs = np.moveaxis(np.asarray(scores["w"]), axis, -1).reshape(-1, m)
    flags = np.moveaxis(found, axis, -1).reshape(-1, m)
    for run, flag in zip(runs, flags, strict=True):
        assert set(np.flatnonzero(flag)) == set(ranked(run)[:n])
    both = masks.select(scores, 0.1, structure=masks.n_m(n, m, axis))["w"]
    assert int(both.sum()) == min(round(0.1 * 128), 128 * n // m)
    assert not bool((both & ~found).any())


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
    wide = jax.vmap(masks.select)(scores, targets)
    for i in range(5):
        same({"x": wide[i]}, oracle({"x": scores[i]}, float(targets[i])))


def on_devices(tree, specs):
    mesh = jax.make_mesh((8,), ("d",))
    return {
        name: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*specs[name])))
        for name, leaf in tree.items()
    }


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


@pytest.mark.parametrize(
    "structure",
    [
        masks.neuron(),
        masks.input_channel(),
        masks.block((2, 4)),
        masks.n_m(2, 4),
        masks.n_m(1, 8, -1),
    ],
    ids=str,
)
@pytest.mark.parametrize("spec", [("d", None), (None, "d")], ids=str)
def test_structured_masks_are_sharded_like_their_scores(structure, spec, key):
    whole = {"a": jnp.round(2 * jax.random.normal(key, (16, 32)))}
    parts = on_devices(whole, {"a": spec})
    found = masks.select(parts, 0.3, structure=structure)
    same(found, jax.tree.map(np.asarray, masks.select(whole, 0.3, structure=structure)))
    assert found["a"].sharding == parts["a"].sharding


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


def test_other_bad_input():
    mask = {"layer": {"kernel": jnp.ones((2, 2), bool)}}
    params = {"layer": {"kernel": jnp.ones((2, 3))}}
    with pytest.raises(ValueError, match=r"mask: leaf layer/kernel has shape \(2, 2\)"):
        masks.apply_mask(params, mask)
    with pytest.raises(ValueError, match="mask: leaf layer/kernel is float32"):
        masks.apply_mask(params, params)
    with pytest.raises(ValueError, match="mask: unexpected leaf other"):
        masks.apply_mask(params, {"layer": params["layer"], "other": mask})
    with pytest.raises(ValueError, match="threshold: expected a number >= 0"):
        masks.threshold_mask(params, -1.0)
    with pytest.raises(ValueError, match="threshold: expected a number >= 0"):
        masks.threshold_mask(params, math.nan)
    with pytest.raises(ValueError, match="mask: no leaf is prunable"):
        masks.density({"b": jnp.ones(2, bool)})
    with pytest.raises(ValueError, match="scores: leaf w is int32"):
        masks.select({"w": jnp.ones((2, 2), jnp.int32)}, 0.5)
    with pytest.raises(ValueError, match="2147483648 prunable weights"):
        jax.eval_shape(
            lambda x: masks.select(x, 0.5),
            jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32),
        )
    with pytest.raises(ValueError, match="second: leaf w is missing"):
        masks.union({"w": jnp.ones(2, bool)}, {})
    with pytest.raises(ValueError, match="after: leaf w is int32"):
        masks.flips({"w": jnp.ones(2, bool)}, {"w": jnp.ones(2, jnp.int32)})
    with pytest.raises(ValueError, match="block: expected positive sides"):
        masks.block((0, 2))
    with pytest.raises(ValueError, match="n_m: expected 1 <= n <= m"):
        masks.n_m(5, 4)
    with pytest.raises(ValueError, match="reduction: expected 'mean' or 'sum'"):
        masks.neuron("max")
