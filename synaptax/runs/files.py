"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class FileError(ValueError):
    """A file is damaged, foreign or out of range; names the file and the field."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary binary file that takes the place of ``path`` when whole.

    The temporary file lies beside ``path`` under a name of its own, so that several
    processes may write the same file; the last one to finish wins.
    """
    # Not tempfile: its files are closed to other users, and the result would be too.
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
