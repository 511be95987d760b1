"""Run folders: what was asked, what happened step by step, and what came out.

A run folder holds ``config.json`` (the frozen config), ``metrics.jsonl`` (one JSON
object a line, appended as the run goes), ``summary.json`` (the results with versions,
device, wall time, seeds and command), figures, and checkpoints. Every file but the
appended one is replaced whole, so a run killed at any moment leaves readable files.
One process at a time is at a run (``.lock``), and what it leaves says of which config
it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from synaptax.runs import locks, processes
from synaptax.runs.files import FileError, named_errors, replacing
from synaptax.runs.reading import parsed, read_json, typed
from synaptax.runs.writing import jsonable, write_json


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of one run.

    Attributes:
        path: the folder.
        identity: the config's fields that a resumed run must share, where
            :func:`create` gave this; what belongs to the run is saved with them.
        lock: keeps other processes from the folder while this object is there.

    Example:
        >>> import pathlib
        >>> synaptax.runs.RunFolder(pathlib.Path("runs/mine-1")).metrics.name
        'metrics.jsonl'
    """

    path: Path
    identity: dict[str, Any] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )
    lock: Any = dataclasses.field(default=None, compare=False, repr=False)

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

    @property
    def digest(self) -> str | None:
        """A short name for the identity; None without one."""
        if self.identity is None:
            return None
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def own(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record that says of which run it is."""
        digest = self.digest
        return {**record} if digest is None else {**record, "run": digest}

    def check_own(self, record: Mapping[str, Any], where: object) -> None:
        """Raise a FileError if a record's ``run`` is another run's digest.

        Args:
            record: what was kept; records of earlier versions have no ``run``.
            where: the file, for the message.
        """
        digest, own = record.get("run"), self.digest
        if None not in (digest, own) and digest != own:
            raise FileError(
                f"{where}: run: of another config ({digest}), expected {own}; "
                "remove it or name another folder"
            )


def create(
    path: str | os.PathLike[str],
    config: Any,
    *,
    resume: bool = False,
    ignore: Iterable[str] = ("resume", "run_dir"),
) -> RunFolder:
    """Make a run folder and write its config, or take up the run that it holds.

    The folder is locked while the returned object is there. With several processes
    (``jax.distributed``) all of them call this; the first one does it.

    Args:
        path: the folder; made with its parents if absent.
        config: a frozen dataclass.
        resume: go on with the run in the folder, which must have the same config; if
            the folder holds no run yet, a new one is begun.
        ignore: config fields that may differ on resume.

    Returns:
        The paths of the run.

    Raises:
        ValueError: if the folder holds a run and ``resume`` is false, holds the run
            of another config or of a config that is lost, or another process is at
            it; names the folder and the first field that differs.
        OSError: if the folder cannot be written; names the folder.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     rate: float = 0.1
        >>> folder = synaptax.runs.create("runs/mine-1", Config())
        >>> synaptax.runs.read_json(folder.config)
        {'rate': 0.1}
    """
    fields, ignored = jsonable(config), set(ignore)
    identity = {name: value for name, value in fields.items() if name not in ignored}
    folder = RunFolder(Path(path).expanduser().absolute(), identity)
    if processes.first():
        folder = _created(folder, fields, resume, ignored)
    processes.barrier("synaptax run: folder")
    return folder


def _created(
    folder: RunFolder, fields: dict[str, Any], resume: bool, ignored: set[str]
) -> RunFolder:
    """Make or take up a run folder as the only process at it."""
    _refuse_taken(folder, resume)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder = dataclasses.replace(folder, lock=locks.hold(folder.path))
        _refuse_taken(folder, resume)  # another process may have been quicker
        if not folder.config.exists():
            for orphan in (folder.metrics, folder.checkpoints):
                if orphan.exists():
                    raise FileError(
                        f"{folder.config}: missing, and nothing else says which run "
                        f"{orphan.name} is of: restore it or name another folder"
                    )
            write_json(folder.config, fields)
    except OSError as error:
        raise OSError(f"cannot write the run folder {folder.path}: {error}") from error
    _check_config(folder, fields, ignored)
    keep_metrics(folder)
    return folder


def _refuse_taken(folder: RunFolder, resume: bool) -> None:
    if folder.config.exists() and not resume:
        raise ValueError(
            f"{folder.path} already holds a run: resume it or name another folder"
        )


def _check_config(folder: RunFolder, fields: dict[str, Any], ignore: set[str]) -> None:
    """Raise a ValueError naming the first field that the folder holds otherwise."""
    saved = read_json(folder.config)
    if not isinstance(saved, dict):
        raise FileError(f"{folder.config}: expected named fields")
    for name in sorted((set(saved) | set(fields)) - ignore):
        a, b = saved.get(name, "nothing"), fields.get(name, "nothing")
        # Down to the innermost field that differs, which the message names.
        while a != b and isinstance(a, dict) and isinstance(b, dict):
            pairs = {k: (a.get(k, "nothing"), b.get(k, "nothing")) for k in {*a, *b}}
            inner = min(k for k, (one, other) in pairs.items() if one != other)
            name, (a, b) = f"{name}.{inner}", pairs[inner]
        if a != b:
            raise ValueError(
                f"{folder.path} holds a run with {name} = {a!r}, not {b!r}: resume it "
                "with its own config or name another folder"
            )


def fresh_path(root: str | os.PathLike[str], name: str) -> Path:
    """Make the empty folder ``root/name-1``, or of the first number above all others.

    It is this process's alone, also where several look for one at once.

    Example:
        >>> synaptax.runs.fresh_path("no_runs_yet", "mine").name
        'mine-1'
    """
    root = Path(root).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    while True:
        numbers = [0]
        for path in root.glob(f"{name}-*"):
            suffix = path.name.removeprefix(f"{name}-")
            if suffix.isdecimal():
                numbers.append(int(suffix))
        with suppress(FileExistsError):
            path = root / f"{name}-{max(numbers) + 1}"
            # Atomic: of several processes one gets the number, the others look again.
            path.mkdir()
            return path


def append_metrics(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Append one record to ``metrics.jsonl``, as one whole line or not at all.

    Raises:
        OSError: naming the file, for a disk that is full or a folder that is gone.

    Example:
        >>> import pathlib
        >>> folder = synaptax.runs.RunFolder(pathlib.Path("."))
        >>> synaptax.runs.append_metrics(folder, {"epoch": 1, "loss": 0.5})
        >>> synaptax.runs.read_metrics(folder)[-1]
        {'epoch': 1, 'loss': 0.5}
    """
    line = json.dumps(jsonable(dict(record)), allow_nan=False).encode() + b"\n"
    # Unbuffered, the whole line in one write if the disk takes it: a kill leaves the
    # line, or a part without a line end, which readers drop.
    with named_errors(folder.metrics), open(folder.metrics, "ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            while line:  # what did not fit is tried again, and then is an error
                line = line[file.write(line) :]
        except BaseException:
            file.truncate(start)
            raise


def read_metrics(folder: RunFolder) -> list[dict[str, Any]]:
    r"""Return the records of ``metrics.jsonl``; a last line cut short is left out.

    Args:
        folder: the run.

    Returns:
        The records in order; empty if nothing was appended yet.

    Raises:
        FileError: naming file, line and field, if a complete line is not a JSON object,
            has numbers that are not finite, an ``epoch`` that does not count up or
            passes 2^63, or an ``elapsed_s`` that is no time.

    Example:
        >>> import pathlib
        >>> folder = synaptax.runs.RunFolder(pathlib.Path("."))
        >>> _ = folder.metrics.write_text('{"epoch": 1}\n{"epo')  # cut short
        >>> synaptax.runs.read_metrics(folder)
        [{'epoch': 1}]
    """
    try:
        # After the last newline comes nothing, or a line that was cut short.
        lines = folder.metrics.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    records, last = [], -1
    for number, line in enumerate(lines, start=1):
        where = f"{folder.metrics}, line {number}"
        try:
            record = parsed(line)
        except (ValueError, RecursionError) as error:
            raise FileError(f"{where}: {error}") from error
        if not isinstance(record, dict):
            raise FileError(f"{where}: not an object")
        epoch, elapsed = record.get("epoch", last + 1), record.get("elapsed_s", 0)
        if type(epoch) is not int or not last < epoch < 2**63:
            raise FileError(f"{where}: epoch: expected over {last}, got {epoch!r}")
        if type(elapsed) not in (int, float) or elapsed < 0:
            raise FileError(f"{where}: elapsed_s: expected a time, got {elapsed!r}")
        last = epoch if "epoch" in record else last
        records.append(record)
    return records


def keep_metrics(
    folder: RunFolder, *, last: int | float | None = None, key: str = "epoch"
) -> None:
    r"""Drop what a resumed run will write again, and a last line cut short.

    Args:
        folder: the run.
        last: keep the records whose ``key`` is at most this, and those without the
            key; default: all.
        key: what counts progress.

    Example:
        >>> import pathlib
        >>> folder = synaptax.runs.RunFolder(pathlib.Path("."))
        >>> _ = folder.metrics.write_text('{"epoch": 1}\n{"epoch": 2}\n')
        >>> synaptax.runs.keep_metrics(folder, last=1)
        >>> synaptax.runs.read_metrics(folder)
        [{'epoch': 1}]
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
        FileError: naming the file and the field, if it holds something else.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     rate: float = 0.1
        >>> folder = synaptax.runs.create("runs/read-1", Config(0.2))
        >>> check = lambda config: None
        >>> synaptax.runs.config_of(folder.config, Config, check, of="a run")
        Config(rate=0.2)
    """
    fields = read_json(path)
    try:
        config = typed(path, fields, kind)
        check(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise FileError(f"{path}: not the config of {of}: {error}") from error
    return config
