"""The trainer on a linear regression: the same bits after a kill, and what it says."""

import dataclasses
import json
import shutil
import subprocess
import sys
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax import runs, training
from synaptax.data.images import epoch_order
from synaptax.runs import checkpoints

RATE, LOWER, COUNT, BATCH = 0.3, 0.1, 12, 4
X = np.random.default_rng(0).normal(size=(COUNT, 3)).astype(np.float32)
Y = X @ np.float32([1, -2, 0.5]) + np.float32(0.3)


class Replica(NamedTuple):
    w: jax.Array
    key: jax.Array


class Info(NamedTuple):
    losses: jax.Array
    norm: jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = RATE


def epoch(replica, number, x, y, *, rate=RATE):
    """One epoch: w <- w - rate d/dw mean (x w - y)^2 / 2, with noise on x."""
    key = jax.random.fold_in(replica.key, number)
    order = epoch_order(key, COUNT, BATCH)
    keys = jax.random.split(key, order.shape[0])

    def step(w, batch, key):
        x, y = batch
        x = x + 0.01 * jax.random.normal(key, x.shape)
        loss = lambda w: jnp.mean((x @ w - y) ** 2) / 2
        value, slope = jax.value_and_grad(loss)(w)
        return w - rate * slope, value

    w, losses = training.scan_batches(step, replica.w, (x, y), order, keys)
    return Replica(w, replica.key), Info(losses, jnp.linalg.norm(w))


def start(previous, *, seeds=(0, 1)):
    keys = training.keys_of(seeds)
    w = jnp.zeros((len(seeds), 3)) if previous is None else previous.w
    return Replica(w, keys)


DATA = (X, Y)
FIT = training.Stage(
    "fit",
    epochs=5,
    start=start,
    epoch=epoch,
    finite=lambda info: [info.losses, info.norm],
    data=DATA,
    replicas=("seed 0", "seed 1"),
    advice=f"a smaller rate (now {RATE}) may help",
)
TUNE = FIT._replace(name="tune", epochs=4, epoch=partial(epoch, rate=LOWER))


def folder_of(path, **options):
    return runs.create(path, Config(), **options)


def bits(state):
    return [
        np.asarray(leaf).tobytes() for leaf in (state.w, jax.random.key_data(state.key))
    ]


def unclocked(records):
    return [
        runs.jsonable({k: v for k, v in record.items() if k != "elapsed_s"})
        for record in records
    ]


def by_hand(seeds, stages):
    """Train each seed by itself, step by step, with no trainer."""
    weights = []
    for seed in seeds:
        w, key = jnp.zeros(3), jax.random.key(seed)
        for stage, rate in stages:
            for number in range(stage.epochs):
                replica = Replica(w, key)
                (w, _), _ = epoch(replica, jnp.int32(number), X, Y, rate=rate)
        weights.append(w)
    return np.stack(weights)


def test_it_is_the_loop_written_by_hand():
    outcome = training.run([FIT, TUNE])
    expected = by_hand((0, 1), [(FIT, RATE), (TUNE, LOWER)])
    np.testing.assert_allclose(outcome.state.w, expected, rtol=1e-5)
    assert [record["epoch"] for record in outcome.records] == list(range(1, 10))
    assert [r["stage"] for r in outcome.records] == ["fit"] * 5 + ["tune"] * 4
    assert outcome.records[0]["losses"].shape == (2, 3)
    losses = [record["losses"].mean() for record in outcome.records]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("axis", ["map", "vmap"])
def test_a_replica_does_not_know_of_the_others(axis):
    both = training.run([FIT], axis=axis).state
    one = FIT._replace(
        start=partial(start, seeds=(1,)), epoch=partial(epoch), replicas=("seed 1",)
    )
    alone = training.run([one], axis=axis).state
    np.testing.assert_allclose(both.w[1], alone.w[0], rtol=1e-6)


def test_a_single_replica_has_no_axis():
    stage = FIT._replace(
        start=lambda previous: Replica(jnp.zeros(3), jax.random.key(0)), replicas=()
    )
    outcome = training.run([stage], axis="single")
    assert outcome.state.w.shape == (3,) and outcome.records[0]["norm"].shape == ()
    np.testing.assert_allclose(
        outcome.state.w, by_hand((0,), [(FIT, RATE)])[0], rtol=1e-5
    )


