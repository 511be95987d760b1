"""A small run for tests, ways to stop it, and what it left, as comparable values."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from pruning.gradual import outcome, snapshots
from pruning.gradual.config import Config
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.runs import checkpoints

SMALL = Config(
    limit=150,
    batch=50,
    dense_epochs=4,
    prune_epochs=14,
    tune_epochs=6,
    patience=1,
    tolerance=0.5,
    momentum=0.9,
    rate=1e-3,
    accept=0.2,
    checkpoint_every=3,
    seeds=(0, 1),
    targets=(3.0,),
)
EPOCHS = SMALL.dense_epochs + SMALL.prune_epochs + SMALL.tune_epochs


def arrays(path):
    """Return what an .npz file holds as comparable values."""
    with np.load(path) as file:
        return {k: (str(v.dtype), v.shape, v.tobytes()) for k, v in file.items()}


def weights(folder):
    """Return every snapshot and tuned network of a run."""
    paths = sorted(folder.glob("snapshots/*")) + sorted(folder.glob("tuned/*"))
    assert len(paths) > 8
    return {str(path.relative_to(folder)): arrays(path) for path in paths}


def outcome_of(folder):
    """Return what a run ended in, without its times and its command."""
    summary = json.loads((folder / "summary.json").read_text())
    metrics = runs.read_metrics(runs.RunFolder(folder))
    for record in metrics:
        del record["elapsed_s"]
    del summary["wall_s"], summary["command"]
    summary["config"]["data_dir"] = None
    return summary, metrics


def assert_same_end(folder, other):
    assert weights(folder) == weights(other)
    summary, metrics = outcome_of(folder)
    expected, lines = outcome_of(other)
    assert metrics == lines
    assert summary == expected
    ends = [
        (checkpoints.latest(f), checkpoints.read_meta(f))
        for f in (folder / "checkpoints", other / "checkpoints")
    ]
    assert ends == [(EPOCHS, {"stage": 2, "done": SMALL.tune_epochs})] * 2


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def tuned(folder, index):
    """Return the (params, masks) of an operating point as flat dicts."""
    file = arrays(folder / "tuned" / f"member{index:03d}-tuned.npz")
    out = {"params": {}, "masks": {}}
    for key, (dtype, shape, raw) in file.items():
        part, _, name = key.partition("/")
        if part in out:
            out[part][name] = np.frombuffer(raw, dtype).reshape(shape)
    return out["params"], out["masks"]


class Stop(Exception):
    """Stands for a process that is gone."""


def interrupted(folder, patch):
    """Take up a run with something patched to raise Stop; it must get there."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        with pytest.raises(Stop):
            fit(SMALL, folder, resume=True, quiet=True)
    assert not (folder / "summary.json").exists()


def half_a_line_at(epoch):
    """Return a patch that dies while it appends the record of an epoch."""

    def patch(monkeypatch):
        append = runs.append_metrics

        def dying(folder, record):
            if record["epoch"] == epoch:
                with open(folder.metrics, "ab") as file:
                    file.write(json.dumps(runs.jsonable(record))[:40].encode())
                raise Stop
            append(folder, record)

        monkeypatch.setattr(runs, "append_metrics", dying)

    return patch


def half_a_checkpoint_at(last):
    """Return a patch that dies before a checkpoint of a step gets its name."""

    def patch(monkeypatch):
        save = checkpoints.save

        def dying(directory, state, *, step, **rest):
            if step == last:
                monkeypatch.setattr(checkpoints, "_checksums", stop)
            return save(directory, state, step=step, **rest)

        monkeypatch.setattr(checkpoints, "save", dying)

    return patch


def stop(*args, **kwargs):
    raise Stop


def half_a_snapshot(nth):
    """Return a patch that dies in the nth snapshot that is written."""

    def patch(monkeypatch):
        left = [nth]
        save = np.savez_compressed

        def dying(file, **parts):
            left[0] -= 1
            if not left[0]:
                file.write(b"PK")
                raise Stop
            save(file, **parts)

        monkeypatch.setattr(snapshots.np, "savez_compressed", dying)

    return patch


def no_summary(monkeypatch):
    monkeypatch.setattr(outcome.runs, "write_summary", stop)


def options(config):
    """Return the command-line options of a config, every field of it."""
    out = []
    for name, value in dataclasses.asdict(config).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            if value != getattr(Config, name):
                out.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            out.append(f"--{option}")
            out += map(str, value if isinstance(value, tuple) else [value])
    return out


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0
