"""Runs that are stopped or damaged: the same bits in the end, or a clear error."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import pytest

from pruning.gradual.train import fit
from synaptax.runs import checkpoints
from tests.pruning.gradual.small_runs import (
    SMALL,
    assert_same_end,
    half_a_checkpoint_at,
    half_a_line_at,
    half_a_snapshot,
    hashes,
    interrupted,
    lines_of,
    no_summary,
    options,
)

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.runs


def test_a_run_stopped_anywhere_ends_in_the_same_bits(whole, tmp_path):
    folder = tmp_path / "run"
    interrupted(folder, half_a_line_at(2))  # before the first checkpoint
    interrupted(folder, half_a_checkpoint_at(SMALL.dense_epochs))
    interrupted(folder, half_a_snapshot(2))  # one seed's dense weights, not the other's
    interrupted(folder, half_a_line_at(9))
    interrupted(folder, half_a_snapshot(1))
    interrupted(folder, half_a_checkpoint_at(18))
    interrupted(folder, half_a_line_at(20))
    interrupted(folder, no_summary)
    fit(SMALL, folder, resume=True, quiet=True)
    assert_same_end(folder, whole[1])


@pytest.mark.slow
def test_kill_9_at_three_moments(whole, tmp_path):
    rng = random.Random(0)
    moments = [rng.randint(1, 3), 4 + rng.randint(2, 12), 18 + rng.randint(1, 3)]
    folder = tmp_path / "run"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, "-m", "pruning", *options(SMALL)]
    command += ["--run-dir", str(folder)]
    again = [*command, "--resume"]
    for moment in moments:
        process = subprocess.Popen(
            # Only a run that has begun can be gone on with.
            again if folder.exists() else command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 900
        while lines_of(folder / "metrics.jsonl") < moment and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said.decode()
        assert not (folder / "summary.json").exists()
    ended = subprocess.run(
        again, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert_same_end(folder, whole[1])
    assert sorted(p.name for p in (folder / "figures").iterdir()) == [
        "first-layer.png",
        "frontier.png",
        "weights.png",
    ]


def truncate(folder):
    path = max(
        (p for p in (folder / "checkpoints").rglob("*") if p.is_file()),
        key=lambda p: (p.parts[-2] == "d" and "step-7" in str(p), p.stat().st_size),
    )
    path.write_bytes(path.read_bytes()[:-1])


def without_manifest(folder):
    (newest,) = (folder / "checkpoints").glob("*-step-7")
    (newest / "checkpoint.json").unlink()


def foreign(folder):
    checkpoints.save(folder / "checkpoints", {"w": jnp.ones(3)}, step=9)


def foreign_state(folder):
    checkpoints.save(
        folder / "checkpoints",
        {"w": jnp.ones(3)},
        step=8,
        meta={"stage": 1, "done": 4},
    )


@pytest.mark.parametrize(
    "damage, message",
    [
        (truncate, r"step-7/.* bytes, expected \d+"),
        (without_manifest, r"step-7/checkpoint\.json: missing or damaged"),
        (foreign, r"the newest checkpoint is not of a run"),
        (foreign_state, r"step-8: holds no leaf params/"),
    ],
)
def test_a_bad_checkpoint_is_an_error_and_nothing_changes(
    part, tmp_path, damage, message
):
    folder = tmp_path / "run"
    shutil.copytree(part, folder)
    damage(folder)
    before = hashes(folder)
    with pytest.raises(checkpoints.CheckpointError, match=message) as caught:
        fit(SMALL, folder, resume=True, quiet=True)
    assert "\n" not in str(caught.value)
    assert hashes(folder) == before


def test_a_folder_of_another_run_is_left_alone(part):
    before = hashes(part)
    with pytest.raises(ValueError, match=f"{part} already holds a run"):
        fit(SMALL, part, quiet=True)
    other = dataclasses.replace(SMALL, rate=0.5)
    with pytest.raises(ValueError, match=r"holds a run with rate = 0\.001, not 0\.5"):
        fit(other, part, resume=True, quiet=True)
    assert hashes(part) == before
