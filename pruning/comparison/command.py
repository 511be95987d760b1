"""``python -m pruning compare``: which method is best at my budget."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruning.comparison import cells as training
from pruning.comparison import report
from pruning.comparison.config import Comparison, check
from synaptax import runs
from synaptax.cli.options import NEW, Run, run_of
from synaptax.data.images import check_batch, load
from synaptax.nets import lenets, models
from synaptax.reports.drawing import save_png
from synaptax.reports.tables import markdown
from synaptax.runs.files import replacing
from synaptax.runs.progress import Progress

_DESCRIPTION = """Compare methods of pruning: compressions and seeds, one budget.

With no option:
- LeNet-300-100 on scikit-learn's digits, six methods at 2x, 10x and 50x, two seeds;
- each network trains for --budget epochs; gradients are counted;
- one table, one figure (error against compression), each cell a file of its own;
- with --resume --run-dir, cells that are there are not trained again, and methods,
  compressions and seeds may be added.
"""
GROWS = ("methods", "compressions", "seeds")  # may differ where a run is taken up


@dataclasses.dataclass(frozen=True)
class _Job:
    """The options.

    Attributes:
        config: The defaults shown are those of the --dataset that is chosen.
    """

    config: Comparison
    run: Run = NEW


def defaults(dataset: str) -> Comparison:
    """Return the defaults: for a set other than digits the step takes more examples."""
    if dataset in ("", "digits"):
        return Comparison()
    return Comparison(dataset=dataset, batch=200, budget=40)


def main(given: Sequence[str], prog: str = "python -m pruning compare") -> int:
    """Train what is missing, report, draw; return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    with run_of(
        _Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=defaults,
        stem=lambda config: f"compare-{config.dataset}-{config.model}".replace(
            ":", "-"
        ),
        check=check,
        of="comparison",
        may_differ=("data_dir", *GROWS),
    ) as (job, path):
        summary = compare(job.config, path, resume=job.run.resume, quiet=job.run.quiet)
    _show(job.config, summary["results"]["cells"])
    print(f"everything is in {path}: report.md, figures/compare.png, cells/, ...")
    return 0


def compare(
    config: Comparison, path: Path, *, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Run (or go on with) a comparison; return its summary.

    Args:
        config: what to compare.
        path: the run folder.
        resume: take up what is in the folder.
        quiet: show no progress.

    Raises:
        ValueError: a field out of range, a folder that holds another comparison.
    """
    check(config)
    started = time.monotonic()
    data = load(
        config.dataset,
        data_dir=config.data_dir,
        limit=config.limit,
        progress=not quiet,
    )
    check_batch(config.batch, data.train)
    shape = data.train.image.shape[1:]
    net = models.network(config.model, data.classes, shape, **_way(config))
    folder = runs.create(path, config, resume=resume, ignore=("data_dir", *GROWS))
    trainer = training.Trainer(config, data, net)
    cells = training.listing(config)
    results: list[dict[str, Any]] = []
    try:
        for place, cell in enumerate(cells, 1):
            file = folder.path / "cells" / f"{cell.name}.json"
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                name = f"{place}/{len(cells)} {cell.name}"
                result = _trained(trainer, cell, name, config.budget, quiet)
                runs.write_json(file, folder.own(result))
            result = runs.read_json(file)
            folder.check_own(result, file)
            results.append({k: v for k, v in result.items() if k != "run"})
            write(config, results, folder.path, len(data.test.label))
    finally:  # an interrupted run shows what it has
        if results:
            draw(config, results, folder.path)
    return runs.write_summary(
        folder,
        {"cells": results},
        config=config,
        seeds=config.seeds,
        wall_s=time.monotonic() - started,
    )


def _way(config: Comparison) -> dict[str, Any]:
    """Return how LeNet-5 is convolved: the value is the same, the time is not."""
    exact = "sensitivity" in config.methods  # it takes each example's own gradient
    return {"conv": lenets.fastest()} if config.model == "lenet5" and not exact else {}


def _trained(
    trainer: training.Trainer, cell: training.Cell, name: str, budget: int, quiet: bool
) -> dict[str, Any]:
    """Train one cell under a bar of progress of its own."""
    result: dict[str, Any] = {}
    with Progress(quiet=quiet) as progress, progress.stage(name, 0, budget) as tell:
        for result in trainer.cell(cell):
            tell({"train_loss": result.get("loss", result.get("train_loss"))})
    return result


def write(
    config: Comparison, results: report.Cells, folder: Path, examples: int
) -> None:
    """Write report.md: the table, who errs least, and which cells are missing."""
    lines = markdown(*report.table(results))
    missing = report.missing(training.listing(config), results)
    lines += ["", report.CAPTION, "", *report.verdicts(results, examples)]
    if missing:
        names = ", ".join(cell.name for cell in missing)
        lines += ["", f"Missing {len(missing)} cells: {names}."]
    with replacing(folder / "report.md") as file:
        file.write(("\n".join([f"# {_title(config)}", "", *lines]) + "\n").encode())


def draw(config: Comparison, results: report.Cells, folder: Path) -> None:
    """Draw figures/compare.png."""
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    chart = report.figure(results, title=_title(config))
    save_png(chart, figures / "compare.png")


def _title(config: Comparison) -> str:
    return f"{config.model} on {config.dataset}, {config.budget} epochs a cell"


def _show(config: Comparison, results: report.Cells) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    head, body = report.table(results)
    table = Table(
        title=f"{_title(config)}: test error in %",
        caption=report.CAPTION,
    )
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in body:
        table.add_row(*row)
    Console(file=sys.stdout, highlight=False).print(table)
