"""A run is one process's; what it leaves says so, and a dead one keeps nothing."""

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from synaptax import runs
from synaptax.runs import checkpoints, files, locks


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1


HOLDER = """
import dataclasses, sys, time
from synaptax import runs

@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1

folder = runs.create(sys.argv[1], Config())
print("held", flush=True)
time.sleep(600)
"""


def test_a_live_run_is_left_alone_and_a_killed_one_is_taken_up(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"run: process {other.pid} on .* is at"):
            runs.create(tmp_path / "run", Config(), resume=True)
        other.kill()
    folder = runs.create(tmp_path / "run", Config(), resume=True)
    assert folder.lock is not None and (tmp_path / "run" / ".lock").exists()


def test_a_lock_is_given_back_with_the_folder(tmp_path):
    held = runs.create(tmp_path, Config())
    again = runs.create(tmp_path, Config(), resume=True)
    assert again.lock is held.lock  # this process may
    number = os.open(tmp_path / ".lock", os.O_RDWR)
    try:
        assert locks.take(number) is False
        del held, again
        assert locks.take(number) is True
    finally:
        os.close(number)


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locks, "take", lambda descriptor, wait=False: None)
    assert runs.create(tmp_path, Config()).lock is None
    assert "no locks here" in caplog.text


def test_folders_are_made_once(tmp_path, monkeypatch):
    made = [runs.fresh_path(tmp_path, "run") for _ in range(3)]
    assert [path.name for path in made] == ["run-1", "run-2", "run-3"]
    # Another process takes the number that this one saw free.
    glob = type(tmp_path).glob
    blind = iter([[], None])

    def late(self, pattern):
        seen = next(blind, None)
        return glob(self, pattern) if seen is None else seen

    monkeypatch.setattr(type(tmp_path), "glob", late)
    assert runs.fresh_path(tmp_path, "run").name == "run-4"


def test_a_lost_config_is_not_made_up(tmp_path):
    folder = runs.create(tmp_path, Config())
    runs.append_metrics(folder, {"epoch": 1})
    folder.config.unlink()
    for resume in (False, True):
        with pytest.raises(runs.FileError, match=r"config\.json: missing, and nothing"):
            runs.create(tmp_path, Config(0.2), resume=resume)
    assert not folder.config.exists()


def test_records_of_another_run_are_refused_by_name(tmp_path):
    one = runs.create(tmp_path / "one", Config())
    other = runs.create(tmp_path / "other", Config(0.2))
    record = one.own({"chunk": 1})
    one.check_own(record, one.metrics)
    one.check_own({"chunk": 1}, one.metrics)  # of an earlier version
    with pytest.raises(runs.FileError, match=rf"{other.metrics}: run: of another"):
        other.check_own(record, other.metrics)


# --- writes ----------------------------------------------------------------------


@pytest.fixture
def room(monkeypatch):
    """Return a function that lets files grow to so many bytes, or without end again.

    A test does that itself: pytest's own output may go to a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size=before[0]: resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, before[1])
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("spare", [0, 1, 9, 22, 23])
def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path, room, spare):
    folder = runs.create(tmp_path, Config())
    runs.append_metrics(folder, {"epoch": 1})
    whole = folder.metrics.read_bytes()
    room(len(whole) + spare)
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        runs.append_metrics(folder, {"epoch": 2, "loss": 0.25})
    assert folder.metrics.read_bytes() == whole
    room()
    runs.append_metrics(folder, {"epoch": 3})
    assert [record["epoch"] for record in runs.read_metrics(folder)] == [1, 3]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path, room):
    path = tmp_path / "a.json"
    runs.write_json(path, {"a": 1})
    room(50)
    with pytest.raises(OSError, match=str(path)):
        runs.write_json(path, {"a": "x" * 100})
    with pytest.raises(OSError, match=str(path)), files.replacing(path) as file:
        np.savez(file, a=np.zeros(100))  # pyright: ignore
    room()
    assert runs.read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    folder = runs.create(tmp_path / "run", Config())
    shutil.rmtree(folder.path)
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        runs.append_metrics(folder, {"epoch": 1})
    with pytest.raises(FileNotFoundError, match=r"summary\.json"):
        runs.write_json(folder.summary, {})
    with pytest.raises(FileNotFoundError, match="checkpoints"):
        checkpoints.save(folder.checkpoints, {"w": np.zeros(2)}, step=1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed_and_a_live_ones_is_not(tmp_path):
    path = tmp_path / "a.json"
    left = tmp_path / ".a.json-0123456789ab"
    left.write_text("half")
    (tmp_path / ".a.json-notes").write_text("mine")
    with files.replacing(path) as file:
        assert not left.exists()
        file.write(b"{}")
        runs.write_json(path, {"b": 1})  # another writer, at the same time
    assert runs.read_json(path) == {}
    assert sorted(one.name for one in tmp_path.iterdir()) == [".a.json-notes", "a.json"]
