"""The table and the figure of a comparison, from its cells alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pruning.comparison.methods import DENSE
from synaptax.reports.drawing import COLOURS, GREY, blank

Cells = Sequence[Mapping[str, Any]]
CAPTION = (
    "Test error in %: mean ± standard error (seeds). Compression: weights / weights "
    "kept; biases all stay."
)
_MARKERS = "osD^v<>"


class Row(NamedTuple):
    """What a method came to at one compression.

    Attributes:
        method: its name.
        compression: asked for.
        errors: on the test set, a fraction, of each seed.
        gradients: evaluations of a cell.
    """

    method: str
    compression: float
    errors: tuple[float, ...]
    gradients: int

    @property
    def mean(self) -> float:
        """Return the mean test error, a fraction."""
        return float(np.mean(self.errors))

    @property
    def standard_error(self) -> float | None:
        """Return the standard error of the mean; None of one seed."""
        n = len(self.errors)
        return float(np.std(self.errors, ddof=1)) / math.sqrt(n) if n > 1 else None

    @property
    def text(self) -> str:
        """Return mean ± standard error in percent, and over how many seeds."""
        spread = self.standard_error
        error = "" if spread is None else f" ± {100 * spread:.2f}"
        return f"{100 * self.mean:.2f}{error} ({len(self.errors)})"


def rows(cells: Cells) -> list[Row]:
    """Return a row for each method and compression, in the order of the cells."""
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["compression"]), []).append(cell)
    return [
        Row(
            method,
            compression,
            tuple(cell["test_error"] for cell in own),
            own[0]["gradients"],
        )
        for (method, compression), own in groups.items()
    ]


def table(cells: Cells) -> tuple[list[str], list[list[str]]]:
    """Return head and body: methods down, compressions across, test error in %."""
    entries = rows(cells)
    across = sorted({row.compression for row in entries if row.method != DENSE})
    head = ["method", *(f"{c:g}x" for c in across), "gradients a cell"]
    body = []
    for method in dict.fromkeys(row.method for row in entries):
        own = {row.compression: row for row in entries if row.method == method}
        texts = [own[c].text if c in own else "-" for c in across]
        if method == DENSE:
            texts = [own[1.0].text] + [""] * (len(across) - 1)
        body.append([method, *texts, f"{next(iter(own.values())).gradients:,}"])
    return head, body


def verdicts(cells: Cells, examples: int) -> list[str]:
    """Say for each compression which method errs least, and which are not told apart.

    The variance of an error is p (1 - p) / n of n test examples and that over the
    seeds, where there are some; two methods are told apart by two standard errors of
    their difference. Errors on the same examples vary together: that is cautious.

    Args:
        cells: the cells.
        examples: in the test set.
    """
    lines = []
    pruned = [row for row in rows(cells) if row.method != DENSE]
    for compression in sorted({row.compression for row in pruned}):
        own = [row for row in pruned if row.compression == compression]
        best, *others = sorted(own, key=lambda row: row.mean)
        close = [
            row.method
            for row in others
            if row.mean - best.mean
            <= 2 * math.sqrt(_variance(row, examples) + _variance(best, examples))
        ]
        also = f"not told apart: {', '.join(close)}" if close else "ahead of all others"
        lines.append(f"- {compression:g}x: {best.method}, {best.text} %; {also}.")
    return lines


def _variance(row: Row, examples: int) -> float:
    # p (1 - p) / n of n test examples, and the square of the standard error over seeds.
    return row.mean * (1 - row.mean) / examples + (row.standard_error or 0.0) ** 2


def missing(asked: Iterable[Any], cells: Cells) -> list[Any]:
    """Return the asked cells that are not there."""
    there = {(c["method"], c["compression"], c["seed"]) for c in cells}
    return [cell for cell in asked if tuple(cell) not in there]


def figure(cells: Cells, *, title: str = "") -> Any:
    """Draw test error against compression: means, their standard errors as bands.

    Args:
        cells: the cells.
        title: the first line.
    """
    chart = blank(8.0, 5.0)
    axes = chart.subplots()
    entries = rows(cells)
    pruned = [row for row in entries if row.method != DENSE]
    for index, method in enumerate(dict.fromkeys(row.method for row in pruned)):
        own = sorted(
            (row for row in pruned if row.method == method),
            key=lambda row: row.compression,
        )
        x = [row.compression for row in own]
        mean = 100 * np.array([row.mean for row in own])
        spread = 100 * np.array([row.standard_error or 0.0 for row in own])
        colour = COLOURS[index % len(COLOURS)]
        dashes = ("-", "--", ":")[index // len(COLOURS) % 3]
        # Shifted each time the colours come round: a single point has no dashes.
        mark = _MARKERS[(index + 3 * (index // len(COLOURS))) % len(_MARKERS)]
        axes.plot(x, mean, dashes, color=colour, marker=mark, ms=4, label=method)
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2)
    for row in entries:
        if row.method == DENSE:
            axes.axhline(100 * row.mean, color=GREY, lw=1, label="dense")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="compression (weights / weights kept)",
        ylabel="test error (%)",
        title=title,
    )
    ticks = sorted({row.compression for row in pruned})
    axes.set_xticks(ticks, [f"{c:g}" for c in ticks])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    levels = [v for v in (1, 1.5, 2, 3, 5, 10, 20, 50, 90) if low <= v <= high]
    axes.set_yticks(levels, [f"{v:g}" for v in levels])
    axes.legend(fontsize=7, ncols=2)
    return chart
