"""Figures of the commands ``solve`` and ``success``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synaptax.reports.drawing import COLOURS, blank
from synaptax.runs.files import replacing

MARKERS = "osD^vPX"


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)
    return path


def course(traces: Mapping[str, tuple[np.ndarray, np.ndarray]], patterns: int) -> Any:
    """Draw training error and q* against epochs, a line a method.

    Args:
        traces: name to (errors, self-overlap) at epochs 0, 1, ...
        patterns: M, the denominator of the errors.
    """
    figure = blank(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    for index, (name, (wrong, overlap)) in enumerate(traces.items()):
        colour = COLOURS[index % len(COLOURS)]
        left.plot(100 * wrong / patterns, color=colour, label=name)
        right.plot(overlap, color=colour, label=name)
        for axes, value in ((left, 100 * wrong[-1] / patterns), (right, overlap[-1])):
            axes.plot(len(wrong) - 1, value, MARKERS[index % 7], color=colour)
    # symlog, since epoch 0 is on the axis.
    left.set(xlabel="epoch", ylabel="wrong patterns of sign(m) (%)", xscale="symlog")
    right.set(xlabel="epoch", ylabel="self-overlap q*", ylim=(0, 1.02), xscale="symlog")
    left.set(xlim=(0, None), ylim=(0, None))
    right.set_xlim(left=0)
    right.legend(frameon=False)
    return figure


def success(
    rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], title: str
) -> Any:
    """Draw success probability against load with 95 % Wilson intervals.

    Args:
        rows: with method, load, value, low and high.
        labels: method to what the legend calls it.
        title: of the figure.
    """
    figure = blank(7.5, 4.4)
    axes = figure.subplots()
    for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own = sorted(
            (r for r in rows if r["method"] == method), key=lambda r: r["load"]
        )
        load, value, low, high = (
            np.array([row[name] for row in own])
            for name in ("load", "value", "low", "high")
        )
        axes.errorbar(
            load,
            100 * value,
            100 * np.maximum([value - low, high - value], 0),
            color=COLOURS[index % 7],
            marker=MARKERS[index % 7],
            capsize=2,
            markersize=5,
            label=labels.get(method, method),
        )
    axes.set(
        xlabel="load α = M / N",
        ylabel="instances solved (%)",
        ylim=(-3, 103),
        title=title,
    )
    axes.legend(frameon=False, fontsize="small")
    return figure
