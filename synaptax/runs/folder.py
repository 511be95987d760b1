"""Run folders: what was asked, what happened step by step, and what came out.

A run folder holds ``config.json`` (the frozen config), ``metrics.jsonl`` (one JSON
object a line, appended as the run goes), ``summary.json`` (the results with versions,
device, wall time, seeds and command), figures, and checkpoints. Every file but the
appended one is replaced whole, so a run killed at any moment leaves readable files.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from synaptax.runs.files import replacing

_PACKAGES = ("synaptax", "jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """What was asked."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """What happened, a line a record."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """What came out."""
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / "checkpoints"


def create(
    path: str | os.PathLike[str],
    config: Any,
    *,
    resume: bool = False,
    ignore: Iterable[str] = ("resume", "run_dir"),
) -> RunFolder:
    """Make a run folder and write its config, or take up the run that it holds.

    Args:
        path: the folder; made with its parents if absent.
        config: a frozen dataclass.
        resume: go on with the run in the folder, which must have the same config; if
            the folder holds no run yet, a new one is begun.
        ignore: config fields that may differ on resume.

    Returns:
        The paths of the run.

    Raises:
        ValueError: if the folder holds a run and ``resume`` is false, or holds the run
            of another config; names the folder and the first field that differs.
        OSError: if the folder cannot be written; names the folder.
    """
    folder = RunFolder(Path(path).expanduser().absolute())
    fields = jsonable(config)
    if folder.config.exists():
        if not resume:
            raise ValueError(
                f"{folder.path} already holds a run: resume it or name another folder"
            )
        _check_config(folder, fields, set(ignore))
        keep_metrics(folder)
        return folder
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        write_json(folder.config, fields)
    except OSError as error:
        raise OSError(f"cannot write the run folder {folder.path}: {error}") from error
    return folder


def _check_config(folder: RunFolder, fields: dict[str, Any], ignore: set[str]) -> None:
    """Raise a ValueError naming the first field that the folder holds otherwise."""
    saved = read_json(folder.config)
    for name in sorted((set(saved) | set(fields)) - ignore):
        a, b = saved.get(name, "nothing"), fields.get(name, "nothing")
        if a != b:
            raise ValueError(
                f"{folder.path} holds a run with {name} = {a!r}, not {b!r}: resume it "
                "with its own config or name another folder"
            )


def fresh_path(root: str | os.PathLike[str], name: str) -> Path:
    """Return ``root/name-1``, or the first number above all that exist."""
    numbers = [0]
    for path in Path(root).expanduser().glob(f"{name}-*"):
        suffix = path.name.removeprefix(f"{name}-")
        if suffix.isdecimal():
            numbers.append(int(suffix))
    return Path(root).expanduser() / f"{name}-{max(numbers) + 1}"


def append_metrics(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Append one record to ``metrics.jsonl``, as one line in one write."""
    line = json.dumps(jsonable(dict(record)), allow_nan=False) + "\n"
    with open(folder.metrics, "ab", buffering=0) as file:
        file.write(line.encode())


def read_metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the records of ``metrics.jsonl``; a last line cut short is left out.

    Args:
        folder: the run.

    Returns:
        The records in order; empty if nothing was appended yet.

    Raises:
        ValueError: naming file and line, if a complete line is not a JSON object.
    """
    try:
        text = folder.metrics.read_text()
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{folder.metrics}, line {number}: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{folder.metrics}, line {number}: not an object")
        records.append(record)
    return records


def keep_metrics(
    folder: RunFolder, *, last: int | float | None = None, key: str = "epoch"
) -> None:
    """Drop what a resumed run will write again, and a last line cut short.

    Args:
        folder: the run.
        last: keep the records whose ``key`` is at most this, and those without the
            key; default: all.
        key: what counts progress.
    """
    if not folder.metrics.exists():
        return
    records = [
        record
        for record in read_metrics(folder)
        if last is None or record.get(key, -math.inf) <= last
    ]
    with replacing(folder.metrics) as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)


def config_of(path: Path, kind: Any, check: Callable[[Any], None], *, of: str) -> Any:
    """Return the checked config that a file of :func:`create` holds.

    Args:
        path: the file.
        kind: the frozen dataclass.
        check: raises a ValueError for a field out of range.
        of: what the config is of, for the message.

    Raises:
        ValueError: naming the file, if it holds something else.
    """
    fields = read_json(path)
    try:
        lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
        config = kind(**{**fields, **lists})
        check(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the config of {of}: {error}") from error
    return config


def write_summary(
    folder: RunFolder,
    results: Mapping[str, Any],
    *,
    config: Any,
    seeds: Sequence[int],
    wall_s: float,
    command: str | None = None,
) -> dict[str, Any]:
    """Write ``summary.json``: the results with all it takes to judge and repeat them.

    Args:
        folder: the run.
        results: what came out.
        config: the frozen dataclass of the run.
        seeds: the seeds that were run.
        wall_s: wall time, in seconds.
        command: how to run it again; default: this process's command line.

    Returns:
        What was written.
    """
    summary = {
        "command": command_line() if command is None else command,
        "config": jsonable(config),
        "seeds": [int(seed) for seed in seeds],
        "wall_s": round(float(wall_s), 3),
        **environment(),
        "results": jsonable(dict(results)),
    }
    write_json(folder.summary, summary)
    return summary


def environment() -> dict[str, Any]:
    """Return the versions of Python and of what computes, and the device."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    device = jax.devices()[0]
    return {
        "versions": versions,
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cores": cores(),
        },
    }


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command_line() -> str:
    """Return this process's command, with no path to the interpreter or module."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None:
        program = ["python", Path(sys.argv[0]).name]
    else:
        program = ["python", "-m", spec.name.removesuffix(".__main__")]
    return shlex.join([*program, *sys.argv[1:]])


def jsonable(value: Any) -> Any:
    """Return a value as JSON holds it, the same after a round trip.

    Dataclasses, NamedTuples and mappings become objects; arrays, tuples and sets
    become lists; paths become text; non-finite numbers become ``"nan"``, ``"inf"`` or
    ``"-inf"``, which ``float`` reads back.

    Args:
        value: what to write.

    Returns:
        Only dicts with string keys, lists, strings, numbers, booleans and None.

    Raises:
        TypeError: naming the type that JSON cannot hold.
    """
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return jsonable(value._asdict())  # pyright: ignore
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: jsonable(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [jsonable(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return jsonable(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: {value!r}")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, so that ``path`` holds the old or the new, whole."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a ValueError names it if it is not one."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
