"""What commands print: as wide as the terminal, and nothing that could command it."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any


def printable(text: object) -> str:
    """Return text in which nothing acts on a terminal: controls become escapes.

    Names of files and cells of tables are another's text. Escape sequences, changes
    of writing direction, line ends and bytes that are no text are shown, not sent.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in str(text)
    )


@contextmanager
def help_page() -> Iterator[None]:
    """Print what tyro prints within, wrapped to the terminal; plain under NO_COLOR."""
    page = _Page(sys.stdout)
    try:
        with redirect_stdout(page):
            yield
    finally:
        if page.getvalue():
            print(_fitted(page.getvalue(), shutil.get_terminal_size().columns))


class _Page(io.StringIO):
    """Looks to tyro like the terminal, which it asks whether to box and to colour."""

    def __init__(self, terminal: Any) -> None:
        super().__init__()
        self._terminal = terminal

    @property
    def encoding(self) -> str:
        return (self._terminal.encoding or "").lower()

    def isatty(self) -> bool:
        return self._terminal.isatty() and not os.environ.get("NO_COLOR")


def _fitted(text: str, width: int) -> str:
    """Wrap the lines before the first box, which is all that tyro leaves unwrapped."""
    lines: list[str] = []
    boxed = False
    for line in text.rstrip().splitlines():
        boxed = boxed or "╭" in line
        if boxed or line.startswith("  "):  # an example is left as it is
            lines.append(line)
        elif line:
            hang = {"- ": 2, "us": 4}.get(line[:2], 0) * " "
            lines += textwrap.wrap(
                line, width, subsequent_indent=hang, break_on_hyphens=False
            )
        elif lines and lines[-1]:  # tyro doubles the blank line before a list
            lines.append("")
    return "\n".join(lines)
