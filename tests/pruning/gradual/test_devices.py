"""A run over several devices is the run on one, up to the order of sums."""

import dataclasses

import jax
import numpy as np
import pytest

from pruning.gradual import loop
from pruning.gradual.config import Config
from pruning.gradual.methods import every_leaf, transform
from pruning.gradual.train import fit
from pruning.masks import full_mask
from synaptax import runs
from synaptax.data.images import Batch
from synaptax.nets import models, resnets
from synaptax.training import replicas, sharding
from tests.pruning.gradual.small_runs import SMALL

pytestmark = pytest.mark.runs

CONFIG = Config(
    method="sensitivity-unspecific", rate=1e-3, lr=0.05, momentum=0.9, batch=8
)

RULES = loop.Rules(True, 1, 0.0, 0.5, every_leaf)


def batch(count, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count).astype(np.int32)
    image = rng.normal(size=(count, 6, 6, 2)).astype(np.float32)
    return Batch(image + label.reshape(-1, 1, 1, 1), label)


@pytest.fixture(scope="module")
def network():
    return models._pure(resnets.ResNet(3, (2, 4), 1), (6, 6, 2))


def two_epochs(net, mesh):
    """Return two replicas after two epochs, and what was seen of the last."""
    tx = transform(CONFIG, net, 3, lr=CONFIG.lr, decay=True)
    step = lambda replica, number, train, held: loop.epoch(
        replica,
        number,
        train,
        held,
        apply_fn=net,
        tx=tx,
        rules=RULES,
        batch=CONFIG.batch,
        place=sharding.placing(mesh),
    )

    @jax.jit
    def begin(key):
        params, stats = net.init(key)
        return loop.start(params, key, tx, full_mask(params), RULES, stats)

    state = jax.vmap(begin)(jax.random.split(jax.random.key(0), 2))
    state = sharding.spread(state, mesh)
    train, held = sharding.copied((batch(24, 0), batch(16, 1)), mesh)
    run = jax.jit(
        replicas.over_replicas("vmap", step, mesh=mesh),
        out_shardings=sharding.state_and_info(mesh),
    )
    for number in range(2):
        state, info = run(state, np.int32(number), train, held)
    return state, info


@pytest.fixture(scope="module")
def alone(network):
    return two_epochs(network, None)


def test_the_result_is_that_of_one_device(network, alone):
    state, info = two_epochs(network, sharding.make_mesh(2, 4))
    expected, seen = alone
    for got, want in ((state.params, expected.params), (state.stats, expected.stats)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            got,
            want,
        )
    np.testing.assert_allclose(info.losses, seen.losses, rtol=1e-4)
    leaf = state.params["Dense_0"]["kernel"]
    assert len(leaf.sharding.device_set) == 8
    assert leaf.sharding.shard_shape(leaf.shape)[0] == 1


def test_a_whole_run_over_devices_begins_as_that_on_one(whole, tmp_path):
    config = dataclasses.replace(SMALL, mesh=(2, 2), prune_epochs=0, tune_epochs=0)
    result = fit(config, tmp_path, quiet=True)
    ours, theirs = (
        runs.read_metrics(runs.RunFolder(folder))[: config.dense_epochs]
        for folder in (tmp_path, whole[1])
    )
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(
            [record[name] for record in ours],
            [record[name] for record in theirs],
            rtol=1e-3,
        )
    assert len(result.points) == len(whole[0].points)
