"""Checkpoints: bit for bit, whole or absent, one clear error each."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synaptax.runs import checkpoints
from synaptax.runs.checkpoints import CheckpointError


class Masks(NamedTuple):
    count: jax.Array
    mask: dict
    best: None


def make_state(seed=0):
    key = jax.random.key(seed)
    params = {
        "dense": {
            "kernel": jax.random.normal(key, (5, 3)),
            "bias": jnp.asarray([0.0, -0.0, jnp.nan]),
        },
        "half": jax.random.normal(key, (4,), jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
    }
    tx = optax.chain(optax.clip(1.0), optax.adam(optax.constant_schedule(1e-3)))
    mask = jax.tree.map(lambda p: p > 0, params)
    return {
        "params": params,
        "optimizer": (tx.init(params), Masks(jnp.int32(seed), mask, None)),
        "keys": jax.random.split(key, 3),
        "other_keys": jax.random.key(seed, impl="rbg"),
        "no_keys": jax.random.split(key, 3)[:0],
        "counts": np.arange(3, dtype=np.int64) + seed,
        "epoch": 7 + seed,
        "rate": 0.1,
        "done": False,
        "numpy": np.float32(2.5),
    }


def contents(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def assert_identical(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert type(a) is type(b)
        if isinstance(b, bool | int | float):
            assert a == b
            continue
        assert a.dtype == b.dtype and a.shape == b.shape
        if jnp.issubdtype(b.dtype, jax.dtypes.prng_key):
            assert jax.random.key_impl(a) == jax.random.key_impl(b)
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.fixture
def saved(tmp_path):
    state = make_state()
    path = checkpoints.save(tmp_path / "run", state, step=3, meta={"model": "lenet"})
    return tmp_path / "run", path, state


def test_round_trip_is_bit_for_bit(saved):
    directory, _, state = saved
    restored = checkpoints.restore(directory, make_state(seed=1))
    assert restored.step == 3 and restored.meta == {"model": "lenet"}
    assert_identical(restored.state, state)
    draw = jax.random.normal(restored.state["keys"][1], (4,))
    np.testing.assert_array_equal(draw, jax.random.normal(state["keys"][1], (4,)))


def test_restores_into_abstract_leaves(tmp_path):
    state = {"w": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(5)}
    checkpoints.save(tmp_path, state, step=0)
    abstract = jax.eval_shape(lambda: state)
    restored = checkpoints.restore(tmp_path, abstract).state
    assert_identical(restored, state)
    assert restored["w"].devices() == {jax.local_devices()[0]}


def test_shardings_come_back(tmp_path):
    mesh = jax.make_mesh((8,), ("data",))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    state = {"w": jax.device_put(jnp.arange(16.0).reshape(8, 2), sharding)}
    checkpoints.save(tmp_path, state, step=0)
    found = checkpoints.restore(tmp_path, state).state
    assert found["w"].sharding == sharding
    assert_identical(found, state)


def test_keeps_the_newest_and_restores_by_step(tmp_path):
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, {"w": jnp.float32(step)}, step=step, keep=2)
    like = {"w": jnp.float32(0)}
    assert checkpoints.latest(tmp_path) == 3
    assert checkpoints.restore(tmp_path, like).state["w"] == 3
    assert checkpoints.restore(tmp_path, like, step=2).state["w"] == 2
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 1, only 2, 3"):
        checkpoints.restore(tmp_path, like, step=1)
    # Going back to step 2 and on from there: the newest save counts, not the highest.
    checkpoints.save(tmp_path, {"w": jnp.float32(30)}, step=2, keep=2)
    assert checkpoints.latest(tmp_path) == 2
    assert checkpoints.restore(tmp_path, like, step=2).state["w"] == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000002-step-3",
        "000003-step-2",
    ]


def test_no_checkpoint(tmp_path):
    assert checkpoints.latest(tmp_path / "absent") is None
    assert checkpoints.latest(tmp_path) is None
    for directory in (tmp_path / "absent", tmp_path):
        with pytest.raises(CheckpointError, match="holds no checkpoint"):
            checkpoints.restore(directory, {"w": jnp.zeros(2)})
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_not_taken_for_a_run_without_checkpoints(tmp_path, kind):
    root = tmp_path / "checkpoints"
    if kind == "file":
        root.write_text("")
    else:
        root.symlink_to(tmp_path / "disk that is not there")
    with pytest.raises(CheckpointError, match=f"{root}: expected a folder"):
        checkpoints.latest(root)
    with pytest.raises(OSError, match=f"{root}"):
        checkpoints.save(root, {"w": jnp.ones(2)}, step=1)


def test_every_damaged_file_is_found_and_nothing_is_touched(saved):
    directory, _, state = saved
    before = contents(directory)
    assert len(before) > 3
    for name, whole in before.items():
        file = Path(name)
        damages = [None, whole[: len(whole) // 2]] if whole else [None]
        if whole:
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 1
            damages.append(bytes(flipped))
        for damage in damages:
            file.unlink() if damage is None else file.write_bytes(damage)
            damaged = contents(directory)
            with pytest.raises(CheckpointError, match=str(file)):
                checkpoints.restore(directory, state)
            assert contents(directory) == damaged
            file.write_bytes(whole)
    assert_identical(checkpoints.restore(directory, state).state, state)


def test_a_damaged_newest_is_never_replaced_by_an_older_one(saved):
    directory, _, state = saved
    path = checkpoints.save(directory, make_state(1), step=4)
    (path / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"step-4.*damaged"):
        checkpoints.restore(directory, state)
    assert_identical(checkpoints.restore(directory, state, step=3).state, state)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s | {"more": jnp.zeros(2)}, "no leaf more, which was expected"),
        (lambda s: {"rate": s["rate"]}, "holds leaf .* which was not expected"),
        (
            lambda s: s | {"counts": np.arange(4)},
            r"leaf counts is int64\(3,\), expected int64\(4,\)",
        ),
        (lambda s: s | {"epoch": 7.0}, r"leaf epoch is int\(\), expected float\(\)"),
        (
            lambda s: s | {"keys": jax.random.split(jax.random.key(0, impl="rbg"), 3)},
            "leaf keys is key<fry>",
        ),
    ],
)
def test_foreign_structure(saved, change, message):
    directory, path, state = saved
    before = contents(directory)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.restore(directory, change(state))
    assert str(path) in str(caught.value)
    assert contents(directory) == before


def test_foreign_config(saved):
    directory, _, state = saved
    restored = checkpoints.restore(directory, state, expect={"model": "lenet"})
    assert restored.step == 3
    with pytest.raises(CheckpointError, match="model = 'lenet', expected 'other'"):
        checkpoints.restore(directory, state, expect={"model": "other"})
    with pytest.raises(CheckpointError, match="rate = 'nothing', expected 1"):
        checkpoints.restore(directory, state, expect={"rate": 1})


def test_a_failure_of_the_reader_is_a_checkpoint_error(saved, monkeypatch):
    directory, path, state = saved

    @contextlib.contextmanager
    def broken():
        raise RuntimeError("bad magic")
        yield

    monkeypatch.setattr(checkpoints, "_orbax", broken)
    with pytest.raises(CheckpointError, match=f"{path}: cannot be read: bad magic"):
        checkpoints.restore(directory, state)


def test_unfinished_saves_are_ignored_and_swept(saved):
    directory, _, state = saved
    (directory / ".unfinished-000001-step-9").mkdir()
    (directory / ".unfinished-000001-step-9" / "arrays").write_text("half")
    (directory / "notes.txt").write_text("kept")
    assert checkpoints.latest(directory) == 3
    assert_identical(checkpoints.restore(directory, state).state, state)
    checkpoints.save(directory, state, step=9)
    assert sorted(item.name for item in directory.iterdir()) == [
        "000000-step-3",
        "000001-step-9",
        "notes.txt",
    ]


def test_a_failed_save_leaves_the_older_one(saved, monkeypatch):
    directory, _, state = saved

    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "_checksums", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(directory, make_state(1), step=4)
    assert_identical(checkpoints.restore(directory, state).state, state)


def test_a_disk_without_room_is_one_error_before_anything_is_written(
    saved, monkeypatch
):
    directory, _, state = saved
    before = contents(directory)
    usage = shutil.disk_usage(directory)
    size = sum(
        np.asarray(checkpoints._stored(leaf)).nbytes for leaf in jax.tree.leaves(state)
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=size))
    with pytest.raises(
        OSError, match=f"space left.* {size} bytes are free.*{directory}"
    ):
        checkpoints.save(directory, state, step=9)
    assert contents(directory) == before


KILLED = """
import sys, jax, jax.numpy as jnp
from synaptax.runs import checkpoints
for step in range(10_000):
    state = {"w": jnp.full((64, 64), step, jnp.int32), "key": jax.random.key(step)}
    checkpoints.save(sys.argv[1], state, step=step)
    print(step, flush=True)
