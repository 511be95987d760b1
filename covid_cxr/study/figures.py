"""The figures of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.metrics import reliability
from covid_cxr.study.summaries import Row, roc_band
from synaptax.reports.drawing import COLOURS, blank
from synaptax.runs.files import replacing

_SIZE = (5.2, 4.4)


def roc(path: Path, rows: Sequence[Row], title: str, replicates: int) -> None:
    """Draw ROC curves with 95 % bands by patient, at most seven."""
    figure, ((axis,),) = _drawn(1, 1, _SIZE)
    for row, colour in zip(rows, COLOURS, strict=False):
        band = roc_band(row, replicates)
        axis.plot(band["x"], band["y"], color=colour, label=_name(row))
        axis.fill_between(
            band["x"], band["low"], band["high"], color=colour, alpha=0.15, lw=0
        )
    axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--")
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", title=title)
    figure.legend(fontsize=7, loc="outside lower center")
    _save(figure, path)


def calibration(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw reliability curves: observed share against predicted probability."""
    figure, ((axis,),) = _drawn(1, 1, _SIZE)
    axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--")
    for row, colour in zip(rows, COLOURS, strict=False):
        bins = reliability(row.label, row.score, bins=5)
        x = np.array([one.predicted for one in bins])
        y = np.array([one.observed.value for one in bins])
        ends = np.array([[one.observed.low, one.observed.high] for one in bins]).T
        gaps = np.abs(ends - y)
        axis.errorbar(
            x, y, yerr=gaps, color=colour, marker="o", ms=4, lw=1, label=_name(row)
        )
    axis.set(
        xlabel="predicted probability",
        ylabel="observed share of positives",
        title=title,
        xlim=(0, 1),
        ylim=(0, 1),
    )
    figure.legend(fontsize=7, loc="outside lower center")
    _save(figure, path)


def matrix(
    path: Path, names: Sequence[str], tests: Sequence[str], areas: np.ndarray
) -> None:
    """Draw the train x test matrix of areas; (cells, tests), NaN where undefined."""
    size = (3.2 + len(tests), 1.6 + 0.34 * len(names))
    figure, ((axis,),) = _drawn(1, 1, size)
    picture = axis.imshow(
        np.ma.masked_invalid(areas), vmin=0, vmax=1, cmap="cividis", aspect="auto"
    )
    for (i, j), value in np.ndenumerate(areas):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        colour = "white" if value < 0.55 else "black"
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(tests)), tests, rotation=30, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlabel="test set", ylabel="trained as")
    figure.colorbar(picture, label="AUC")
    _save(figure, path)


def panel(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw radiographs with the outline of the lungs and both saliency maps."""
    count = len(arrays["image"])
    figure, axes = _drawn(3, 1, (1.9 * count, 5.6))
    lungs = np.hstack(list(arrays["lungs"]))
    texts = ("radiograph", "Grad-CAM", "integrated\ngradients")
    for axis, text in zip(axes[:, 0], texts, strict=True):
        _strip(axis, arrays["image"], [""] * count, top=1.0)
        axis.set_ylabel(text, fontsize=8)
        if lungs.any() and not lungs.all():
            axis.contour(lungs, [0.5], colors=COLOURS[4], linewidths=0.8)
    for axis, maps in zip(axes[1:, 0], ("cam", "gradients"), strict=True):
        size = np.abs(arrays[maps])
        # A map that is 0 throughout stays 0.
        share = size / np.maximum(size.max(axis=(1, 2), keepdims=True), 1e-12)
        layer = axis.imshow(
            np.hstack(list(share)), cmap="inferno", alpha=0.5, vmin=0, vmax=1
        )
    pairs = zip(arrays["number"], arrays["positive"], strict=True)
    names = [f"row {n}, {'positive' if ill else 'negative'}" for n, ill in pairs]
    axes[0, 0].xaxis.tick_top()
    axes[0, 0].set_xticklabels(names, fontsize=8)
    figure.colorbar(layer, ax=axes[1:, 0], label="share of the map's own maximum")
    _save(figure, path)


def contact(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw some radiographs of each set and class, a row each."""
    kinds = [name.removesuffix("/image") for name in arrays if name.endswith("/image")]
    kinds = [kind for kind in kinds if len(arrays[f"{kind}/row"])]
    most = max(len(arrays[f"{kind}/row"]) for kind in kinds)
    figure, axes = _drawn(len(kinds), 1, (1.1 * most + 0.6, 1.35 * len(kinds)))
    for kind, axis in zip(kinds, axes[:, 0], strict=True):
        images = arrays[f"{kind}/image"]
        _strip(axis, images, [f"row {n}" for n in arrays[f"{kind}/row"]], top=255.0)
        axis.set_xlim(-0.5, most * images.shape[2] - 0.5)
        axis.set_ylabel("\n".join(kind.split("/")), fontsize=8)
        axis.spines[:].set_visible(False)
    _save(figure, path)


def _strip(axis: Any, images: np.ndarray, names: Sequence[str], *, top: float) -> None:
    """Draw images (n, S, S) side by side, named: axes of their own take far longer."""
    side = images.shape[2]
    axis.imshow(np.hstack(list(images)), cmap="gray", vmin=0, vmax=top)
    axis.set_xticks((np.arange(len(images)) + 0.5) * side - 0.5, names, fontsize=7)
    axis.set_yticks([])
    axis.tick_params(length=0)


def _name(row: Row) -> str:
    area = row.report.metrics["auc"].text(2)
    return f"{', '.join(row.cell)}: {area}"


def _drawn(rows: int, columns: int, size: tuple[float, float]) -> Any:
    """Return a figure of no window, and its axes."""
    figure = blank(*size, extra="cxr")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
