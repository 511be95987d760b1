"""Figures of entropies, spectra, errors and paths.

Each function takes plain arrays and returns a :class:`matplotlib.figure.Figure` that
belongs to no window; :func:`save` writes it as PNG and PDF. Planes of weights are
drawn by :mod:`analysis.plane_plots`. Colours are those of
:mod:`synaptax.reports.drawing` and matplotlib's ``cividis``, both told apart by
colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synaptax.reports import drawing
from synaptax.reports.drawing import COLOURS, GREY
from synaptax.runs.files import replacing

COLUMNS = 6  # panels in a row at most
MARKERS = "osD^vX*"

Series = Mapping[str, Any]

blank = partial(drawing.blank, extra="analysis")


def save(figure: Any, path: str | Path, *, dpi: int = 120) -> list[Path]:
    """Write a figure as PNG and as PDF, each whole or not at all.

    Args:
        figure: of one of the functions here.
        path: where to; its suffix, if any, is replaced by ``.png`` and ``.pdf``.
        dpi: dots per inch of the PNG.

    Returns:
        The two paths.

    Raises:
        OSError: if the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    # Without its date in the file the same figure is the same PDF.
    undated: Any = {"metadata": {"CreationDate": None}}
    small: Any = {"pil_kwargs": {"optimize": True}}
    for kind, options in (("png", small), ("pdf", undated)):
        target = path.with_suffix(f".{kind}")
        with replacing(target) as file:
            figure.savefig(file, format=kind, dpi=dpi, **options)
        written.append(target)
    return written