"""


def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    like = {"w": jnp.zeros((64, 64), jnp.int32), "key": jax.random.key(0)}
    for delay in (0.02, 0.035):  # about one save lasts 0.05 s
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / str(delay))],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        restored = checkpoints.restore(tmp_path / str(delay), like)
        # The last announced save is there, or one that was renamed just after it.
        last = int(printed[-1]) if printed else 2
        assert restored.step in (last, last + 1)
        expected = {
            "w": jnp.full((64, 64), restored.step, jnp.int32),
            "key": jax.random.key(restored.step),
        }
        assert_identical(restored.state, expected)


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    """A signal that raises KeyboardInterrupt; a background job may ignore SIGINT."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


def test_an_interruption_waits_for_the_save_or_the_second_one(
    tmp_path, monkeypatch, number
):
    checksums, times = checkpoints._checksums, 1

    def interrupted(folder):
        for _ in range(times):
            signal.raise_signal(number)
        return checksums(folder)

    monkeypatch.setattr(checkpoints, "_checksums", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, {"w": jnp.ones(2)}, step=1)
    assert checkpoints.latest(tmp_path) == 1
    times = 2
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, {"w": jnp.ones(2)}, step=2)
    assert checkpoints.latest(tmp_path) == 1
    assert signal.getsignal(number) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT], indirect=True)
