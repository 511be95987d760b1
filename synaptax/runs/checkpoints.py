"""Checkpoints that are whole or absent, and come back bit for bit.

A checkpoint is a folder ``<sequence>-step-<step>`` with the arrays, written by orbax,
and ``checkpoint.json``: the step, the caller's ``meta``, the path, shape and dtype of
every leaf, and the size and checksum of every file. It is made under a temporary name
and renamed when complete, so a process killed at any moment leaves the older
checkpoints and nothing that could be mistaken for a newer one. The sequence number,
not the step, says which is newest: a run that goes back to an older step and goes on
from there stays in order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synaptax.runs import files, processes
from synaptax.runs.files import FileError, replacing, sync, uninterrupted
from synaptax.trees import named_leaves

_NAME = re.compile(r"(\d+)-step-(\d+)")
_TEMPORARY = ".unfinished-"
_MANIFEST = "checkpoint.json"
_ARRAYS = "arrays"
FORMAT = 2  # of the manifest; 1 did not say so
_ROOM, _ROOM_EACH = 2**17, 2**12  # bytes beside the arrays: of all, of each
_PYTHON = (bool, int, float, complex)


class CheckpointError(FileError):
    """A checkpoint is absent, damaged, or not of the expected state."""


class Restored(NamedTuple):
    """What :func:`restore` gives back.

    Attributes:
        state: a tree like the one asked for.
        step: the step it was saved at.
        meta: what was saved with it.
    """

    state: Any
    step: int
    meta: dict[str, Any]


@uninterrupted()
def save(
    directory: str | os.PathLike[str],
    state: Any,
    *,
    step: int,
    meta: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Save a state; once this returns, it is what :func:`restore` gives.

    With several processes (``jax.distributed``), all of them call this, on one file
    system.

    Args:
        directory: holds the checkpoints of one run; made if absent, in a folder that is
            there: that of a run that was removed is not made again.
        state: a pytree of arrays (any shape and dtype, sharded or not), typed PRNG
            keys, Python or numpy scalars; None and empty nodes are fine.
        step: >= 0; need not increase.
        meta: anything JSON can hold, such as the epoch.
        run: what it is of, for :func:`restore` to compare, as JSON holds it: named
            parts, such as the config and a checksum of the data.
        keep: how many of the newest checkpoints to leave.

    Returns:
        The checkpoint's folder.

    Raises:
        ValueError: if ``step`` is negative or ``keep`` is below 1.
        TypeError: naming a leaf that is no array, or ``meta`` that JSON cannot hold.
        OSError: if the directory cannot be written.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    leaves = [_describe(name, leaf) for name, leaf in named_leaves(state)]
    body = {"format": FORMAT, "step": int(step), "meta": dict(meta or {})}
    body |= {"run": dict(run or {}), "leaves": leaves}
    json.dumps(body)  # a meta that JSON cannot hold fails before anything is written
    # An empty array is all in its shape, which the manifest holds.
    arrays = {
        str(index): _stored(leaf)
        for index, leaf in enumerate(jax.tree.leaves(state))
        if leaves[index]["size"]
    }
    root = Path(directory).expanduser().absolute()
    primary = processes.first()
    if primary:
        root.mkdir(exist_ok=True)
        _sweep(root)
        # Asked first, as orbax's threads each tell of a full disk in a traceback.
        sizes = [array.nbytes + _ROOM_EACH for array in arrays.values()]
        files.check_room(root, sum(sizes) + _ROOM)
    processes.barrier("synaptax checkpoint: begin")
    # After the sweep and before any new folder: all processes agree on the name.
    existing = _checkpoints(root)
    name = f"{existing[-1].sequence + 1 if existing else 0:06d}-step-{step}"
    staging = root / f"{_TEMPORARY}{name}"
    if primary:
        staging.mkdir()
    processes.barrier("synaptax checkpoint: write")
    if arrays:
        try:
            with _orbax() as writer:
                writer.save(staging / _ARRAYS, arrays)
        except Exception as error:  # orbax has many, for a full disk among others
            shutil.rmtree(staging, ignore_errors=True)
            raise OSError(f"cannot write the checkpoint {staging}: {error}") from error
    processes.barrier("synaptax checkpoint: written")
    if primary:
        # The manifest when the arrays are on the disk, the name last: a folder of that
        # name is a whole checkpoint.
        body["files"] = _checksums(staging)
        with replacing(staging / _MANIFEST) as file:
            file.write(json.dumps({"crc32": files.crc_of(body), "body": body}).encode())
        os.rename(staging, root / name)
        sync(root)
        for old in _checkpoints(root)[:-keep]:
            # Renamed first: a deletion cut short leaves no half checkpoint.
            doomed = root / f"{_TEMPORARY}{old.path.name}"
            os.rename(old.path, doomed)
            shutil.rmtree(doomed)
    processes.barrier("synaptax checkpoint: end")
    return root / name


@uninterrupted()
def restore(
    directory: str | os.PathLike[str],
    like: Any,
    *,
    step: int | None = None,
    expect: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Restored:
    """Restore the newest checkpoint, or the newest of a given step.

    Nothing on disk changes, whatever the outcome. A damaged newest checkpoint is an
    error: an older one is taken only when ``step`` asks for it.

    Args:
        directory: as given to :func:`save`.
        like: a tree of the expected structure; its leaves are arrays, keys, scalars
            or ``jax.ShapeDtypeStruct``. Arrays come back with its leaves' shardings.
        step: the step to restore; default: the newest checkpoint.
        expect: values that the saved ``meta`` must hold under these keys.
        run: what the saved ``run`` must hold under these keys, unless it was saved
            with none or by format 1, which had none.

    Returns:
        The state with the structure of ``like``, its step and its meta.

    Raises:
        CheckpointError: if there is no checkpoint, if a file is missing, truncated or
            altered, or if the saved state or meta is not the expected one; it names
            the path and what was expected.
    """
    root = Path(directory).expanduser().absolute()
    path = _find(root, step)
    body = _read_manifest(path)
    _verify_files(path, body["files"])
    _compare(path, body["meta"], expect or {})
    if body.get("run"):
        _compare(path, body["run"], run or {})
    expected = named_leaves(like)
    _match(path, body["leaves"], [_describe(name, leaf) for name, leaf in expected])
    abstract = {
        str(index): _abstract(leaf)
        for index, (_, leaf) in enumerate(expected)
        if body["leaves"][index]["size"]
    }
    try:
        with _orbax() as reader:
            arrays = reader.restore(path / _ARRAYS, abstract) if abstract else {}
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    leaves = [
        _revived(leaf, arrays.get(str(index)), body["leaves"][index])
        for index, (_, leaf) in enumerate(expected)
    ]
    state = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return Restored(state, body["step"], body["meta"])


def latest(directory: str | os.PathLike[str]) -> int | None:
    """Return the step of the newest complete checkpoint, or None if there is none."""
    existing = _checkpoints(Path(directory).expanduser().absolute())
    return existing[-1].step if existing else None


def read_meta(
    directory: str | os.PathLike[str], *, step: int | None = None
) -> dict[str, Any]:
    """Return what was saved as ``meta``, without reading any array.

    Args:
        directory: as given to :func:`save`.
        step: as for :func:`restore`.

    Raises:
        CheckpointError: if there is no such checkpoint or its manifest is damaged.
    """
    root = Path(directory).expanduser().absolute()
    return _read_manifest(_find(root, step))["meta"]


class _Checkpoint(NamedTuple):
    sequence: int
    step: int
    path: Path


def _checkpoints(root: Path) -> list[_Checkpoint]:
    """List complete checkpoints, oldest first."""
    if not os.path.lexists(root):
        return []
    if not root.is_dir():  # a link to a disk that is not there, for example
        raise CheckpointError(f"{root}: expected a folder")
    matches = [(_NAME.fullmatch(path.name), path) for path in root.iterdir()]
    # By the sequence, the first field.
    return sorted(
        _Checkpoint(int(match[1]), int(match[2]), path)
        for match, path in matches
        if match and path.is_dir()
    )


def _find(root: Path, step: int | None) -> Path:
    existing = _checkpoints(root)
    if not existing:
        raise CheckpointError(f"{root}: holds no checkpoint")
    if step is None:
        return existing[-1].path
    paths = [item.path for item in existing if item.step == step]
    if not paths:
        steps = ", ".join(str(item.step) for item in existing)
        raise CheckpointError(f"{root}: no checkpoint of step {step}, only {steps}")
    return paths[-1]


def _sweep(root: Path) -> None:
    """Remove what a killed save or a killed deletion left behind."""
    for path in root.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    try:
        manifest = json.loads(file.read_text())
        crc, body = manifest["crc32"], manifest["body"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: missing or damaged: {error}") from error
    if crc != files.crc_of(body):
        raise CheckpointError(f"{file}: fails its checksum")
    if body.get("format", 1) > FORMAT:
        text = f"of format {body['format']}, expected at most {FORMAT}"
        raise CheckpointError(f"{file}: {text}")
    return body


def _checksums(folder: Path) -> dict[str, list[int]]:
    """Put every file below ``folder`` on the disk: ``{path: [bytes, crc32]}``."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            sync(file)
            name = file.relative_to(folder).as_posix()
            sums[name] = files.checksum(file)
    return sums


