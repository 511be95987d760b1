"""The penalty as the authors' scripts for CIFAR-10 have it, against a few lines."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from pruning.regularisers import steps
from pruning.regularisers.config import RegulariserConfig, check
from synaptax.data.images import Batch
from synaptax.nets import models
from synaptax.nets.layers import batch_norm
from synaptax.training.evaluation import cross_entropy

CONFIG = RegulariserConfig(
    model=f"{__name__}:make",
    dataset="digits",
    batch=8,
    lr=0.3,
    momentum=0.9,
    drops=(1,),
    gamma=0.7,
    l2=0.01,
    logits=False,
)


class Normed(nn.Module):
    """A dense layer with batch-norm and a ReLU, and a dense layer."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(5)(x.reshape(x.shape[0], -1))
        return nn.Dense(3)(nn.relu(batch_norm(train, "norm")(x)))


def make(classes, shape):
    del classes, shape
    return Normed()


NET = models.network(CONFIG.model, 3, (2, 2, 1))
PARAMS, STATS = NET.init(jax.random.key(0))
PARAMS["norm"]["scale"] = jnp.array([0.5, 1.0, 2.0, 0.0, 1.0])
PARAMS["norm"]["bias"] = jnp.array([0.0, 1.0, -1.0, 0.5, 0.2])
BATCH = Batch(
    jax.random.normal(jax.random.key(1), (8, 2, 2, 1)), jnp.arange(8, dtype=int) % 3
)


def by_hand(params):
    """Return the loss, what enters the batch-norm, and what leaves it."""
    first, second, norm = params["Dense_0"], params["Dense_1"], params["norm"]
    before = BATCH.image.reshape(8, 4) @ first["kernel"] + first["bias"][None]
    spread = jnp.sqrt(before.var(0) + 1e-5)
    after = (before - before.mean(0)[None]) / spread[None]
    after = after * norm["scale"][None] + norm["bias"][None]
    logits = jax.nn.relu(after) @ second["kernel"] + second["bias"][None]
    return cross_entropy(logits, BATCH.label).mean(), before, after


def close(ours, expected):
    compare = partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6)
    jax.tree.map(compare, ours, expected)


@pytest.mark.parametrize("values", ["entering", "before-norm"])
def test_the_penalty_is_of_what_enters_a_relu_or_a_batch_norm(values):
    config = dataclasses.replace(CONFIG, method="psp", values=values)
    total = steps.objective(config, NET)

    def expected(params):
        loss, *zs = by_hand(params)
        return loss + 0.7 * jnp.mean(zs[values == "entering"] ** 2)

    @jax.jit
    def both(params):
        ours, _ = jax.grad(total, has_aux=True)(params, STATS, BATCH, jax.random.key(2))
        return ours, jax.grad(expected)(params)

    close(*both(PARAMS))


@pytest.mark.parametrize("number", [0, 1])
def test_a_step_of_its_own_follows_that_on_the_loss(number):
    config = dataclasses.replace(CONFIG, method="psp+l2", separate=True)
    tx = steps.optimiser(config, 1)
    key = jax.random.key(3)
    # Three steps were done before, or none: the momentum and the count are there.
    momentum = jax.tree.map(jnp.ones_like, PARAMS)
    state = tx.init(PARAMS)
    state = (state[0]._replace(trace=momentum), state[1]._replace(count=number))
    replica = steps.Replica(PARAMS, STATS, state, key)

    @jax.jit
    def both(replica):
        after, _ = steps.epoch(
            replica,
            jnp.int32(number),
            BATCH,
            BATCH,
            config=config,
            net=NET,
            tx=tx,
            black=(0.0,),
        )
        rate = 0.3 * 0.1**number
        slope = jax.grad(lambda p: by_hand(p)[0])(PARAMS)
        step = lambda w, g: w - rate * (0.9 + g + 0.01 * w)
        moved = jax.tree.map(step, PARAMS, slope)
        again = jax.grad(lambda p: 0.7 * jnp.mean(by_hand(p)[2] ** 2))(moved)
        return after.params, jax.tree.map(lambda w, g: w - rate * g, moved, again)

    close(*both(replica))


def test_under_batch_norm_the_penalty_is_the_decay_of_its_scale_and_offset():
    config = dataclasses.replace(CONFIG, method="psp", gamma=1.0)
    slopes, _ = jax.jit(jax.grad(steps.penalty(config, NET), has_aux=True))(
        PARAMS, STATS, BATCH, jax.random.key(2)
    )
    norm = jax.tree.map(lambda w: 2 * w / 5, PARAMS["norm"])
    np.testing.assert_allclose(slopes["norm"]["scale"], norm["scale"], atol=1e-5)
    np.testing.assert_allclose(slopes["norm"]["bias"], norm["bias"], atol=1e-5)
    assert float(jnp.abs(slopes["Dense_0"]["kernel"]).max()) < 1e-3


def test_what_has_no_penalty_or_no_batch_norm_is_refused():
    with pytest.raises(ValueError, match="separate: l2 has no penalty"):
        check(dataclasses.replace(CONFIG, method="l2", separate=True))
    config = dataclasses.replace(CONFIG, method="psp", values="before-norm")
    plain = models.network("lenet300", 3, (2, 2, 1))
    params, stats = plain.init(jax.random.key(0))
    with pytest.raises(ValueError, match="before_norm"):
        steps.objective(config, plain)(params, stats, BATCH, jax.random.key(0))
