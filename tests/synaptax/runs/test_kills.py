"""Every trainer, killed at random moments: nothing lost, no other bit."""

import random
import signal
import time

import pytest

from synaptax.runs import checkpoints
from tests.synaptax.runs import trainers

pytestmark = pytest.mark.slow

# Of each trainer; 20 and 10 in all.
SIGNALS = [signal.SIGTERM] * 4 + [signal.SIGKILL] * 2
MOMENT = 0.04  # s: an epoch with its checkpoint takes about as long


def killed(name, folder, log, number, lines, delay):
    """Let a run go on for some lines and a moment more, then kill it."""
    target = trainers.lines_of(folder) + lines
    process = trainers.begun(name, folder, log)
    deadline = time.monotonic() + 300
    while trainers.lines_of(folder) < target:
        alive = process.poll() is None and time.monotonic() < deadline
        assert alive or process.kill(), log.read_text()
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    return trainers.ended(process)


@pytest.mark.parametrize("name", trainers.TRAINERS)
def test_a_run_killed_six_times_ends_in_the_same_bits(name, tmp_path):
    whole, folder, log = tmp_path / "whole", tmp_path / "run", tmp_path / "log"
    assert trainers.ended(trainers.begun(name, whole, log)) == 0, log.read_text()
    rng, step = random.Random(name), 0
    for number in rng.sample(SIGNALS, len(SIGNALS)):
        lines, delay = rng.randint(1, 2), rng.uniform(0, MOMENT)
        code = killed(name, folder, log, number, lines, delay)
        said = f"{number!r} at {lines} lines and {delay:.3f} s: {log.read_text()}"
        assert code == (130 if number == signal.SIGTERM else -number), said
        before, step = step, checkpoints.latest(folder / "checkpoints") or 0
        assert step >= before, said
    assert trainers.ended(trainers.begun(name, folder, log)) == 0, log.read_text()
    assert trainers.end_of(folder) == trainers.end_of(whole)
