"""Locks that a process loses when it ends, however it ends.

They are the system's (``flock``): nothing is left to tidy up after a kill. Where a
system or a file system has none, nothing is locked, and a warning says so.
"""

from __future__ import annotations

import logging
import os
import platform
import weakref
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

_NAME = ".lock"
_log = logging.getLogger(__name__)


class Lock:
    """A locked file; given back when nobody holds this object any more."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


_held: weakref.WeakValueDictionary[tuple[int, int], Lock] = (
    weakref.WeakValueDictionary()
)


def take(descriptor: int, *, wait: bool = False) -> bool | None:
    """Lock an open file; say whether it was free, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks.
        return None
    return True


def hold(folder: Path) -> Lock | None:
    """Lock a folder against other processes; this one may lock it again.

    Returns:
        To be kept while the lock is wanted; None where there are no locks.

    Raises:
        ValueError: naming the folder and who has locked it.
        OSError: if the folder cannot be written.
    """
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    stat = os.fstat(descriptor)
    # By device and inode, whatever path leads there. A second flock from this process
    # would be refused as another's, so the first one's object is shared.
    key = stat.st_dev, stat.st_ino
    if (own := _held.get(key)) is not None:
        os.close(descriptor)
        return own
    free = take(descriptor)
    if free:
        with suppress(OSError):  # only to tell others
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {platform.node()}".encode())
        _held[key] = lock = Lock(descriptor)
        return lock
    owner = os.read(descriptor, 200).decode(errors="replace")
    os.close(descriptor)
    if free is None:
        _log.warning("%s: no locks here; only one process may use it", folder)
        return None
    raise ValueError(f"{folder}: process {owner} is at this run: wait for it or end it")