class Killed(Exception):
    """Stands for a process that is gone."""


def dying_at(total, monkeypatch):
    append = runs.append_metrics

    def dying(folder, record):
        if record["epoch"] == total:
            raise Killed
        append(folder, record)

    monkeypatch.setattr(runs, "append_metrics", dying)


@pytest.mark.parametrize("donate", [False, True])
def test_a_run_killed_anywhere_ends_in_the_same_bits(tmp_path, monkeypatch, donate):
    go = partial(
        training.run, [FIT, TUNE], checkpoint_every=2, expect={"data": 7}, donate=donate
    )
    whole = go(folder_of(tmp_path / "whole"))
    for total in (1, 4, 5, 6, 8, 9):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            dying_at(total, patch)
            go(folder_of(tmp_path / "run", resume=True))
    again = go(folder_of(tmp_path / "run", resume=True))
    assert bits(again.state) == bits(whole.state)
    assert unclocked(again.records) == unclocked(whole.records)
    for name in ("run", "whole"):
        records = runs.read_metrics(runs.RunFolder(tmp_path / name))
        assert unclocked(records) == unclocked(whole.records)
        clock = [record["elapsed_s"] for record in records]
        assert clock == sorted(clock)
        meta = checkpoints.read_meta(tmp_path / name / "checkpoints")
        assert meta == {"data": 7, "stage": 1, "done": 4}
    # Ended: nothing is run again.
    finished = go(folder_of(tmp_path / "run", resume=True))
    assert bits(finished.state) == bits(whole.state)


def test_kill_9(tmp_path):
    """A process that is killed while it runs; what it leaves is gone on with."""
    code = (
        "import os, sys, pathlib\n"
        "from synaptax import training\n"
        "from tests.synaptax.training.test_trainer import FIT, TUNE, folder_of\n"
        "class Killer:\n"
        "    def write(self, step, values):\n"
        "        if step == int(sys.argv[2]): os.kill(os.getpid(), 9)\n"
        "training.run([FIT, TUNE], folder_of(pathlib.Path(sys.argv[1]), resume=True),\n"
        "    checkpoint_every=3, writer=Killer())\n"
    )
    for step in (5, 8):
        command = [sys.executable, "-c", code, str(tmp_path / "run"), str(step)]
        assert subprocess.run(command, check=False).returncode == -9
    assert checkpoints.latest(tmp_path / "run" / "checkpoints") == 5
    run = partial(training.run, [FIT, TUNE], checkpoint_every=3)
    ended = run(folder_of(tmp_path / "run", resume=True))
    assert bits(ended.state) == bits(run().state)


def test_hooks_are_called_in_order_and_the_data_are_put_once(tmp_path, monkeypatch):
    calls, put = [], []
    copied = training.trainer.sharding.copied
    monkeypatch.setattr(
        training.trainer.sharding,
        "copied",
        lambda *given: put.append(given) or copied(*given),
    )
    hooks = {
        "before_epoch": lambda number, state: calls.append(("before", number)),
        "after_epoch": lambda number, state, info: calls.append(
            ("after", number, info.losses.shape)
        ),
        "finish": lambda state: calls.append(("finish", state.w.shape)),
    }
    stages = [s._replace(epochs=1, **hooks) for s in (FIT, TUNE)]
    training.run(stages, folder_of(tmp_path))
    one = [("before", 0), ("after", 0, (2, 3)), ("finish", (2, 3))]
    assert calls == one * 2 and len(put) == 1
    calls.clear()
    training.run(stages, folder_of(tmp_path, resume=True))
    assert calls == one[-1:]


class Kept(list):
    def write(self, step, values):
        self.append((step, values))