def _verify_files(path: Path, sums: dict[str, list[int]]) -> None:
    for name, (size, crc) in sums.items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing, expected {size} bytes")
        if (length := file.stat().st_size) != size:
            raise CheckpointError(f"{file}: {length} bytes, expected {size}")
        if files.checksum(file)[1] != crc:
            raise CheckpointError(f"{file}: fails its checksum")


def _match(path: Path, saved: list[dict], expected: list[dict]) -> None:
    """Raise a CheckpointError naming the first leaf in which two states differ."""
    ours, theirs = ({d["path"]: d for d in side} for side in (saved, expected))
    for name in theirs:
        if name not in ours:
            raise CheckpointError(f"{path}: holds no leaf {name}, which was expected")
    for name in ours:
        if name not in theirs:
            raise CheckpointError(f"{path}: holds leaf {name}, which was not expected")
    for name, leaf in theirs.items():
        a, b = (f"{d['dtype']}{tuple(d['shape'])}" for d in (ours[name], leaf))
        if a != b:
            raise CheckpointError(f"{path}: leaf {name} is {a}, expected {b}")


def _compare(
    path: Path, saved: Mapping[str, Any], expected: Mapping[str, Any], within: str = ""
) -> None:
    """Raise a CheckpointError naming the first part that was saved otherwise."""
    # As the file gives it back: a tuple is a list there.
    for key, value in json.loads(json.dumps(dict(expected))).items():
        own, name = saved.get(key, "nothing"), f"{within}{key}"
        if isinstance(own, dict) and isinstance(value, dict):
            other = {k: value.get(k, "nothing") for k in {**own, **value}}
            _compare(path, own, other, f"{name}.")
        elif own != value:
            text = f"saved with {name} = {own!r}, expected {value!r}"
            raise CheckpointError(f"{path}: {text}")


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _describe(name: str, leaf: Any) -> dict[str, Any]:
    """Return a leaf's path, shape, dtype and number of stored elements."""
    if isinstance(leaf, _PYTHON):
        return {"path": name, "shape": [], "dtype": type(leaf).__name__, "size": 1}
    if not hasattr(leaf, "dtype") or getattr(leaf.dtype, "kind", "") in ("O", "S", "U"):
        raise TypeError(
            f"state: leaf {name} is a {type(leaf).__name__}; expected an array, a "
            "typed PRNG key or a number"
        )
    shape = [int(n) for n in leaf.shape]
    size = int(np.prod(shape, dtype=np.int64))
    out = {"path": name, "shape": shape, "dtype": str(leaf.dtype), "size": size}
    if _is_key(leaf) and isinstance(leaf, jax.Array):
        out["impl"] = str(jax.random.key_impl(leaf))
    return out


