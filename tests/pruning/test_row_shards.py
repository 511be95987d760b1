"""Weights whose rows are split over devices by ``jax.shard_map``."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import pruning
from tests.pruning.networks import draw

PARAMS = {"kernel": draw(1, 8, 4), "bias": jnp.ones(4)}
SPLIT = PartitionSpec("d")
PLACES = {"kernel": SPLIT, "bias": PartitionSpec()}
KEY = jax.random.key(1)
TRANSFORMS = {
    "pruned": pruning.pruned(optax.sgd(0.1, momentum=0.9), pruning.one_shot(1, 0.5)),
    "rewired": pruning.rewired(optax.sgd(0.1), 0.5, key=KEY, end=9, every=1),
    "random": pruning.rewired(
        optax.sgd(0.1), 0.5, key=KEY, end=9, every=1, drop=1.0, grow="random"
    ),
}


def places(state):
    return jax.tree.map(
        lambda leaf: SPLIT if leaf.ndim == 2 else PartitionSpec(), state
    )


def half(tree, device):
    """Return what one of two devices holds."""
    rows = slice(4 * device, 4 * device + 4)
    return jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim == 2 else leaf, tree)


def train(step, params, state):
    for number in range(3):
        grads = jax.tree.map(lambda w, n=number: jnp.cos(9 * w + n), params)
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def mapped(function, inputs, outputs):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=outputs)
    )


@pytest.mark.parametrize(
    "name",
    [
        "rewired",
        pytest.param("pruned", marks=pytest.mark.slow),
        pytest.param("random", marks=pytest.mark.slow),
    ],
)
def test_each_device_chooses_among_its_own_rows(name):
    tx = TRANSFORMS[name]
    start = tx.init(PARAMS)
    kinds = places(start)
    step = mapped(tx.update, (PLACES, kinds, PLACES), (PLACES, kinds))
    params, state = train(step, PARAMS, start)
    own = [train(tx.update, half(PARAMS, i), half(start, i)) for i in (0, 1)]
    masks = pruning.masks_of(state)
    for device, (alone, held) in enumerate(own):
        kept = pruning.count(pruning.masks_of(held)).kept
        assert pruning.count(half(masks, device)).kept == kept
        if name != "random":
            jax.tree.map(np.testing.assert_array_equal, half(params, device), alone)
    assert not bool((~masks["kernel"] & (params["kernel"] != 0)).any())
    read = lambda state: optax.tree.get(state, "prune_info")
    flips = sum(int(read(held).prune_flips) for _, held in own)
    assert int(read(state).prune_flips) == flips or name == "random"
    assert float(read(state).prune_density) == 0.5


def test_devices_draw_masks_of_their_own():
    tx = TRANSFORMS["random"]
    whole = mapped(lambda p: pruning.masks_of(tx.init(p)), (PLACES,), PLACES)
    kept = np.asarray(whole(PARAMS)["kernel"])
    assert kept[:4].sum() == kept[4:].sum() == 8
    assert (kept[:4] != kept[4:]).any()


def test_split_leaves_beside_shared_ones_are_refused():
    params = {"a": draw(1, 8, 4), "b": draw(2, 4, 4)}
    kinds = {"a": SPLIT, "b": PartitionSpec()}
    for tx in (pruning.prune(pruning.one_shot(0, 0.5)), TRANSFORMS["rewired"]):
        step = mapped(lambda p, tx=tx: tx.update(p, tx.init(p), p)[0], (kinds,), kinds)
        with pytest.raises(
            ValueError, match=r"prune_masks: leaf b differs .* jax\.jit"
        ):
            step(params)
