"""What every benchmark shares: fair timing, a table of ratios, a JSON record."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from synaptax.runs import write_json
from synaptax.runs.machine import environment


class Timing(NamedTuple):
    """How long one function took, in seconds.

    Attributes:
        best: the shortest of the runs; the least disturbed by other work.
        median: the median of the runs.
    """

    best: float
    median: float


def measure(
    functions: Mapping[str, Callable[..., Any]],
    *args: Any,
    repeats: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time functions side by side on the same arguments.

    Each is called once first, to compile; then all are called in turn, ``repeats``
    times over, so that a slow moment of the machine falls on all alike.

    Args:
        functions: name to function; results may be any pytree of arrays.
        *args: passed to every function.
        repeats: rounds that are timed, at least 1.
        clock: seconds; ``time.process_time`` for the time that this process, all its
            threads, spent computing, which other work on the machine hardly disturbs.

    Returns:
        Name to :class:`Timing`, in the order given.

    Raises:
        ValueError: if ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats: expected at least 1, got {repeats}")
    for function in functions.values():
        jax.block_until_ready(function(*args))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            # A call returns before its work is done.
            jax.block_until_ready(function(*args))
            seconds[name].append(clock() - start)
    return {
        name: Timing(min(runs), statistics.median(runs))
        for name, runs in seconds.items()
    }


def write(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows to a JSON file with the versions and the device, whole or not at all.

    Args:
        path: the file; its folder is made if need be.
        rows: one mapping of JSON values per line of the table.

    Returns:
        The path written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**environment(), "rows": [dict(row) for row in rows]})
    return path


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as aligned text, the first row's keys as the head.

    Args:
        rows: mappings with the same keys; numbers are set to the right.
    """
    if not rows:
        return ""
    names = list(rows[0])
    cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    numeric = [isinstance(rows[0][name], int | float) for name in names]
    lines = []
    for line in cells:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
