"""Draw the recorded success curves, and the measurements on theory.

Command: ``python -m binary.experiments.figures``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from binary.commands import overlay_figures
from binary.experiments.record import RECORDED
from synaptax.reports.drawing import COLOURS, GREY, blank, save_png
from synaptax.runs.folder import read_json

# method: (label, line, marker); apart in shape as well as in colour.
_SERIES = {
    "straight-through": ("straight-through SGD", ":", "x"),
    "free": ("ascent, 300 epochs", "-", "o"),
    "free-minibatch": ("ascent in minibatches, 300 epochs", "--", "s"),
    "power-300": ("ascent, annealed norm, 300 epochs", "-", "^"),
    "power-3000": ("ascent, annealed norm, 3,000 epochs", "-", "v"),
    "sbpi": ("SBPI", "-.", "D"),
    "amp": ("reinforced AMP", "--", "P"),
}
_CAPACITY = 0.8330786  # no margin; binary.theory.capacity()


def success() -> Any:
    """Draw the share of instances solved against load, with Wilson bands."""
    record = read_json(RECORDED / "success_n1001.json")
    figure = blank(9.4, 4.4)
    panel = figure.subplots()
    for (method, (label, line, marker)), colour in zip(
        _SERIES.items(), COLOURS, strict=False
    ):
        rows = [row for row in record["rows"] if row["method"] == method]
        load, value, low, high = np.array(
            [[r["load"], *(100 * r[k] for k in ("value", "low", "high"))] for r in rows]
        ).T
        panel.plot(load, value, line, marker=marker, color=colour, label=label, ms=5)
        panel.fill_between(load, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.axvline(_CAPACITY, color=GREY, linewidth=1)
    panel.text(_CAPACITY - 0.008, 50, "capacity", color=GREY, rotation=90, ha="right")
    most = max(row["total"] for row in record["rows"])
    panel.set(
        xlabel="load (patterns / weights)",
        ylabel="instances solved (%)",
        ylim=(-3, 103),
        title=f"Binary perceptron, N = {record['size']}; up to {most} instances each",
    )
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return figure


def main(folder: Path = RECORDED) -> None:
    """Write the figures."""
    record = read_json(RECORDED / "overlay.json")
    overlays = overlay_figures.figures(record["results"], record["config"]["alpha"])
    for name, figure in {"success_n1001": success(), **overlays}.items():
        print(save_png(figure, folder / f"{name}.png"))


if __name__ == "__main__":
    main()
