"""Structures against a walk over the groups, one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

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


def test_each_leaf_may_have_a_structure_of_its_own():
    rng = np.random.default_rng(0)
    shapes = {"value": (4, 3, 5), "up": (6, 8), "out": (2, 9), "rest": (5, 4)}
    tree = {n: jnp.float32(rng.normal(size=s)) for n, s in shapes.items()}
    own = {
        "value": pruning.along(-2),
        "up": pruning.neuron(),
        "out": pruning.n_m(1, 3, -1),
    }
    split = lambda where, **scope: pruning.select(
        tree, 0.5, structure=where, min_per_leaf=0, **scope
    )
    found = split(own, scope="layer")
    for name in tree:  # by layers, each as it would be alone
        one = own.get(name, "element")
        alone = pruning.select({name: tree[name]}, 0.5, structure=one, min_per_leaf=0)
        same({name: found[name]}, alone)
    same(split(lambda path, shape: own.get(path, "element"), scope="layer"), found)
    # Together, within one budget: best group first, whatever its size.
    groups = [
        (float(np.abs(tree["value"][:, i]).mean()), "value", i, 20) for i in range(3)
    ]
    groups += [(float(np.abs(tree["up"][:, i]).mean()), "up", i, 6) for i in range(8)]
    both = {name: tree[name] for name in ("value", "up")}
    mask = pruning.select(both, 0.5, structure={k: own[k] for k in both})
    left, expected = 54, {name: np.zeros(shapes[name], bool) for name in both}
    for _, name, index, size in sorted(groups, reverse=True):
        if size > left:
            break
        left -= size
        expected[name][:, index] = True
    same(mask, expected)


def test_a_structure_by_path_is_refused_where_it_cannot_be():
    tree = {"a": jnp.ones((4, 6)), "b": jnp.ones((3, 5))}
    for structure, message in (
        ({"c": pruning.neuron()}, "structure: no prunable leaf is called c"),
        ({"a": "neuron"}, "structure: expected 'element' or a Structure"),
        (lambda path, shape: None, "structure: expected 'element' or a Structure"),
        ({"b": pruning.n_m(1, 2)}, "leaf b"),
    ):
        with pytest.raises(ValueError, match=message):
            pruning.select(tree, 0.5, structure=structure)
        with pytest.raises(ValueError, match=message):
            pruning.prune(pruning.one_shot(0, 0.5), structure=structure).init(tree)


def test_prune_takes_structures_by_path_jitted_and_holds_the_groups():
    rng = np.random.default_rng(1)
    params = {"a": jnp.float32(rng.normal(size=(4, 6))), "b": jnp.ones((3, 5))}
    by = {"a": pruning.neuron()}
    tx = pruning.prune(pruning.one_shot(0, 0.5), structure=by, scope="layer")
    grads = jax.tree.map(jnp.zeros_like, params)
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params)
    mask = pruning.masks_of(state)
    columns = np.asarray(mask["a"]).sum(0)
    assert sorted(columns.tolist()) == [0, 0, 0, 4, 4, 4]
    assert int(mask["b"].sum()) == 8
    same(mask, pruning.select(params, 0.5, structure=by, scope="layer"))
    pruned = jax.tree.map(jnp.add, params, updates)
    for name, weight in pruned.items():
        np.testing.assert_array_equal(weight == 0, ~mask[name])


def test_a_factory_that_was_not_called_and_a_function_of_another_form():
    tree = {"a": jnp.ones((4, 6))}
    for structure, message in (
        (pruning.neuron, r"write neuron\(...\)"),
        (pruning.n_m, r"write n_m\(...\)"),
        (lambda path: pruning.neuron(), r"expected a function \(path, shape\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pruning.prune(pruning.one_shot(0, 0.5), structure=structure)
        with pytest.raises(ValueError, match=message):
            pruning.select(tree, 0.5, structure=structure)


def test_stacked_layers_and_nnx_names_are_the_same_in_init_and_update():
    stack = {"blocks": {"kernel": jnp.ones((3, 4, 8)), "bias": jnp.ones((3, 8))}}
    by_shape = {(4, 8): pruning.n_m(1, 2, 0)}
    tx = pruning.prune(
        pruning.one_shot(0, 0.5),
        structure=lambda path, shape: by_shape[shape],
        scope="layer",
    )
    grads = jax.tree.map(jnp.zeros_like, stack)
    _, state = tx.update(grads, tx.init(stack), stack)
    assert int(pruning.masks_of(state)["blocks"]["kernel"].sum()) == 48

    model = nnx.Linear(4, 6, rngs=nnx.Rngs(0))
    for path in ("kernel", "kernel/value"):
        tx = pruning.prune(pruning.one_shot(0, 0.5), structure={path: pruning.neuron()})
        optimizer = nnx.Optimizer(model, optax.chain(optax.sgd(0.0), tx), wrt=nnx.Param)
        state = nnx.state(model, nnx.Param)
        optimizer.update(model, jax.tree.map(jnp.zeros_like, state))
        columns = np.asarray(model.kernel[...] != 0).sum(0)
        assert sorted(columns.tolist()) == [0, 0, 0, 4, 4, 4]
