"""Figures of a comparison of regularisers: curves, mean z^2 by layer, weights.

Each function takes cells of :mod:`pruning.regularisers.cells`, all of one experiment,
and returns a :class:`matplotlib.figure.Figure` that belongs to no backend, no window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synaptax.reports.drawing import COLOURS, blank

_DASHES = ("-", "--", "-.", ":", "-")  # apart in shape as well as in colour
_JOINED = 8  # bins of a recorded histogram in one that is drawn

Cells = Sequence[Mapping[str, Any]]


def by_method(cells: Cells) -> dict[str, list[Mapping[str, Any]]]:
    """Return the cells of each method, in the order in which methods appear."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault(cell["method"], []).append(cell)
    return groups


def curves(cells: Cells, *, title: str = "") -> Any:
    """Draw error, cross-entropy and the penalty R over time, mean and range of seeds.

    Args:
        cells: the cells.
        title: the first line.
    """
    figure = blank(11.5, 3.8)
    error, loss, penalty = figure.subplots(1, 3)
    where = cells[0]["curves"]["watched"]
    for index, (method, own) in enumerate(by_method(cells).items()):
        errors = 100 * np.array([cell["curves"]["error"] for cell in own])
        losses = np.array([cell["curves"]["loss"] for cell in own])
        # R: mean over layers of the mean of z^2 within a layer.
        squares = np.array(
            [list(cell["curves"]["mean_squares"].values()) for cell in own]
        ).mean(axis=1)
        epochs = own[0]["curves"]["epochs"]
        _band(error, 1 + np.arange(errors.shape[1]), errors, index, method)
        _band(loss, epochs, losses, index, method)
        _band(penalty, epochs, squares, index, method)
    error.set(xlabel="epoch", ylabel=f"{where} error (%)", yscale="log")
    loss.set(xlabel="epoch", ylabel=f"{where} cross-entropy (nats)", yscale="log")
    penalty.set(xlabel="epoch", ylabel="R, mean over layers of mean z²", yscale="log")
    return _finished(figure, title, legend=True)


def layers(cells: Cells, *, title: str = "") -> Any:
    """Draw the mean of z^2 of each layer over time, a panel each.

    Args:
        cells: the cells.
        title: the first line.
    """
    paths = list(cells[0]["curves"]["mean_squares"])
    columns = min(len(paths), 4)
    rows = -(-len(paths) // columns)
    figure = blank(2.8 * columns + 0.4, 2.6 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel in panels[len(paths) :]:
        panel.set_visible(False)
    for panel, path in zip(panels, paths, strict=False):
        for index, (method, own) in enumerate(by_method(cells).items()):
            values = np.array([cell["curves"]["mean_squares"][path] for cell in own])
            _band(panel, own[0]["curves"]["epochs"], values, index, method)
        panel.set(title=path, yscale="log", xlabel="epoch")
    for row in panels[::columns]:
        row.set_ylabel("mean z²")
    return _finished(figure, title, legend=True)


def weights(cells: Cells, *, title: str = "", share: float = 0.998) -> Any:
    """Draw the second layer's weights of each method's first seed, as histograms.

    Args:
        cells: the cells.
        title: the first line.
        share: of the weights of the widest method that the axis spans.
    """
    groups = by_method(cells)
    figure = blank(7.0, 4.0)
    panel = figure.subplots()
    reach = 0.0
    for (method, own), colour in zip(groups.items(), COLOURS, strict=False):
        histogram = own[0]["weights"]
        counts, edges = _coarser(histogram)
        far = np.abs(edges[1:] + edges[:-1]) / 2
        nearest = np.argsort(far)
        within = np.searchsorted(np.cumsum(counts[nearest]), share * counts.sum())
        reach = max(reach, float(far[nearest[min(within, len(far) - 1)]]))
        panel.stairs(counts / counts.sum(), edges, color=colour, label=method)
    name = cells[0]["weights"]["name"]
    panel.set(
        xlim=(-reach, reach),
        yscale="log",
        xlabel=f"value of a weight of {name}",
        ylabel=f"share of the weights per {_JOINED * cells[0]['weights']['width']:g}",
    )
    panel.legend()
    return _finished(figure, title)


def _coarser(histogram: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges of a cell's histogram, bins joined, 0 on an edge."""
    ahead = histogram["first"] % _JOINED
    counts = np.concatenate([np.zeros(ahead), np.asarray(histogram["counts"], float)])
    counts = np.concatenate([counts, np.zeros(-len(counts) % _JOINED)])
    counts = counts.reshape(-1, _JOINED).sum(1)
    first = (histogram["first"] - ahead) // _JOINED
    return counts, _JOINED * histogram["width"] * (first + np.arange(len(counts) + 1))


def _band(panel: Any, x: Any, values: np.ndarray, index: int, label: str) -> None:
    """Draw the mean over seeds as a line, the range as a band."""
    colour = COLOURS[index % len(COLOURS)]
    dash = _DASHES[index % len(_DASHES)]
    panel.plot(x, values.mean(0), dash, color=colour, label=label, linewidth=1.6)
    if len(values) > 1:
        panel.fill_between(
            x, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0
        )


def _finished(figure: Any, title: str, *, legend: bool = False) -> Any:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for panel in figure.axes:
        if panel.get_xlabel() == "epoch":
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if panel.get_yscale() == "log" and legend:
            # Plain numbers, and two at least also where the axis spans little.
            low, high = panel.get_ylim()
            near = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
            subs = near if high < 6 * low else [1.0, 2.0, 5.0]
            few = MaxNLocator(5) if high < 2 * low else LogLocator(subs=subs)
            panel.yaxis.set_major_locator(few)
            panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    if legend:  # one for all panels, beside them
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(title)
    return figure