def _stored(leaf: Any) -> Any:
    """Return a leaf as an array that orbax takes."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _abstract(leaf: Any) -> Any:
    """Return what orbax is to make of a stored leaf: numpy, or a placed jax array."""
    if isinstance(leaf, (*_PYTHON, np.ndarray, np.generic)):
        return np.asarray(leaf)
    sharding = getattr(leaf, "sharding", None)
    if _is_key(leaf):
        if isinstance(leaf, jax.Array):
            sharding = jax.random.key_data(leaf).sharding
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    # A shape without a placement: the first of this process's devices.
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _revived(leaf: Any, array: Any, description: dict[str, Any]) -> Any:
    """Return a stored array as a leaf of the kind of ``leaf``."""
    if not description["size"]:
        shape, dtype = tuple(description["shape"]), leaf.dtype
        make = np.zeros if isinstance(leaf, np.ndarray) else jnp.zeros
        return make(shape, dtype)
    if isinstance(leaf, _PYTHON):
        return type(leaf)(array.item())
    if isinstance(leaf, np.generic):
        return np.asarray(array)[()]
    if _is_key(leaf):
        return jax.random.wrap_key_data(array, impl=description["impl"])
    return array


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "checkpoints need the laboratory's packages: pip install 'synaptax[lab]'"
        ) from error
    return ocp.Checkpointer(ocp.StandardCheckpointHandler())
