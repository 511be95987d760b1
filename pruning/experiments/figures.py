"""Draw the recorded figures of this package from its records.

Command: ``python -m pruning.experiments.figures``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pruning.comparison import report
from pruning.experiments import (
    _psp_cells,
    _results_compare,
    _results_deep,
    _results_frontier,
    psp_deep,
)
from pruning.experiments._variants import RECORDED
from pruning.experiments.results import PAPER
from pruning.regularisers import figures
from synaptax.reports.drawing import COLOURS, GREY, blank, save_png
from synaptax.runs import read_json

# variant: (label, line, marker); apart in shape as well as in colour.
_SERIES = {
    "unspecific": ("sensitivity, unspecific", "-", "o"),
    "specific": ("sensitivity, specific", "--", "s"),
    "loss-sensitivity": ("sensitivity of the loss", "-.", "^"),
    "l2": ("plain decay", ":", "D"),
    "one-shot": ("one cut by magnitude", "-", "v"),
    "one-shot-rewind": ("one cut, rewound", "--", "x"),
}
_LAYERS = {
    "Conv_0/relu_0": "first convolution",
    "Conv_1/relu_0": "second convolution",
    "relu_0": "dense layer",
    "logits": "logits",
}
_NAMES = {
    "none": "no regulariser",
    "l2": "L2",
    "l1": "L1",
    "dropout": "dropout",
    "psp": "PSP penalty",
    "psp+l2": "PSP and L2",
}


def frontier() -> Any:
    """Draw error against compression of LeNet-300 with bands of a standard error."""
    figure = blank(7.2, 4.4)
    panel = figure.subplots()
    for (variant, (label, line, marker)), colour in zip(
        _SERIES.items(), COLOURS, strict=False
    ):
        points = _points(read_json(RECORDED / f"lenet300_mnist-{variant}.json"))
        ratio, error, spread = np.array(points).T
        panel.plot(ratio, error, line, marker=marker, color=colour, label=label, ms=6)
        panel.fill_between(
            ratio, error - spread, error + spread, color=colour, alpha=0.18, linewidth=0
        )
    dense = read_json(RECORDED / "lenet300_mnist-unspecific.json")["frontier"][0]
    level = 100 * dense["test_error"]["mean"]
    panel.axhline(level, color=GREY, linewidth=1)
    panel.text(23.5, level + 0.05, "dense", color=GREY)
    paper = [row for row in PAPER[0][2] if row[0].startswith("sensitivity")]
    panel.plot(
        [ratio for _, ratio, _ in paper],
        [error for *_, error in paper],
        "*",
        color="black",
        markersize=11,
        label="the paper's, as remembered",
    )
    panel.set(
        xscale="log",
        xlabel="compression (all parameters / those kept)",
        ylabel="test error (%)",
        title="LeNet-300-100 on MNIST, 5 seeds, band: standard error",
        xlim=(12, 135),
    )
    ticks = [15, 20, 30, 50, 70, 100]
    panel.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    return figure


def by_schedule() -> Any:
    """Draw LeNet-300's frontier by a schedule beside that by the plateau rule."""
    figure = blank(7.2, 4.4)
    panel = figure.subplots()
    rule = _points(read_json(RECORDED / "lenet300_mnist-unspecific.json"))
    series = {"by the plateau rule, 5 seeds": rule}
    for cells, points in _results_frontier.groups():
        name = f"by a schedule, {cells[0]['variant']}, {len(cells)} seeds"
        errors = 100 * np.array([point["test_error"] for point in points])
        spread = float(errors.std(ddof=1) / np.sqrt(len(errors))) if cells[1:] else 0.0
        folded = float(np.mean([point["folded"] for point in points]))
        series[name] = [(folded, float(errors.mean()), spread)]
    for (name, points), colour, marker in zip(
        series.items(), COLOURS, "osv^D<>", strict=False
    ):
        ratio, error, spread = np.array(points).T
        panel.errorbar(
            ratio, error, spread, marker=marker, color=colour, label=name, capsize=3
        )
    ratio, error = np.array(_results_frontier.LINES).T
    panel.plot(
        ratio, error, "*", color="black", markersize=11, label="the paper's, remembered"
    )
    panel.set(
        xscale="log",
        xlabel="compression (all parameters / those kept; by a schedule: folded)",
        ylabel="test error (%)",
        title="LeNet-300-100 on MNIST, sensitivity: mean and standard error",
        xlim=(20, 135),
    )
    ticks = [20, 30, 50, 70, 100]
    panel.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    return figure


