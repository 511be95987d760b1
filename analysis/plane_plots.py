"""Figures of a quantity over a plane of weights: contours and a surface.

As :mod:`analysis.plots`, whose colours they use: plain arrays in, a figure out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.plots import COLOURS, MARKERS, blank


def contour(
    a: Any,
    b: Any,
    values: Any,
    *,
    points: Mapping[str, tuple[float, float]] | None = None,
    label: str = "training loss (nats)",
    logarithmic: bool = True,
    title: str = "",
) -> Any:
    """Draw a quantity over a plane as filled, labelled contours.

    Args:
        a: (n,) coordinates along the line between the solutions.
        b: (m,) coordinates across it.
        values: (m, n), rows of constant b.
        points: names of solutions and where they are.
        label: of the colour bar.
        logarithmic: spread the contours evenly in the logarithm.
        title: the first line.

    Returns:
        The figure.

    Raises:
        ValueError: if the shapes do not fit, or values to be shown logarithmically
            are not positive.
    """
    a, b, values = _checked_plane(a, b, values, logarithmic)
    figure = blank(6.4, 4.8)
    axis = figure.subplots()
    levels, norm = _levels(values, logarithmic)
    filled = axis.contourf(a, b, values, levels=levels, norm=norm, cmap="cividis")
    lines = axis.contour(a, b, values, levels=levels, colors="white", linewidths=0.6)
    axis.clabel(lines, fmt=_number, fontsize=7)
    bar = figure.colorbar(filled, ax=axis, format=lambda x, _: _number(x))
    bar.set_label(label)
    for index, (name, place) in enumerate((points or {}).items()):
        axis.plot(*place, MARKERS[index], color="white", mec="black", ms=9, zorder=5)
        axis.annotate(
            name,
            place,
            xytext=(7, 7),
            textcoords="offset points",
            fontsize=10,
            color="black",
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5},
        )
    axis.set_xlabel("along the line between the solutions (its length = 1)")
    axis.set_ylabel("across, along the other direction")
    axis.set_title(title, fontsize=11)
    return figure


def surface(
    a: Any,
    b: Any,
    values: Any,
    *,
    points: Mapping[str, tuple[float, float]] | None = None,
    label: str = "training loss (nats)",
    logarithmic: bool = True,
    title: str = "",
) -> Any:
    """Draw a quantity over a plane as a surface in three dimensions.

    Args:
        a: as in :func:`contour`.
        b: as there.
        values: as there.
        points: marked at the height of the nearest grid point.
        label: of the vertical axis.
        logarithmic: show the decimal logarithm.
        title: the first line.
    """
    from matplotlib.ticker import MaxNLocator

    a, b, values = _checked_plane(a, b, values, logarithmic)
    height = np.log10(values) if logarithmic else values
    figure = blank(6.4, 5.0)
    axis = figure.add_subplot(projection="3d")
    across, upward = np.meshgrid(a, b)
    axis.plot_surface(
        across, upward, height, cmap="cividis", lw=0.2, edgecolor="white", alpha=0.9
    )
    for index, (name, place) in enumerate((points or {}).items()):
        row, column = np.abs(b - place[1]).argmin(), np.abs(a - place[0]).argmin()
        z = height[row, column]
        axis.plot(
            *place, z, MARKERS[index], color=COLOURS[1], mec="black", ms=8, zorder=10
        )
        axis.text(*place, z + 0.08 * np.ptp(height), name, fontsize=11, zorder=11)
    axis.set_xlabel("along the line")
    axis.set_ylabel("across")
    for each in (axis.xaxis, axis.yaxis, axis.zaxis):
        each.set_major_locator(MaxNLocator(5))
    axis.set_zlabel(f"log10 of the {label}" if logarithmic else label, labelpad=6)
    axis.view_init(elev=32, azim=-60)
    axis.set_box_aspect(None, zoom=0.86)
    axis.set_title(title, fontsize=11)
    return figure


def _levels(values: np.ndarray, logarithmic: bool) -> tuple[np.ndarray, Any]:
    """Return contour levels with room at both ends, and the scale of the colours."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = low / 1.02, max(high * 1.02, low * 1.1)
        return np.geomspace(low, high, 13), LogNorm(low, high)
    room = 0.02 * max(high - low, 1e-9)
    return np.linspace(low - room, high + room, 13), Normalize(low, high)


def _checked_plane(
    a: Any, b: Any, values: Any, logarithmic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b, values = (np.asarray(each, np.float64) for each in (a, b, values))
    if values.shape != (b.size, a.size) or min(values.shape) < 2:
        raise ValueError(
            f"values: expected shape ({b.size}, {a.size}), at least 2 each way, got "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("values: some are not finite")
    if logarithmic and not values.min() > 0:
        raise ValueError(
            f"values: expected positive ones for a logarithm, got {values.min():g}"
        )
    return a, b, values


def _number(value: float) -> str:
    return f"{value:.2g}"
