"""Weights kept at each cut of a run, and the choice among them on validation.

A snapshot holds the best weights found at one sparsity level. The frontier of error
against compression is a choice among snapshots, made on validation alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from synaptax.runs import RunFolder
from synaptax.runs.files import FileError, replacing
from synaptax.runs.reading import check_array, read_arrays, typed
from synaptax.trees import named_leaves


class Snapshot(NamedTuple):
    """The record of one snapshot; the weights are in its file.

    Attributes:
        replica: index of the seed, or of a fine-tuned operating point; files and their
            records call it ``member``.
        name: ``dense``, ``rewind`` or ``cut-NNN``.
        epoch: the epoch of the run at which it was written.
        loss: validation cross-entropy, nats.
        error: validation error, a fraction.
        kept: parameters that are kept, over all parameters.
        total: all parameters.
    """

    replica: int
    name: str
    epoch: int
    loss: float
    error: float
    kept: int
    total: int

    @property
    def compression(self) -> float:
        """Total over kept, all parameters."""
        return self.total / max(self.kept, 1)


def write(
    folder: Path,
    snapshot: Snapshot,
    params: Any,
    masks: Any,
    stats: Any = None,
    *,
    run: str | None = None,
) -> None:
    """Write one snapshot as an ``.npz`` file, whole or not at all.

    Args:
        folder: where; made if absent, in a folder that is there.
        snapshot: its record; replica and name fix the file.
        params: the weights.
        masks: likewise, boolean.
        stats: what the network keeps beside them (batch-norm's running moments).
        run: the digest of the run that it is of.
    """
    folder.mkdir(exist_ok=True)
    parts = {"params": params, "masks": masks, "stats": stats}
    arrays: dict[str, Any] = {
        f"{part}/{name}": np.asarray(leaf)
        for part, tree in parts.items()
        for name, leaf in named_leaves(tree)
    }
    fields = snapshot._asdict()
    body = {"member": fields.pop("replica"), **fields}
    if run is not None:
        body["run"] = run
    record = np.frombuffer(json.dumps(body).encode(), np.uint8)
    with replacing(_path(folder, snapshot.replica, snapshot.name)) as file:
        np.savez_compressed(file, record=record, **arrays)


def read(folder: Path, snapshot: Snapshot, like: Any) -> tuple[Any, Any]:
    """Return (params, masks) of a snapshot, in the structure of ``like``.

    Raises:
        ValueError: naming the file, if it is damaged or of another network.
    """
    return _read(folder, snapshot, "params", like), _read(
        folder, snapshot, "masks", like
    )


def read_stats(folder: Path, snapshot: Snapshot, like: Any) -> Any:
    """Return the ``stats`` of a snapshot, in the structure of ``like``.

    Raises:
        ValueError: naming the file, if it is damaged or of another network.
    """
    return _read(folder, snapshot, "stats", like)


def read_all(folder: Path, replica: int, name: str) -> tuple[Any, Any, Any]:
    """Return (params, masks, stats) of a snapshot as nested dicts of arrays.

    Args:
        folder: where it is.
        replica: of its record.
        name: of its record.

    Raises:
        ValueError: naming the file, if it is damaged.
    """
    trees: dict[str, Any] = {"params": {}, "masks": {}, "stats": {}}
    path = _path(folder, replica, name)
    arrays = _arrays(path)
    for entry in arrays:
        part, *keys = entry.split("/")
        if part in trees:
            node = trees[part]
            for key in keys[:-1]:
                node = node.setdefault(key, {})
                if not isinstance(node, dict):
                    raise FileError(f"{path}: {entry}: below another array")
            node[keys[-1] if keys else ""] = check_array(path, arrays, entry, None)
    return trees["params"], trees["masks"], trees["stats"]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except (OSError, FileError) as error:
        raise FileError(f"{path}: not a snapshot of this network: {error}") from error


def _read(folder: Path, snapshot: Snapshot, part: str, like: Any) -> Any:
    path = _path(folder, snapshot.replica, snapshot.name)
    arrays, leaves = _arrays(path), []
    for name, leaf in named_leaves(like):
        if part == "masks" and hasattr(leaf, "shape"):
            leaf = jax.ShapeDtypeStruct(leaf.shape, bool)
        try:
            leaves.append(check_array(path, arrays, f"{part}/{name}", leaf))
        except FileError as error:
            raise FileError(
                f"{path}: not a snapshot of this network: {error}"
            ) from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def listing(
    folder: Path, *, last_epoch: int | None = None, run: RunFolder | None = None
) -> list[Snapshot]:
    """Return the snapshots in a folder, ordered by replica and then by epoch.

    Args:
        folder: where they are; may not exist yet.
        last_epoch: leave out what was written after this epoch of the run.
        run: the run that they must be of.

    Raises:
        ValueError: naming a file that is damaged or of another run.
    """
    records = []
    for path in folder.glob("*.npz"):
        try:
            body = json.loads(read_arrays(path, ("record",))["record"].tobytes())
            if run is not None:
                run.check_own(body, path)
            body.pop("run", None)
            one = typed(path, {"replica": body.pop("member"), **body}, Snapshot)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise FileError(f"{path}: a damaged snapshot: {error}") from error
        _check(path, one)
        records.append(one)
    early = [s for s in records if last_epoch is None or s.epoch <= last_epoch]
    return sorted(early, key=lambda s: (s.replica, s.epoch, s.name))


def _check(path: Path, one: Snapshot) -> None:
    """Raise a FileError that names a field out of range."""
    good = {
        "name": _path(path.parent, one.replica, one.name) == path,
        "epoch": one.epoch >= 0,
        "loss": not math.isnan(one.loss),  # that of early weights is not known: inf
        "error": 0 <= one.error <= 1,
        "kept": 0 <= one.kept <= one.total,
    }
    for name, is_good in good.items():
        if not is_good:
            raise FileError(
                f"{path}: a damaged snapshot: field {name}: {getattr(one, name)!r}"
            )


def choose(
    snapshots: list[Snapshot], *, target: float | None, accept: float
) -> tuple[Snapshot, bool]:
    """Choose the operating point of one replica on validation.

    Args:
        snapshots: those of one replica, the dense one among them.
        target: the least compression wanted: of the snapshots that reach it, the one
            with the lowest validation loss (the error is too coarse a measure on a
            few thousand examples). ``None``: the sparsest snapshot within
            ``accept`` of the dense validation error.
        accept: a fraction.

    Returns:
        The snapshot, and whether the target was reached; if not, it is the sparsest.
    """
    pool = [s for s in snapshots if s.name != "rewind"]
    if target is None:
        (dense,) = (s for s in pool if s.name == "dense")
        good = [s for s in pool if s.error <= dense.error + accept]
        # Of equal compressions the one of lower loss.
        return max(good, key=lambda s: (s.compression, -s.loss)), True
    candidates = [s for s in pool if s.compression >= target]
    if not candidates:
        return max(pool, key=lambda s: s.compression), False
    return min(candidates, key=lambda s: s.loss), True


def _path(folder: Path, replica: int, name: str) -> Path:
    return folder / f"member{replica:03d}-{name}.npz"