def _points(record: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Return (compression, error, its standard error) of the points asked for."""
    return [
        (
            point["compression"]["mean"],
            100 * point["test_error"]["mean"],
            100 * point["test_error"]["se"],
        )
        for point in record["frontier"]
        if point["target"] not in (None, 1.0)
    ]


def penalty() -> dict[str, Any]:
    """Draw the comparisons of regularisers from the cells."""
    drawings: dict[str, Any] = {}
    for experiment, data in (("psp_mnist", "MNIST"), ("psp_fashion", "Fashion-MNIST")):
        recorded = _psp_cells.read(RECORDED, experiment)
        cells = [
            _spelled_out(cell)
            for name in _NAMES
            for cell in recorded
            if cell["variant"] == name
        ]
        seeds = len({cell["seed"] for cell in cells})
        title = f"LeNet-5 on {data}, {seeds} seeds: mean and range"
        drawings[f"{experiment}-curves"] = figures.curves(cells, title=title)
        if experiment == "psp_mnist":
            drawings[f"{experiment}-layers"] = figures.layers(cells, title=title)
            drawings[f"{experiment}-weights"] = figures.weights(
                cells, title="LeNet-5 on MNIST, seed 0, after 50 epochs"
            )
    return drawings


def deep_networks() -> dict[str, Any]:
    """Draw the comparison of regularisers in deep networks, what is recorded of it."""
    drawings: dict[str, Any] = {}
    for network, name in _results_deep.NETWORKS.items():
        cells = [
            {**cell, "method": _NAMES[cell["method"]]}
            for method in psp_deep.METHODS
            for cell in _results_deep.read(network)
            if cell["method"] == method
        ]
        if not cells:
            continue
        seeds = len({cell["seed"] for cell in cells})
        title = f"{name}, narrow, CIFAR-10 as JPEG, seeds: {seeds}, mean and range"
        drawings[f"psp_deep-{network}-curves"] = figures.curves(cells, title=title)
        drawings[f"psp_deep-{network}-layers"] = figures.layers(
            [_few_layers(cell) for cell in cells], title=title
        )
        drawings[f"psp_deep-{network}-weights"] = figures.weights(
            cells, title=f"{name}, narrow, seed 0, after 24 epochs"
        )
    return drawings


def _few_layers(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell with the curves of at most eight layers, both ends included."""
    curves = cell["curves"]
    squares = list(curves["mean_squares"].items())
    count = min(8, len(squares))
    places = [round(i * (len(squares) - 1) / max(count - 1, 1)) for i in range(count)]
    few = {
        path.removeprefix("inner/"): own for path, own in (squares[i] for i in places)
    }
    return {**cell, "curves": {**curves, "mean_squares": few}}


def _spelled_out(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell whose method and layers have the names a reader knows."""
    curves = cell["curves"]
    squares = {_LAYERS[path]: own for path, own in curves["mean_squares"].items()}
    return {
        **cell,
        "method": _NAMES[cell["variant"]],
        "curves": {**curves, "mean_squares": squares},
    }


def main(folder: Path = RECORDED) -> None:
    """Write the figures."""
    drawings = {"lenet300_mnist-frontier": frontier(), **penalty(), **deep_networks()}
    drawings["frontier_lenet300-frontier"] = by_schedule()
    for one in _results_compare.EXPERIMENTS:
        title = f"{one.title}, {one.config.budget} epochs each"
        if _results_compare.drawn(one):
            drawings[one.name] = report.figure(list(one.read().values()), title=title)
    for name, figure in drawings.items():
        print(save_png(figure, folder / f"{name}.png"))


if __name__ == "__main__":
    main()