def entropy_histograms(
    layers: Mapping[str, Series], *, maximum: float = 1.0, title: str = ""
) -> Any:
    """Draw the distribution of neurons' PSP-entropy, a panel a layer.

    Args:
        layers: layer to name of a network to its histogram: counts of neurons in
            equal bins of [0, ``maximum``].
        maximum: right end of the last bin, in bits per class.
        title: the first line.

    Returns:
        A figure; each panel shows shares of the neurons counted, so that layers with
        few live neurons can be compared.

    Raises:
        ValueError: if there is no layer.
    """
    _check_any("layers", layers)
    columns, rows = min(len(layers), COLUMNS), -(-len(layers) // COLUMNS)
    side = 3.4 if rows == 1 else 2.0
    figure = blank(side * columns + 0.4, side * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis in axes[len(layers) :]:
        axis.set_axis_off()
    for axis, (layer, networks) in zip(axes, layers.items(), strict=False):
        for index, (name, counts) in enumerate(networks.items()):
            counts = np.asarray(counts, np.float64)
            edges = np.linspace(0, maximum, counts.size + 1)
            total = counts.sum()
            axis.stairs(
                100 * counts / max(total, 1),
                edges,
                color=COLOURS[index],
                lw=1.8,
                label=f"{name} ({int(total):,})",
            )
        axis.set_title(layer, fontsize=10)
        axis.legend(fontsize=8 if rows == 1 else 6, title="neurons", title_fontsize=8)
        _grid(axis)
    figure.supxlabel("PSP-entropy (bits per class)", fontsize=10)
    figure.supylabel("neurons in the bin (%)", fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def spectra(curves: Mapping[str, Series], *, title: str = "") -> Any:
    """Draw spectral densities with their bands, a panel each.

    Args:
        curves: name to a mapping with ``grid``, ``density``, ``se`` (one standard
            error over probes), ``bandwidth``, and optionally ``pruned``: the share of
            weights whose eigenvalue is exactly 0 because they are pruned.
        title: the first line.

    Returns:
        A figure with a logarithmic density of the surviving weights; the spike at
        zero is written out, not drawn.

    Raises:
        ValueError: if there is no curve.
    """
    _check_any("curves", curves)
    figure = blank(8.0, 2.5 * len(curves) + 0.6)
    axes = np.ravel(figure.subplots(len(curves), 1, sharex=True, squeeze=False))
    top = max(float(np.max(curve["density"])) for curve in curves.values())
    # Six decades below the peak: a logarithmic axis has no zero.
    floor = top * 1e-6
    for index, (axis, (name, curve)) in enumerate(
        zip(axes, curves.items(), strict=True)
    ):
        grid, mean = np.asarray(curve["grid"]), np.asarray(curve["density"])
        error = np.asarray(curve["se"])
        axis.fill_between(
            grid,
            np.maximum(mean - 2 * error, floor),
            np.maximum(mean + 2 * error, floor),
            color=COLOURS[index],
            alpha=0.25,
            lw=0,
            label="± 2 standard errors over probes",
        )
        axis.plot(
            grid, np.maximum(mean, floor), color=COLOURS[index], lw=1.6, label=name
        )
        axis.set_yscale("log")
        axis.set_ylim(floor, 3 * top)
        axis.set_ylabel("density")
        axis.axvline(0, color=GREY, lw=0.8, ls=(0, (4, 3)))
        note = f"survivors; bandwidth {curve['bandwidth']:.2g}"
        if curve.get("pruned"):
            note += (
                f"\nover all weights: a spike of mass {curve['pruned']:.4f} at 0 "
                "(pruned)"
            )
        axis.text(
            0.98, 0.62, note, transform=axis.transAxes, ha="right", va="top", fontsize=8
        )
        axis.legend(fontsize=8, loc="upper right")
        _grid(axis)
    axes[-1].set_xlabel("eigenvalue of the Hessian of the training loss (nats)")
    figure.suptitle(title, fontsize=11)
    return figure


def error_sparsity(curves: Mapping[str, Series], *, title: str = "") -> Any:
    """Draw error against sparsity.

    Args:
        curves: name to a mapping with ``sparsity`` (fractions), ``error`` (fractions)
            and optionally ``se`` (standard errors of the errors).
        title: the first line.

    Returns:
        The figure; sparsity is spread so that each step to the right halves what is
        kept.

    Raises:
        ValueError: if there is no curve, or a sparsity is outside [0, 1).
    """
    _check_any("curves", curves)
    figure = blank(6.4, 4.2)
    axis = figure.subplots()
    least = 1.0
    for index, (name, curve) in enumerate(curves.items()):
        sparsity = np.asarray(curve["sparsity"], np.float64)
        if sparsity.size and not (sparsity.min() >= 0 and sparsity.max() < 1):
            raise ValueError(
                f"sparsity: expected fractions in [0, 1), got {sparsity.tolist()}"
            )
        least = min(least, float((1 - sparsity).min(initial=1)))
        error = 100 * np.asarray(curve["error"], np.float64)
        se = curve.get("se")
        axis.errorbar(
            1 / (1 - sparsity),
            error,
            None if se is None else 100 * np.asarray(se, np.float64),
            fmt=f"{MARKERS[index]}-",
            color=COLOURS[index],
            ms=6,
            lw=1.4,
            capsize=3,
            label=name,
        )
    axis.set_xscale("log", base=2)
    ticks = [2.0**i for i in range(int(np.ceil(np.log2(1 / least))) + 1)]
    axis.set_xticks(ticks, [_percent(1 - 1 / tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("pruned parameters (%)")
    axis.set_ylabel("test error (%)")
    axis.legend(fontsize=9)
    _grid(axis)
    axis.set_title(title, fontsize=11)
    return figure


def along_paths(
    curves: Mapping[str, Series],
    *,
    ends: tuple[str, str] = ("G", "S"),
    label: str = "training loss (nats)",
    title: str = "",
) -> Any:
    """Draw a quantity along lines or curves between two solutions.

    Args:
        curves: name to a mapping with ``t`` and ``loss``.
        ends: what is at t = 0 and t = 1.
        label: of the vertical axis.
        title: the first line.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no curve.
    """
    _check_any("curves", curves)
    figure = blank(6.4, 3.8)
    axis = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        style = f"{MARKERS[index % len(MARKERS)]}-"
        colour = COLOURS[index % len(COLOURS)]
        axis.plot(curve["t"], curve["loss"], style, color=colour, ms=4, label=name)
    axis.set_xlabel(f"position t between {ends[0]} (t = 0) and {ends[1]} (t = 1)")
    axis.set_ylabel(label)
    axis.legend(fontsize=9)
    _grid(axis)
    axis.set_title(title, fontsize=11)
    return figure


def curvature_loss(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    label: str = "top eigenvalue of the Hessian, survivors",
    title: str = "",
) -> Any:
    """Draw curvature against training loss, both on log scales.

    Args:
        curves: name to (losses, curvatures) of each seed, all above 0.
        label: of the vertical axis.
        title: the first line.

    Returns:
        The figure: a thin line a seed; where more than half of them, and two, reach a
        loss their geometric mean and a band of one standard error of its logarithm.

    Raises:
        ValueError: if there is no curve.
    """
    _check_any("curves", curves)
    figure = blank(6.4, 4.2)
    axis = figure.subplots()
    for index, (name, seeds) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        for loss, top in seeds:
            axis.plot(loss, top, ".-", color=colour, lw=0.6, ms=3, alpha=0.5)
        grid, mean, se = _log_band(seeds)
        axis.plot(grid, np.exp(mean), color=colour, lw=2, label=name)
        low, high = np.exp(mean - se), np.exp(mean + se)
        axis.fill_between(grid, low, high, color=colour, alpha=0.2, lw=0)
    axis.set(xscale="log", yscale="log", ylabel=label)
    axis.set_xlabel("training loss (nats)")
    axis.legend(fontsize=9)
    _grid(axis)
    axis.set_title(title, fontsize=11)
    return figure


def _log_band(
    seeds: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return losses, and mean and standard error of log curvature over the seeds."""
    ends = [(min(loss), max(loss)) for loss, _ in seeds]
    grid = np.geomspace(min(e[0] for e in ends), max(e[1] for e in ends), 60)
    logs = np.full((len(seeds), grid.size), np.nan)
    for row, (loss, top) in zip(logs, seeds, strict=True):
        order = np.argsort(loss)
        x, y = np.log(np.take(loss, order)), np.log(np.take(top, order))
        row[:] = np.interp(np.log(grid), x, y, left=np.nan, right=np.nan)
    counts = np.isfinite(logs).sum(axis=0)
    # More than half: a mean over seeds that come and go has steps of its own.
    most = (counts > 1) & (2 * counts > len(seeds))
    grid, logs, counts = grid[most], logs[:, most], counts[most]
    se = np.nanstd(logs, axis=0, ddof=1) / np.sqrt(counts) if grid.size else counts
    return grid, (np.nanmean(logs, axis=0) if grid.size else counts), se


def _check_any(argument: str, series: Mapping[str, Any]) -> None:
    if not series:
        raise ValueError(f"{argument}: expected at least one, got none")


def _percent(fraction: float) -> str:
    """Return a share in percent with no more digits than it takes to tell it apart."""
    return f"{100 * fraction:.3f}".rstrip("0").rstrip(".")


def _grid(axis: Any) -> None:
    axis.grid(alpha=0.3, lw=0.5)
    axis.spines[["top", "right"]].set_visible(False)
