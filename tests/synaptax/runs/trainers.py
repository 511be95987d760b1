"""The five trainers at their smallest, each in a process that may be killed."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np

from synaptax import runs
from synaptax.cli.program import guarded
from synaptax.runs import checkpoints

ROOT = Path(__file__).parents[3]
EPOCHS = 40


# Each imports its own: a process starts in half the time.


def _gradual(folder):
    from pruning.gradual import train
    from tests.pruning.gradual.small_runs import SMALL

    config = dataclasses.replace(SMALL, checkpoint_every=2, tune_epochs=16)
    train.fit(config, folder, resume=True, quiet=True)


def _regularisers(folder):
    from pruning.regularisers import train
    from tests.pruning.regularisers.test_train import SMALL

    config = dataclasses.replace(SMALL, epochs=EPOCHS)
    train.train(config, folder, resume=True, quiet=True)


def _network(folder):
    from binary.network import train
    from tests.binary.network.test_train import SMALL

    config = dataclasses.replace(SMALL, epochs=EPOCHS, checkpoint_every=2, draws=1)
    train.train(config, folder, resume=True, quiet=True)


def _segmentation(folder):
    from covid_cxr.segmentation import fit
    from tests.covid_cxr.segmentation.test_train import CONFIG, TEST, TRAIN

    config = dataclasses.replace(CONFIG, epochs=EPOCHS, checkpoint_every=1)
    fit(config, TRAIN, TEST, folder=folder, resume=True)


def _study(folder):
    from covid_cxr.train import fit
    from tests.covid_cxr.train.test_training import FIXED, NET, TRAIN, VALIDATION

    config = dataclasses.replace(FIXED, epochs=EPOCHS)
    fit(NET, config, TRAIN, VALIDATION, folder=folder, resume=True)


TRAINERS = {
    "gradual pruning": _gradual,
    "regularisers": _regularisers,
    "binary network": _network,
    "U-Net": _segmentation,
    "study": _study,
}


def begun(name, folder, log):
    """Start a trainer at a folder, or take up its run there; what it says is logged."""
    command = [sys.executable, "-m", __name__, name, str(folder)]
    with log.open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)


def ended(process, seconds=300):
    """Return the exit code of a process, which must end in time."""
    try:
        return process.wait(seconds)
    finally:
        process.kill()
        process.wait()


def end_of(folder):
    """Return all that a run came to, as bytes; its clock is left out."""
    records = runs.read_metrics(runs.RunFolder(folder))
    for record in records:
        del record["elapsed_s"]
    end: dict = {"records": records}
    newest = max((folder / "checkpoints").iterdir())
    like = {}
    leaves = runs.read_json(newest / "checkpoint.json")["body"]["leaves"]
    for index, leaf in enumerate(leaves):
        key = leaf["dtype"].startswith("key")
        shape = [*leaf["shape"], 2] if key else leaf["shape"]
        if leaf["size"]:
            like[str(index)] = np.zeros(shape, "uint32" if key else leaf["dtype"])
    with checkpoints._orbax() as reader:
        state = reader.restore(newest / "arrays", like)
    end |= {f"state {at}": np.asarray(leaf).tobytes() for at, leaf in state.items()}
    for path in sorted(folder.glob("*/*.npz")):
        arrays = runs.read_arrays(path)
        end |= {f"{path.name} {at}": arrays[at].tobytes() for at in arrays}
    if (folder / "summary.json").exists():
        end["summary"] = runs.read_summary(folder / "summary.json")["results"]
    return end


def lines_of(folder):
    """Return how many records a run has written."""
    try:
        return (folder / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: TRAINERS[sys.argv[1]](Path(sys.argv[2])) or 0))