def test_a_writer_gets_every_record():
    writer = Kept()
    outcome = training.run([FIT], writer=writer)
    assert writer == [(n + 1, record) for n, record in enumerate(outcome.records)]
    assert set(outcome.records[0]) == {"epoch", "losses", "norm", "elapsed_s"}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    def breaks(replica, number, x, y):
        replica, info = epoch(replica, number, x, y)
        wrong = (number == 2) & (replica.key == jax.random.key(1))
        losses = info.losses.at[1].set(jnp.where(wrong, jnp.nan, info.losses[1]))
        return replica, info._replace(losses=losses)

    stage = FIT._replace(epoch=breaks)
    expected = (
        r"stage fit, epoch 3, step 2: the loss of seed 1 is not finite\. The last "
        rf"checkpoint is kept in {tmp_path}/checkpoints; a smaller rate"
    )
    with pytest.raises(training.NonFiniteError, match=expected):
        training.run([stage], folder_of(tmp_path))
    assert checkpoints.latest(tmp_path / "checkpoints") == 2
    assert len(runs.read_metrics(runs.RunFolder(tmp_path))) == 2
    with pytest.raises(ArithmeticError, match=r"of network 2 of 2 is not finite$"):
        training.run([stage._replace(replicas=(), advice="")])
    flags = stage._replace(finite=lambda info: [np.isfinite(info.losses).all(1)])
    with pytest.raises(ArithmeticError, match="epoch 3: the loss of seed 1"):
        training.run([flags])


def test_checkpoints_of_one_stage_without_its_number_are_taken_up(tmp_path):
    whole = training.run([FIT], folder_of(tmp_path / "whole"))
    short = training.run([FIT._replace(epochs=3)]).state
    folder = folder_of(tmp_path / "run")
    checkpoints.save(folder.checkpoints, short, step=3, meta={"data": 1})
    again = training.run([FIT], folder, expect={"data": 1})
    assert bits(again.state) == bits(whole.state)


def test_a_foreign_checkpoint_is_refused_and_nothing_changes(tmp_path):
    folder = folder_of(tmp_path)
    training.run([FIT], folder, expect={"data": 1})
    metrics = folder.metrics.read_bytes()

    def refused(message, stages, **options):
        with pytest.raises(checkpoints.CheckpointError, match=message) as caught:
            training.run(stages, folder, **options)
        assert str(tmp_path) in str(caught.value)
        assert folder.metrics.read_bytes() == metrics

    refused("saved with data = 1, expected 2", [FIT], expect={"data": 2})
    refused("not of a run", [FIT._replace(epochs=2)])
    other = FIT._replace(shape=lambda: {"w": jnp.zeros((2, 3))})
    refused("holds no leaf|holds leaf", [other])
    more = FIT._replace(shape=lambda: start(None, seeds=(0, 1, 2)))
    refused(r"w is float32\(2, 3\), expected float32\(3, 3\)", [more])
    checkpoints.save(folder.checkpoints, {"w": jnp.ones(2)}, step=9)
    refused("not of a run", [FIT, TUNE])


@pytest.mark.parametrize("record", [{"epoch": 7}, {"epoch": 2**62}, {}])
def test_records_that_are_not_of_the_checkpoint_are_refused(tmp_path, record):
    folder = folder_of(tmp_path)
    training.run([FIT._replace(epochs=2)], folder)
    first, second = folder.metrics.read_text().splitlines(keepends=True)
    for text in (f"{first}{json.dumps(record)}\n", second):
        folder.metrics.write_text(text)
        with pytest.raises(runs.FileError, match=r"metrics\.jsonl: epoch: .* 1 to 2"):
            training.run([FIT._replace(epochs=2)], folder)
        assert folder.metrics.read_text() == text


def test_a_checkpoint_is_of_its_config_and_data(tmp_path):
    short = FIT._replace(epochs=2)
    training.run([short], folder_of(tmp_path / "one"))
    other = runs.create(tmp_path / "other", Config(rate=0.5))
    shutil.copytree(tmp_path / "one" / "checkpoints", other.checkpoints)
    with pytest.raises(checkpoints.CheckpointError, match=r"config\.rate = 0\.3, exp"):
        training.run([short], other)
    again = folder_of(tmp_path / "one", resume=True)
    with pytest.raises(checkpoints.CheckpointError, match=r"with data = \d+, exp"):
        training.run([short._replace(data=(X, Y + 1))], again)


def test_an_axis_is_one_of_those_there_are():
    with pytest.raises(ValueError, match="axis: expected one of auto, map"):
        training.run([FIT], axis="pmap")


def test_an_epoch_is_compiled_once_for_all_its_runs():
    traced = []

    def counted(replica, number, x, y):
        traced.append(1)
        return epoch(replica, number, x, y)

    stage = FIT._replace(epoch=counted)
    training.run([stage])
    training.run([stage])
    assert len(traced) == 1
