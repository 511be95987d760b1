"""How far a long run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

_QUIET_S = 30.0  # between two lines where there is no terminal


class Progress:
    """Shows the epochs of a run's stages; a context manager.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._bar: Any = None
        self._quiet = quiet
        self._spoke = time.monotonic()

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def stage(
        self, name: str, done: int, epochs: int
    ) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Show one stage; yields the function to call after each epoch."""
        task = None
        if self._bar is not None:
            task = self._bar.add_task(name, total=epochs, completed=done, text="")
        count = done

        def report(record: Mapping[str, Any]) -> None:
            nonlocal count
            count += 1
            text = _said(record)
            if self._bar is not None:
                self._bar.update(task, completed=count, text=text)
            elif not self._quiet and (
                time.monotonic() - self._spoke > _QUIET_S or count == epochs
            ):
                self._spoke = time.monotonic()
                print(f"{name} {count}/{epochs}  {text}", file=sys.stderr, flush=True)

        yield report


def _said(record: Mapping[str, Any]) -> str:
    """Return loss and error of an epoch, of the best kind of data that it has."""
    for where in ("validation", "test", "train"):
        if f"{where}_loss" in record:
            text = f"loss {np.mean(record[f'{where}_loss']):.4f}"
            if f"{where}_error" in record:
                text += f" error {100 * np.mean(record[f'{where}_error']):.2f} %"
            return f"{text} ({where})"
    return f"loss {np.mean(record['loss']):.4f}" if "loss" in record else ""


def _bar() -> Any:
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError as error:
        raise ImportError(
            "the progress bar needs rich: pip install 'synaptax[lab]'"
        ) from error
    from rich.console import Console

    return Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
    )
