"""``summary.json``: what came out of a run, and all it takes to judge and repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from synaptax.runs.files import FileError
from synaptax.runs.folder import RunFolder
from synaptax.runs.machine import command_line, environment
from synaptax.runs.reading import read_json, typed
from synaptax.runs.writing import jsonable, write_json


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

    Example:
        >>> import dataclasses, pathlib
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     rate: float = 0.1
        >>> folder = synaptax.runs.RunFolder(pathlib.Path("."))
        >>> written = synaptax.runs.write_summary(
        ...     folder, {"error": 0.05}, config=Config(), seeds=[0], wall_s=1.5
        ... )
        >>> written["results"], written["seeds"]
        ({'error': 0.05}, [0])
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


class Summary(NamedTuple):
    """What ``summary.json`` holds; see :func:`write_summary`."""

    command: str
    config: dict[str, Any]
    seeds: list[int]
    wall_s: float
    versions: dict[str, str | None]
    device: dict[str, Any]
    results: dict[str, Any]


def read_summary(path: Path) -> dict[str, Any]:
    """Read a file of :func:`write_summary`.

    Raises:
        FileError: naming the file, and the field that is missing or of another type.
        OSError: if there is none.

    Example:
        >>> import pathlib
        >>> summary = synaptax.runs.read_summary(  # doctest: +SKIP
        ...     pathlib.Path("runs/digits-1/summary.json")
        ... )
    """
    fields = read_json(path)
    summary = typed(path, fields, Summary)
    if summary.wall_s < 0:
        raise FileError(f"{path}: field wall_s: expected a time, got {summary.wall_s}")
    return fields
