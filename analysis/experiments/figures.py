"""Draw the recorded figure that compares all comparisons of minima.

Command: ``python -m analysis.experiments.figures``. The figures of each comparison are
drawn when it is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.experiments._findings import ratio_points
from analysis.experiments._minima import RECORDED
from synaptax.reports.drawing import COLOURS, GREY, blank, save_png

_MARKERS = "osD^vP"


def curvature_against_loss() -> Any:
    """Draw how curvature and training loss of S and G compare, a point a seed."""
    figure = blank(7.2, 4.4)
    panel = figure.subplots()
    for index, (title, points) in enumerate(ratio_points().items()):
        loss, top = zip(*points, strict=True)
        panel.plot(
            loss, top, _MARKERS[index], color=COLOURS[index], label=title, markersize=7
        )
    panel.axhline(1, color=GREY, linewidth=0.8)
    panel.axvline(1, color=GREY, linewidth=0.8)
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="training loss, one-shot / gradual",
        ylabel="top Hessian eigenvalue, one-shot / gradual",
        title="Pairs of equally sparse minima, one point a seed",
    )
    for axis, ticks in (
        (panel.xaxis, (0.2, 0.5, 1, 2, 5, 10, 20, 50)),
        (panel.yaxis, (0.5, 0.7, 1, 1.5, 2, 3)),
    ):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="lower right")
    return figure


def main(folder: Path = RECORDED) -> None:
    """Write the figure."""
    figure = curvature_against_loss()
    print(save_png(figure, folder / "minima-curvature-against-loss.png"))


if __name__ == "__main__":
    main()
