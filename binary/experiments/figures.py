"""Draw the recorded success curves, and the measurements on theory.

Command: ``python -m binary.experiments.figures``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from binary.commands import overlay_figures
from binary.experiments import teacher_n1001
from binary.experiments.record import RECORDED
from binary.methods import METHODS
from binary.theory import spinodal
from synaptax.reports.drawing import COLOURS, GREY, blank, save_png
from synaptax.runs import read_json

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


# beyond 0.68, where what the field calls hard begins
_HARD = {
    "power-3000": ("ascent, annealed norm, 3,000 epochs", "-", "v"),
    "amp": ("reinforced AMP, 2,000 passes", "--", "P"),
    "amp-restarts": ("reinforced AMP, 8 attempts of 500 passes", "-", "o"),
}


def success() -> Any:
    """Draw the share of instances solved against load, with Wilson bands."""
    record = read_json(RECORDED / "success_n1001.json")
    return _shares(record["rows"], record["size"], _SERIES)


def hard() -> Any:
    """Draw the same for the hard loads, of the record of all methods and its sequel."""
    record = read_json(RECORDED / "success_hard_n1001.json")
    rows = read_json(RECORDED / "success_n1001.json")["rows"] + record["rows"]
    rows = [row for row in rows if row["load"] >= 0.68]
    return _shares(rows, record["size"], _HARD)


def _shares(
    rows: Sequence[Mapping[str, Any]],
    size: int,
    series: Mapping[str, tuple[str, str, str]],
) -> Any:
    figure = blank(9.4, 4.4)
    panel = figure.subplots()
    for (method, (label, line, marker)), colour in zip(
        series.items(), COLOURS, strict=False
    ):
        own = [row for row in rows if row["method"] == method]
        load, value, low, high = np.array(
            [[r["load"], *(100 * r[k] for k in ("value", "low", "high"))] for r in own]
        ).T
        panel.plot(load, value, line, marker=marker, color=colour, label=label, ms=5)
        panel.fill_between(load, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.axvline(_CAPACITY, color=GREY, linewidth=1)
    panel.text(_CAPACITY - 0.008, 50, "capacity", color=GREY, rotation=90, ha="right")
    most = max(row["total"] for row in rows)
    panel.set(
        xlabel="load (patterns / weights)",
        ylabel="instances solved (%)",
        ylim=(-3, 103),
        title=f"Binary perceptron, N = {size}; up to {most} instances each",
    )
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return figure


def committees() -> Any:
    """Draw the share of committees solved against patterns a weight."""
    record = read_json(RECORDED / "success_committee_n1001.json")
    figure = blank(7.5, 4.4)
    panel = figure.subplots()
    for index, method in enumerate(dict.fromkeys(r["method"] for r in record["rows"])):
        own = [row for row in record["rows"] if row["method"] == method]
        units = int(method.rpartition("-")[2])
        load, value, low, high = np.array(
            [
                [r["load"] / units, *(100 * r[k] for k in ("value", "low", "high"))]
                for r in own
            ]
        ).T
        counts = "/".join(dict.fromkeys(str(row["total"]) for row in own))
        panel.errorbar(
            load,
            value,
            np.maximum([value - low, high - value], 0),
            color=COLOURS[index],
            marker="osD^"[index],
            linestyle=("-", "--", "-.", ":")[index],
            capsize=3,
            label=f"K = {units}, {counts} instances",
        )
    panel.set(
        xlabel="load per weight, M / (K N)",
        ylabel="instances solved (%)",
        ylim=(-3, 103),
        title=f"Committee machines, N = {record['size']}, 1,000 epochs of annealed "
        "ascent",
    )
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize="small")
    return figure


def courses() -> Any:
    """Draw energy and q* against epochs, a panel each, with standard errors."""
    record = read_json(RECORDED / "course_n1001.json")
    figure = blank(10.0, 4.2)
    panels = figure.subplots(1, 2)
    labels = ("patterns that sign(m) gets wrong (%)", "q*, mean square of m")
    for index, one in enumerate(record["courses"]):
        method = METHODS[one["method"]]
        for panel, name, unit in zip(
            panels, ("energy", "overlap"), (100, 1), strict=True
        ):
            mean = unit * np.array(one[name])
            panel.errorbar(
                record["epochs"],
                mean,
                unit * np.array(one[f"{name}_error"]),
                color=COLOURS[index],
                marker="osD^"[index],
                linestyle=("-", "--", "-.", ":")[index],
                ms=4,
                label=f"{method.label}, {method.epochs} epochs",
            )
    for panel, label in zip(panels, labels, strict=True):
        panel.set(xlabel="epoch", ylabel=label, xlim=(0, None), ylim=(0, None))
        panel.set_xscale("symlog", linthresh=1)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(
        f"Mean of {record['instances']} instances, N = {record['size']}, load "
        f"{record['load']:g}"
    )
    return figure


def recovery() -> Any:
    """Draw the overlap with the teacher of the best weights, on the RS curve."""
    record = read_json(RECORDED / "teacher_n1001.json")
    figure = blank(7.5, 4.4)
    panel = figure.subplots()
    end = spinodal().alpha
    loads = np.linspace(0.9, end - 1e-6, 60)
    theory = np.array([teacher_n1001.expected(float(load)) for load in loads])
    panel.plot(loads, theory[:, 0], color=GREY, label="RS, a random solution")
    centre = "RS, the centre of all solutions"
    panel.plot(loads, theory[:, 1], "--", color=GREY, label=centre)
    panel.axvline(end, color=GREY, ls=":", label=f"spinodal, {end:.4f}")
    for index, method in enumerate(dict.fromkeys(c["method"] for c in record["cells"])):
        own = [cell for cell in record["cells"] if cell["method"] == method]
        overlaps = np.array([cell["overlap"] for cell in own])
        panel.errorbar(
            [cell["load"] + 0.006 * (index - 1) for cell in own],  # apart from others
            overlaps.mean(axis=1),
            overlaps.std(axis=1, ddof=1) / overlaps.shape[1] ** 0.5,
            marker="osD"[index],
            linestyle=("--", "-", "-.")[index],
            color=COLOURS[index],
            capsize=2,
            ms=5,
            label=f"{METHODS[method].label}, {METHODS[method].epochs} epochs",
        )
    panel.set(
        xlabel="load (patterns / weights)",
        ylabel="overlap of the best weights with the teacher",
        title=f"Teacher and student, N = {record['size']}, "
        f"{record['instances']} instances a point",
    )
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize="small")
    return figure


def main(folder: Path = RECORDED) -> None:
    """Write the figures."""
    record = read_json(RECORDED / "overlay.json")
    overlays = overlay_figures.figures(record["results"], record["config"]["alpha"])
    plots = {
        "success_n1001": success(),
        "success_hard_n1001": hard(),
        "success_committee_n1001": committees(),
        "course_n1001": courses(),
        "teacher_n1001": recovery(),
    }
    for name, figure in (plots | overlays).items():
        print(save_png(figure, folder / f"{name}.png"))


if __name__ == "__main__":
    main()
