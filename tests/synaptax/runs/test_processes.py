"""Two processes of two devices: the numbers of one, and the same bits after a kill."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from synaptax import runs
from synaptax.cli.program import guarded

ROOT = Path(__file__).parents[3]
CONFIG = [
    *("--seeds", "0", "1", "--mesh", "2", "2", "--limit", "320", "--batch", "32"),
    *("--patience", "1", "--dense-epochs", "3", "--prune-epochs", "4"),
    *("--tune-epochs", "2", "--checkpoint-every", "1", "--quiet"),
]


def begun(folder, *more, count=2):
    """Start the processes of a run; they have four devices together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "pruning", *CONFIG, "--run-dir", str(folder)]
    given = {"JAX_NUM_CPU_DEVICES": str(4 // count)}
    if count > 1:
        command += ["--distributed"]
        given |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    return [
        subprocess.Popen(
            [*command, *more],
            cwd=ROOT,
            env=os.environ | given | {"JAX_PROCESS_ID": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes):
    """Return exit codes and what was said."""
    try:
        said = [process.communicate(timeout=400)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def signalled(folder, lines, number, ranks, *more):
    """Start a run, signal some of its processes after some lines, and let it end."""
    processes = begun(folder, *more)
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
        assert processes[0].poll() is None, ended(processes)
        time.sleep(0.01)
    for rank in ranks:
        processes[rank].send_signal(number)
    begin = time.monotonic()
    codes, said = ended(processes)
    print(number, ranks, codes, f"{time.monotonic() - begin:.1f} s")
    assert not (folder / "summary.json").exists()
    return codes, said


def weights(folder):
    return {
        (path.name, name): array.tobytes()
        for path in sorted((folder / "tuned").glob("*.npz"))
        for name, array in runs.read_arrays(path).items()
        if name != "record"
    }


def failing(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "error, code, message",
    [
        (JaxRuntimeError("closed by peer"), 2, "^error: closed by peer: another proc"),
        (OSError("disk full"), 2, "^error: disk full$"),
        (KeyboardInterrupt(), 130, "^interrupted$"),
        (TypeError("a mistake"), 1, "^TypeError: a mistake$"),
    ],
)
def test_a_process_of_several_that_fails_ends_at_once(
    monkeypatch, capfd, error, code, message
):
    """Left to end by itself, it waits for the others, and they for it."""
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with contextlib.suppress(TypeError):
        assert guarded(failing(error)) == code
    assert codes == [code]
    assert re.search(message, capfd.readouterr().err, re.MULTILINE)
    assert guarded(lambda: 0) == 0 and codes == [code]


def test_an_error_of_jax_keeps_its_traceback_in_one_process():
    with pytest.raises(JaxRuntimeError):
        guarded(failing(JaxRuntimeError("out of memory")))


@pytest.mark.slow
def test_two_processes_are_one_and_survive_kills(tmp_path):
    for name, count in (("two", 2), ("one", 1)):
        codes, said = ended(begun(tmp_path / name, count=count))
        assert codes == [0] * count, said
    two, one = (
        [r["validation_loss"] for r in runs.read_metrics(runs.RunFolder(path))[:3]]
        for path in (tmp_path / "two", tmp_path / "one")
    )
    np.testing.assert_allclose(two, one, rtol=1e-3)

    killed, resume = tmp_path / "killed", "--resume"
    codes, said = signalled(killed, 2, signal.SIGKILL, [1])
    assert codes == [2, -signal.SIGKILL]
    assert "error: " in said[0] and "another process of this run" in said[0]
    assert "Traceback" not in said[0]
    # Without the coordinator JAX itself may end a process, before it can say more.
    codes, said = signalled(killed, 4, signal.SIGKILL, [0], resume)
    assert codes in ([-signal.SIGKILL, 2], [-signal.SIGKILL, -signal.SIGABRT])
    assert "another process of this run" in said[1] or "another task died" in said[1]
    codes, said = signalled(killed, 6, signal.SIGTERM, [0, 1], resume)
    assert 130 in codes and set(codes) <= {130, 2, -signal.SIGABRT}, said
    codes, said = ended(begun(killed, resume))
    assert codes == [0, 0], said
    assert weights(killed) == weights(tmp_path / "two")
