"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import signal
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from synaptax.runs import locks

_READ = 2**22  # bytes at once under a checksum


class FileError(ValueError):
    """A file is damaged, foreign or out of range; names the file and the field.

    Example:
        >>> issubclass(synaptax.runs.FileError, ValueError)
        True
    """


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary binary file that takes the place of ``path`` when whole.

    The temporary file lies beside ``path`` under a name of its own, so that several
    processes may write the same file; the last one to finish wins.

    Raises:
        OSError: naming ``path``, for a disk that is full or a folder that is gone.
    """
    temporary, descriptor = claim(path)
    try:
        with named_errors(path), open(descriptor, "wb") as file:
            yield file
            file.flush()
            # On the disk before the rename: after a loss of power the name could else
            # be on an empty file. Renamed while open, and so locked against a sweep.
            os.fsync(file.fileno())
            os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def claim(path: Path) -> tuple[Path, int]:
    """Make an empty temporary file beside ``path``; return it and its descriptor.

    While the descriptor is open it is locked. Those that dead processes have left are
    removed first.
    """
    # Not tempfile: its files are closed to other users, and the result would be too.
    with named_errors(path, always=True):
        _sweep(path)
        while True:
            temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            locks.take(descriptor, wait=True)
            if os.fstat(descriptor).st_nlink:
                return temporary, descriptor
            os.close(descriptor)  # swept by another process before it was locked


def _sweep(path: Path) -> None:
    """Remove the temporary files of ``path`` that no living process has locked."""
    name = re.compile(rf"\.{re.escape(path.name)}-[0-9a-f]{{12}}")
    for orphan in [one for one in os.listdir(path.parent) if name.fullmatch(one)]:
        with suppress(OSError):
            descriptor = os.open(path.with_name(orphan), os.O_RDWR)
            try:
                if locks.take(descriptor):
                    path.with_name(orphan).unlink()
            finally:
                os.close(descriptor)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlast a loss of power."""
    with suppress(OSError):  # a folder not on every system
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def named_errors(path: Path, *, always: bool = False) -> Iterator[None]:
    """Have an OSError that names no file (or ``always``) name ``path``."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not always:
            raise
        if error.errno is None:
            raise OSError(f"cannot write {path}: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def checksum(path: Path) -> list[int]:
    """Return [bytes, CRC-32] of a file, read without holding it in memory."""
    size = crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(_READ):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return [size, crc]


def crc_of(body: Any) -> int:
    """Return the CRC-32 of what JSON holds."""
    # Sorted: the order of keys is no part of the content.
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def check_room(folder: Path, size: int) -> None:
    """Raise an OSError naming a folder whose disk has not so many bytes left."""
    if (free := shutil.disk_usage(folder).free) < size:
        text = f"{os.strerror(errno.ENOSPC)}: {free} bytes are free, {size} are needed"
        raise OSError(errno.ENOSPC, text, str(folder))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put a first SIGINT or SIGTERM off to the end; the second acts at once.

    For orbax, whose threads go on writing, and fail as the interpreter ends, when an
    interruption takes its caller away.
    """
    late: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def put_off(number: int, _: object) -> None:
        late.append(number)
        restore()

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    handlers = {n: h for n, h in handlers.items() if h is not None}  # None: not ours
    for number in handlers:
        signal.signal(number, put_off)
    try:
        yield
    finally:
        restore()
        if late:  # also where the work failed: as of a process that was told to end too
            signal.raise_signal(late[0])
