"""Structures against a walk over the groups, one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from pruning import masks
from tests.pruning.references import on_devices, ranked, same


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


@pytest.mark.parametrize(
    ("reduction", "reduce"),
    [
        ("mean", np.mean),
        ("sum", np.sum),
        ("l2", lambda values: np.sqrt((values**2).sum())),
        ("max", np.max),
    ],
)
def test_any_score_is_reduced_over_neurons_filters_heads_and_blocks(reduction, reduce):
    scores = np.random.default_rng(0).normal(size=(4, 3, 6))
    size = np.abs(scores)
    for structure, groups in (
        (masks.neuron(reduction), [size[..., i] for i in range(6)]),
        (pruning.along(-2, reduction), [size[:, i] for i in range(3)]),
        (pruning.along(0, reduction), [size[i] for i in range(4)]),
        (
            masks.block((3, 2), reduction),
            [size[i, :, j : j + 2] for i in range(4) for j in (0, 2, 4)],
        ),
    ):
        found = structure.group_scores(jnp.asarray(scores, jnp.float32), None)
        expected = [reduce(group) for group in groups]
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"leaf w: shape .* has no axis 3"):
        pruning.select({"w": scores}, 0.5, structure=pruning.along(3))
