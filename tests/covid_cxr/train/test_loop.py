"""An epoch against plain Python steps, and what the options hold still."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.train import fit, published_finetuning
from covid_cxr.train.inputs import balanced_order
from covid_cxr.train.loop import optimizer
from synaptax.data.images import epoch_order
from tests.covid_cxr.train.tiny import SIDE, films, tiny

pytestmark = pytest.mark.runs

PLAIN = dataclasses.replace(
    published_finetuning(), epochs=2, seeds=(3,), augmentation=None, rate=0.5
)
TRAIN, VALIDATION = films(16), films(12, seed=1)


def test_an_epoch_is_its_steps():
    """Published stage 2, written out: g + wd w, batches of 4, running averages."""
    net = tiny()
    found = fit(net, PLAIN, TRAIN, VALIDATION)
    key = jax.random.key(3)
    params, stats = net.init(jax.random.fold_in(key, 0), SIDE)
    key = jax.random.fold_in(key, 1)
    image = (jnp.asarray(TRAIN.image).astype(jnp.float32) / 255 - 0.5) / 0.25
    label = jnp.asarray(TRAIN.label)

    @jax.jit
    def step(params, stats, x, y):
        def loss(params):
            logits, new = net.train(params, stats, x)
            p = jax.nn.sigmoid(jnp.where(y == 1, logits[:, 0], -logits[:, 0]))
            return ((1 - p) ** 2 * -jnp.log(p)).mean(), new

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        move = lambda w, g: w - 0.5 * (g + 1e-3 * w)
        return jax.tree.map(move, params, grads), stats, value

    for number in range(2):
        own = jax.random.split(jax.random.fold_in(key, number))[0]
        losses = []
        for index in epoch_order(own, 16, 4):
            params, stats, value = step(params, stats, image[index], label[index])
            losses.append(float(value))
        record = found.history[number]
        assert record["loss"][0] == pytest.approx(np.mean(losses), rel=1e-4)
    for mine, theirs in zip(
        jax.tree.leaves(found.replica(0)), jax.tree.leaves((params, stats)), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)


def test_balanced_batches_hold_equally_many():
    members = [jnp.arange(3), jnp.arange(3, 24)]
    order = np.asarray(balanced_order(jax.random.key(0), members, 6, 8))
    assert order.shape == (6, 8)
    assert ((order < 3).sum(axis=1) == 4).all()
    times = np.bincount(order.ravel(), minlength=24)
    assert (times[:3] == 8).all()  # 24 draws of 3: used up before used again
    assert set(times[3:]) == {1, 2}  # 24 of 21


def test_a_frozen_trunk_is_still():
    net = tiny()
    params, stats = net.init(jax.random.key(9), SIDE)
    config = dataclasses.replace(PLAIN, epochs=1, freeze_trunk=True)
    found = fit(net, config, TRAIN, VALIDATION, start=(params, stats)).replica(0)
    for name in ("conv1", "bn1"):
        jax.tree.map(np.testing.assert_array_equal, found[0][name], params[name])
    jax.tree.map(np.testing.assert_array_equal, found[1], stats)
    moved = found[0]["fc"]["out"]["kernel"] != params["fc"]["out"]["kernel"]
    assert bool(moved.all())


PARAMS = {
    "bn1": {"scale": jnp.full(2, 3.0)},
    "conv1": {"kernel": jnp.full((1, 1, 1, 2), 2.0)},
    "fc": {"out": {"kernel": jnp.full((2, 1), 4.0)}},
}


def moves(norm="batch", **changes):
    """Return the updates for gradients of 1, momentum 0, decay 0.5, by layer."""
    config = dataclasses.replace(PLAIN, weight_decay=0.5, **changes)
    tx = optimizer(config, norm)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    return [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(updates)]


def test_what_moves_and_how_far():
    assert moves() == [-2.5, -2.0, -3.0]  # -(1 + w / 2)
    assert moves(trunk_rate=0.25) == [-0.625, -0.5, -3.0]
    assert moves(freeze_trunk=True) == [0.0, 0.0, -3.0]
    assert moves(norm="frozen") == [0.0, -2.0, -3.0]  # no weight decay either
    adam = moves(optimizer="adamw", freeze_trunk=True)
    assert adam == pytest.approx([0.0, 0.0, -3.0], rel=1e-5)