def test_interruptions_at_any_moment_of_a_save(tmp_path, number):
    """Left alone, orbax's threads fail at what its caller no longer waits for."""
    state, rng = make_state(), np.random.default_rng(0)
    saved = -1
    for step in range(8):
        timer = threading.Timer(rng.uniform(0, 0.1), signal.raise_signal, [number])
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            for index in range(100 * step, 100 * step + 100):
                checkpoints.save(tmp_path, state, step=index)
                saved = index
        assert checkpoints.latest(tmp_path) in (saved, saved + 1, 100 * step)
        assert_identical(checkpoints.restore(tmp_path, state).state, state)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="step must not be negative"):
        checkpoints.save(tmp_path, {"w": jnp.zeros(2)}, step=-1)
    with pytest.raises(ValueError, match="keep must be at least 1"):
        checkpoints.save(tmp_path, {"w": jnp.zeros(2)}, step=0, keep=0)
    with pytest.raises(TypeError, match="leaf layer/act is a str"):
        checkpoints.save(tmp_path, {"layer": {"act": "relu"}}, step=0)
    with pytest.raises(TypeError, match="JSON"):
        checkpoints.save(tmp_path, {"w": jnp.zeros(2)}, step=0, meta={"f": object()})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        checkpoints.save(tmp_path / "file" / "run", {"w": jnp.zeros(2)}, step=0)
