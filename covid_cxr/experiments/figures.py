"""Draw the recorded figures of this package from its records.

Command: ``python -m covid_cxr.experiments.figures``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from covid_cxr.experiments import RECORDED, _results_matrix, _results_planted
from covid_cxr.experiments._findings import area, probe
from covid_cxr.experiments._results_study import FULL
from synaptax.reports.drawing import COLOURS, GREY, blank, save_png
from synaptax.runs import read_json

Row = tuple[str, Mapping[str, Any], int]

_NETWORKS = (
    ("COVID-19 v NIH", "covid-v-nih", "own"),
    ("v NIH, tested on its own collection", "covid-v-nih", "collection"),
    ("COVID-19 v both sets", "collection-and-nih", "own"),
    ("v both sets, tested on its own collection", "collection-and-nih", "collection"),
)
_PROBES = (
    ("linear model of the borders alone", "linear, border only"),
    ("linear model of the whole image", "linear, whole radiograph"),
    ("linear, labels shuffled in each source", "labels shuffled within source"),
)


def areas() -> Any:
    """Draw what networks and probes reach on the real radiographs."""
    rows: list[Row] = [
        (f"network, {title}", area("covid", mix, test), 0)
        for title, mix, test in _NETWORKS
    ]
    rows.append(("network, NIH pneumonia v none", area("pneumonia", "nih", "own"), 0))
    rows += [
        (f"full width, {title}", area("covid", mix, test, FULL), 2)
        for title, mix, test in _NETWORKS
    ]
    pneumonia = area("pneumonia", "nih", "own", FULL)
    rows.append(("full width, NIH pneumonia v none", pneumonia, 2))
    rows += [
        (f"{title}, COVID-19 v NIH", probe("covid", "covid-v-nih", name), 1)
        for title, name in _PROBES
    ]
    figure = _intervals(
        rows,
        "area under the ROC curve, 95 % interval by patient",
        ("narrow network, 64x64", "linear probe, 64x64", "full width, 128x128"),
    )
    panel = figure.axes[0]
    panel.axvline(0.5, color=GREY, linewidth=1)
    panel.text(0.503, -0.6, "chance", color=GREY, va="center")
    panel.set(xlim=(0.45, 1.01), title="COVID-19 collection and NIH, 3 seeds")
    return figure


def dice() -> Any:
    """Draw the Dice coefficient of lung masks on every set."""
    phantom = read_json(RECORDED / "segmentation_phantom.json")
    covid = read_json(RECORDED / "segmentation_covid.json")
    rows: list[Row] = [
        (
            f"real, {covid['folds']} folds, {covid['films']} radiographs",
            covid["mean"]["dice"],
            0,
        )
    ]
    rows += [
        (
            "synthetic, as trained"
            if name == "as trained"
            else f"synthetic, shortcut: {name}",
            one["mean"]["dice"],
            1,
        )
        for name, one in phantom["sets"].items()
    ]
    rows += [
        (f"trained on {name.replace(' on ', ', judged on ')}", one, 2)
        for name, one in covid["across"].items()
    ]
    figure = _intervals(
        rows,
        "Dice coefficient, 95 % interval by patient",
        ("real", "synthetic", "across sources"),
    )
    figure.axes[0].set(title="Lung masks of a U-Net of depth 3, width 8, 64x64")
    return figure


def _intervals(rows: Sequence[Row], label: str, kinds: Sequence[str]) -> Any:
    """Draw an interval a row, its name at the left, one shape and colour a kind."""
    figure = blank(8.4, 0.36 * len(rows) + 1.3)
    panel = figure.subplots()
    named: set[int] = set()
    for y, (_, found, kind) in enumerate(rows):
        value, low, high = (float(found[key]) for key in ("value", "low", "high"))
        panel.plot([low, high], [y, y], color=COLOURS[kind], linewidth=2)
        panel.plot(
            value,
            y,
            "osD"[kind],
            color=COLOURS[kind],
            label=None if kind in named else kinds[kind],
        )
        named.add(kind)
    panel.set_yticks(range(len(rows)), [name for name, *_ in rows])
    panel.set(xlabel=label, ylim=(len(rows) - 0.4, -1))
    panel.grid(alpha=0.3, axis="x")
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def main(folder: Path = RECORDED) -> None:
    """Write the figures."""
    drawn = {"study_real-areas": areas(), "segmentation-dice": dice()}
    held = _results_planted.record()
    if held is not None and held["table"]:
        drawn["planted_shortcuts-seen"] = _results_planted.figure()
    if _results_matrix.held("matrix") is not None:
        drawn["matrix-intervals"] = _results_matrix.figure()
    for name, figure in drawn.items():
        print(save_png(figure, folder / f"{name}.png"))


if __name__ == "__main__":
    main()
