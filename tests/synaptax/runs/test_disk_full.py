"""Whole runs on a disk too small for them: nothing torn, one error, and they go on."""

import json
import subprocess

import pytest

from synaptax import runs
from synaptax.runs import checkpoints
from tests.synaptax.runs import trainers

pytestmark = pytest.mark.slow

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of what the whole run leaves


@pytest.fixture
def disk(tmp_path):
    """Return (a folder, what gives its file system so many bytes)."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(size, *, again=True):
        options = f"{'remount,' * again}size={int(size)}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, text=True)

    try:
        mounted = sized(1 << 20, again=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"may not mount a small file system: {mounted.stderr}")
    yield folder, sized
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["gradual pruning", "regularisers"])
def test_a_run_without_room_stops_whole_and_goes_on_with_room(name, disk, tmp_path):
    folder, log, whole = disk[0] / "run", tmp_path / "log", tmp_path / "whole"
    assert trainers.ended(trainers.begun(name, whole, log)) == 0, log.read_text()
    end = trainers.end_of(whole)
    pages = lambda size: -(-size // 4096) * 4096
    needed = sum(pages(one.stat().st_size) for one in whole.rglob("*"))
    for share in SHARES:
        assert disk[1](share * needed).returncode == 0
        code = trainers.ended(trainers.begun(name, folder, log))
        said = f"{share} of {needed} bytes: {log.read_text()}"
        assert code == 2, said
        assert said.count("error: ") == 1 and str(folder) in said
        assert "Traceback" not in said
        for path in folder.rglob("*.json"):
            if not any(one.startswith(".unfinished") for one in path.parts):
                json.loads(path.read_text())
        runs.read_metrics(runs.RunFolder(folder))
        torn = folder.rglob(".*-????????????")
        assert not list(torn), said
        if checkpoints.latest(folder / "checkpoints") is not None:
            checkpoints.read_meta(folder / "checkpoints")
            assert trainers.end_of(folder)["records"]
    assert disk[1](64 << 20).returncode == 0
    assert trainers.ended(trainers.begun(name, folder, log)) == 0, log.read_text()
    assert trainers.end_of(folder) == end
