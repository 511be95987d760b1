"""``python -m binary theory``: a curve of replica theory as CSV and figure."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from binary.commands._figures import save
from binary.commands.theory_curves import CURVES, Curve, Panel, Theory
from synaptax.cli.options import parse
from synaptax.reports.drawing import COLOURS, GREY, blank
from synaptax.runs.files import replacing

_DESCRIPTION = """Solve a curve of replica theory and write it as CSV and PNG.

All in float64; a point that does not converge is left out and named.
"""


def main(given: Sequence[str], prog: str = "python -m binary theory") -> int:
    """Solve, write and print one curve.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code.

    Raises:
        ValueError: for an option out of range.
    """
    config = parse(Theory, given, prog, _DESCRIPTION)
    started = time.monotonic()
    curve = CURVES[config.curve](config)
    took = time.monotonic() - started
    config.out.expanduser().mkdir(parents=True, exist_ok=True)
    stem = config.out.expanduser() / config.curve
    write_csv(stem.with_suffix(".csv"), curve)
    save(draw(curve, title=_title(config)), stem.with_suffix(".png"))
    _show(curve)
    print(f"{len(curve.rows)} points in {took:.1f} s: {stem}.csv and {stem}.png")
    return 0


def _title(config: Theory) -> str:
    parts = [config.curve]
    if config.curve in ("stochastic", "bc", "replicon", "robustness", "franz-parisi"):
        parts.append(f"load {config.alpha:g}")
    if config.curve in ("robustness", "franz-parisi"):
        parts.append(f"around {config.reference}")
    tilted = config.reference in ("stochastic", "control")
    if config.curve in ("robustness", "franz-parisi") and tilted:
        parts.append(f"q* {config.q_star:g}")
    if config.curve in ("stochastic", "bc") or (
        config.curve in ("robustness", "franz-parisi") and tilted
    ):
        parts.append(f"beta {config.beta:g}")
    if config.curve == "gardner":
        parts.append(f"margin {config.kappa:g}")
    return ", ".join(parts)


def write_csv(path: Path, curve: Curve) -> None:
    """Write the rows of a curve, every digit kept."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(curve.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: repr(float(v)) for k, v in row.items()} for row in curve.rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def draw(curve: Curve, *, title: str = "") -> Any:
    """Draw a curve and return the figure, which belongs to no window."""
    figure = blank(4.2 * len(curve.panels) + 1.8, 4.2)
    for index, (panel, axes) in enumerate(
        zip(
            curve.panels,
            figure.subplots(1, len(curve.panels), squeeze=False)[0],
            strict=True,
        )
    ):
        _lines(axes, curve, panel)
        for where, text in curve.marks:
            axes.axvline(where, color=GREY, linestyle=":", linewidth=1)
            axes.annotate(
                text,
                (where, 0.5),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="center",
                fontsize=8,
                color=GREY,
            )
        if curve.missing:  # on the lower edge, where no value is meant
            axes.plot(
                curve.missing,
                [0] * len(curve.missing),
                "x",
                color=GREY,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                label=f"no point found: {len(curve.missing)}" if not index else None,
            )
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _lines(axes: Any, curve: Curve, panel: Panel) -> None:
    """Draw the lines of one panel, apart in colour, marker and dashes."""
    x = [row[curve.axis] for row in curve.rows]
    several = len(panel.lines) > 1
    styles = zip(COLOURS, ".x+", ("-", "--", ":"), strict=False)
    for (column, name), (colour, marker, dashes) in zip(
        panel.lines, styles, strict=False
    ):
        y = [row[column] for row in curve.rows]
        label = name if several else None
        axes.plot(x, y, color=colour, marker=marker, ls=dashes, label=label)
    if panel.limit is not None:
        value, name = panel.limit
        axes.axhline(value, color=GREY, ls="--", lw=1, label=name)
    axes.set(xlabel=curve.label, ylabel=panel.label)
    if panel.logarithmic:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _show(curve: Curve) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in curve.rows[0]:
        table.add_column(name, justify="right", no_wrap=True)
    step = max(1, -(-len(curve.rows) // 12))
    for row in curve.rows[::step]:
        table.add_row(*(f"{value:.6g}" for value in row.values()))
    console = Console(highlight=False)
    console.print(table)
    for where, text in curve.marks:
        console.print(f"{curve.axis} = {where:.6f}: {text}")
    if curve.missing:
        values = ", ".join(f"{x:.4g}" for x in curve.missing)
        console.print(f"no point found at {curve.axis} = {values}")
