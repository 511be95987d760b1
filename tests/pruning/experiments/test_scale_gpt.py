"""A sharded GPT trains and is pruned as on one device, and is restored elsewhere."""

import dataclasses
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import pruning
from pruning.experiments import scale_gpt
from synaptax import runs
from synaptax.runs import checkpoints
from synaptax.trees import named_leaves

CONFIG = scale_gpt.Config(
    width=16, heads=2, layers=1, context=8, batch=8, steps=100, density=0.25
)
MESHES = [(2, 1), (2, 2), (4, 2), (2, 2, True), (4, 2, True), (8, 1, True)]
HALF = CONFIG.steps // 2


def on(fsdp, tensor, whole=False):
    config = dataclasses.replace(
        CONFIG, fsdp=fsdp, tensor=tensor, whole_batch=whole, packed=whole
    )
    return config, scale_gpt.make_mesh(config)


def test_masks_and_moments_lie_as_the_weights_do():
    like = scale_gpt.training(*on(4, 2)).like
    specs = {name: leaf.sharding.spec for name, leaf in named_leaves(like)}
    up = [name for name in specs if "up" in name and "kernel" in name]
    assert len(up) == 3 and {specs[name] for name in up} == {P("fsdp", "tensor")}
    heads = [name for name in specs if "query" in name and "kernel" in name]
    assert {specs[name] for name in heads} == {P("fsdp", "tensor", None)}
    sizes = {name: leaf.size for name, leaf in named_leaves(like[0])}
    kept = [n for n in sizes if any(specs[f"0/{n}"])]
    assert sum(sizes[n] for n in kept) > 0.95 * sum(sizes.values())


def masks_of(state):
    return [np.asarray(m) for m in jax.tree.leaves(pruning.masks_of(state))]


def trained(config, mesh, folder=None):
    """Return history and, at each change of the count, masks, weights and threshold."""
    changes = []

    def watch(number, params, state):
        info = state[-1]
        if number % CONFIG.every == 0:
            weights = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
            cut = float(info.prune_info.prune_threshold)
            changes.append((masks_of(state), weights, cut))
        if folder and number + 1 == HALF:
            checkpoints.save(folder, (params, state), step=HALF)

    params, state, history = scale_gpt.fit(config, mesh, watch)
    return history, changes, (params, state)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Return where a checkpoint of half the training on one device is written."""
    return tmp_path_factory.mktemp("half")


@pytest.fixture(scope="module")
def alone(half):
    return trained(*on(1, 1), half)


def same_training(history, wanted):
    losses, kept = np.transpose(history)
    others, counts = np.transpose(wanted)
    np.testing.assert_allclose(losses, others, atol=1e-5)
    np.testing.assert_array_equal(kept, counts)
    assert kept[-1] < 0.26 * kept[0]


def at_the_cut(mask, other, weights, cut):
    """Assert that what is kept here alone is as large as the least weight kept."""
    for a, b, w in zip(mask, other, weights, strict=True):
        assert np.all(np.abs(np.abs(w[a & ~b]) - cut) <= 1e-6 * cut)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_training_on_a_mesh_is_that_on_one_device(mesh, alone):
    history, changes, _ = trained(*on(*mesh))
    same_training(history, alone[0])
    for (ours, w, cut), (theirs, v, other) in zip(changes, alone[1], strict=True):
        if len(mesh) == 3:
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        at_the_cut(ours, theirs, w, cut)
        at_the_cut(theirs, ours, v, other)


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint_on_another_mesh(alone, half):
    config, mesh = on(2, 4)
    run = scale_gpt.training(config, mesh)
    params, state = checkpoints.restore(half, run.like).state
    before = [mask for mask, _, _ in alone[1]][(HALF - 1) // CONFIG.every]
    for ours, theirs in zip(masks_of(state), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for (name, leaf), like in zip(
        named_leaves(params), jax.tree.leaves(run.like[0]), strict=True
    ):
        assert leaf.sharding == like.sharding, name
    text = np.frombuffer(config.text.read_bytes(), np.uint8)
    history = []
    for number in range(HALF, CONFIG.steps):
        tokens = run.place(scale_gpt.batch_of(config, text, number))
        params, state, (loss, kept) = run.step(params, state, tokens)
        history.append((float(loss), int(kept)))
    same_training([*alone[0][:HALF], *history], alone[0])
    ends = masks_of(state), masks_of(alone[2][1])
    assert sum(int((a != b).sum()) for a, b in zip(*ends, strict=True)) <= 2


@pytest.mark.slow
def test_two_processes_of_four_devices(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--{name}={getattr(CONFIG, name)}"
        for name in ("width", "heads", "layers", "context", "batch", "steps", "density")
    ]
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_NUM_CPU_DEVICES": "4",
    }
    command = [sys.executable, "-m", "pruning.experiments.scale_gpt", *options]
    command += ["--distributed", "--fsdp=4", "--tensor=2", f"--out={tmp_path}"]
    children = [
        subprocess.Popen(command, env=environment | {"JAX_PROCESS_ID": str(rank)})
        for rank in range(2)
    ]
    assert [child.wait(timeout=900) for child in children] == [0, 0]
    summary = runs.read_json(tmp_path / "summary.json")
    history = list(zip(summary["losses"], summary["kept"], strict=True))
    same_training(history, alone[0])
    like = scale_gpt.training(*on(1, 2)).like
    _, state = checkpoints.restore(tmp_path / "checkpoint", like).state
    cuts = masks_of(state), masks_of(alone[2][1])
    differing = sum(int((a != b).sum()) for a, b in zip(*cuts, strict=True))
    assert differing <= 2
