"""Arrays made once, kept as memory-mapped ``.npy`` files that are checked before use.

A cache called NAME is ``NAME-KEY.npy`` for each array, and ``NAME.json``, which is
written last: an interrupted one is never read in part. The description holds what the
arrays were made from and a checksum of each file, header and data; it has a checksum of
its own. What is damaged or of another origin is named and made anew.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synaptax.runs.files import FileError, checksum, claim, crc_of, replacing

FORMAT = 2  # of the description; 1 left the headers of the arrays unchecked
_log = logging.getLogger(__name__)

#: ``(key, shape, dtype) -> array``: a new array of the cache, to be filled in.
Create = Callable[[str, tuple[int, ...], Any], np.ndarray]


class Cached(NamedTuple):
    """What a cache holds.

    Attributes:
        arrays: key to a read-only array, mapped from its file if there is one.
        meta: what was noted beside them, as JSON gives it back.
    """

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where decoded arrays are kept: argument, ``SYNAPTAX_CACHE``, default."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get("SYNAPTAX_CACHE"):
        return Path(os.environ["SYNAPTAX_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "synaptax"


def open_cache(
    folder: Path | None,
    name: str,
    identity: Mapping[str, Any],
    build: Callable[[Create], Mapping[str, Any]],
) -> Cached:
    """Open a cache, or make it first if it is absent, damaged or of another origin.

    Args:
        folder: where the files are; None keeps the arrays in memory alone.
        name: begins the files' names.
        identity: what the arrays are made from and how, as JSON holds it. A cache of
            another identity is made anew.
        build: creates the arrays and fills them in, a part at a time where they are
            large; returns what is to be noted beside them, as JSON holds it.

    Returns:
        The arrays and the notes.

    Raises:
        OSError: naming the folder, if it cannot be written.
    """
    if folder is None:
        fresh: dict[str, np.ndarray] = {}

        def create(key: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            return fresh.setdefault(key, np.zeros(shape, dtype))

        return Cached(fresh, dict(build(create)))
    origin = json.loads(json.dumps(dict(identity)))  # as the file gives it back
    try:
        cache = _read(folder, name, origin)
    except (ValueError, LookupError, TypeError, OSError, RecursionError) as error:
        _log.warning("decoding again, the cache is damaged: %s", error)
        cache = None
    return _write(folder, name, origin, build) if cache is None else cache


def _write(
    folder: Path,
    name: str,
    identity: dict[str, Any],
    build: Callable[[Create], Mapping[str, Any]],
) -> Cached:
    """Make a cache: arrays under temporary names, renamed, and the description last."""
    unfinished: dict[str, tuple[Path, int, np.memmap]] = {}

    def create(key: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        # Beside their place, so that several processes may make the same cache.
        with _named_errors(folder):
            path, descriptor = claim(folder / f"{name}-{key}.npy")
            array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
            unfinished[key] = path, descriptor, array
            _reserve(path)
        return array

    with _named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        # Until the arrays are whole again nothing may vouch for them.
        (folder / f"{name}.json").unlink(missing_ok=True)
    try:
        meta, files, arrays = dict(build(create)), {}, {}
        with _named_errors(folder):
            for key, (path, descriptor, array) in unfinished.items():
                array.flush()
                os.fsync(descriptor)
                files[key] = checksum(path)
                # Before another process may put its own in their place.
                arrays[key] = np.load(path, mmap_mode="r", allow_pickle=False)
                os.replace(path, folder / f"{name}-{key}.npy")
            body = {
                "format": FORMAT,
                "identity": identity,
                "meta": meta,
                "files": files,
            }
            with replacing(folder / f"{name}.json") as file:
                file.write(json.dumps({"crc32": crc_of(body), "body": body}).encode())
        return Cached(arrays, json.loads(json.dumps(meta)))
    finally:
        for path, descriptor, _ in unfinished.values():
            os.close(descriptor)
            path.unlink(missing_ok=True)


def _read(folder: Path, name: str, identity: dict[str, Any]) -> Cached | None:
    """Open a cache; None if absent, an error if damaged or of another origin."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    description = json.loads(path.read_bytes())
    body = description["body"]
    if body["format"] != FORMAT or description["crc32"] != crc_of(body):
        raise FileError(f"{path}: of another format, or fails its checksum")
    if body["identity"] != identity:
        raise FileError(f"{path} describes another source")
    arrays = {}
    for key, expected in body["files"].items():
        file = folder / f"{name}-{key}.npy"
        if checksum(file) != expected:
            raise FileError(f"{file}: fails its checksum")
        arrays[key] = np.load(file, mmap_mode="r", allow_pickle=False)
    return Cached(arrays, body["meta"])


def _reserve(path: Path) -> None:
    """Take a file's whole space now: a full disk is an error here, a crash later."""
    if hasattr(os, "posix_fallocate"):  # Linux: a mapped file is sparse at first
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write the data cache {folder} ({error}); choose another folder by "
            "cache_dir or SYNAPTAX_CACHE"
        ) from error
