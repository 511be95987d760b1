"""The main job: train a network, prune it gradually, and say what is left."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pruning._report import Tally, report, to_text
from pruning.gradual import figures, snapshots
from pruning.gradual.config import Config
from pruning.gradual.outcome import Point, Result
from pruning.gradual.train import fit
from synaptax.cli.options import NEW, Run, run_of
from synaptax.runs.files import replacing

_DESCRIPTION = """Train a network, shrink and prune it gradually, fine-tune it, report.

With no option:

- LeNet-300-100 on scikit-learn's digits, pruned by output sensitivity;
- about half a minute, and no download;
- a new folder under runs/ for config, metrics, summary, figures, checkpoints.
"""


@dataclasses.dataclass(frozen=True)
class _Job:
    """The options.

    Attributes:
        config: The defaults shown are those of the --dataset that is chosen.
    """

    config: Config
    run: Run = NEW


def defaults(dataset: str) -> Config:
    """Return the config of the main job for a data set.

    An epoch of digits has 11 steps where one of MNIST has 550. So digits gets
    momentum, more epochs, more patience, a stronger shrink term, and a looser bound
    on its small and noisy validation set, of which one example is 0.3 %: the accepted
    point is the sparsest that errs on no more of them than the dense network.

    Args:
        dataset: the data set's name; digits where there is none.

    Returns:
        What the options then change field by field.
    """
    if dataset not in ("", "digits"):
        return Config(dataset=dataset)
    return Config(
        rate=3e-4,
        patience=10,
        tolerance=0.2,
        momentum=0.9,
        dense_epochs=60,
        prune_epochs=300,
        tune_epochs=40,
        accept=0.0,
        checkpoint_every=50,
    )


def main(given: Sequence[str], prog: str = "python -m pruning") -> int:
    """Train dense, prune gradually, fine-tune, report, draw; return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    started = time.monotonic()
    with run_of(
        _Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=defaults,
        stem=lambda config: re.sub(
            r"[^\w.-]+", "-", f"{config.dataset}-{config.model}-{config.method}"
        ),
        last=lambda config: "report.txt",
    ) as (job, folder):
        result = fit(job.config, folder, resume=job.run.resume, quiet=job.run.quiet)
        names = _write(result)
    _show(result, time.monotonic() - started)
    print(f"everything is in {folder}: {', '.join(names)}, ...")
    return 0


# --- the report ------------------------------------------------------------------


def _shown(result: Result) -> list[Point]:
    """Return the point to show, of each seed: accepted, or the last target."""
    pruned = _pruned(result)
    targets = [p.target for p in pruned]
    target = None if None in targets else targets[-1]
    return [p for p in pruned if p.target == target]


def _pruned(result: Result) -> tuple[Point, ...]:
    """Return the fine-tuned points; the dense ones come before them."""
    return result.points[len(result.config.seeds) :]


def _write(result: Result) -> list[str]:
    """Write figures of the first seed's point, then report.txt; return the names."""
    point = _shown(result)[0]
    index = _pruned(result).index(point)
    tuned = snapshots.listing(result.folder / "tuned")[index]
    params, mask = snapshots.read(
        result.folder / "tuned", tuned, dict.fromkeys(result.shapes, 0)
    )
    paths = figures.write(result.folder, point=index)
    with replacing(result.folder / "report.txt") as file:
        file.write((to_text(report(params, mask)) + "\n").encode())
    return ["report.txt", *(str(p.relative_to(result.folder)) for p in paths)]


def _show(result: Result, wall: float) -> None:
    """Print what is kept, what it costs in error, and how long it took."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    console.print(_layers(result))
    console.print()
    console.print(_points(result))
    console.print(
        f"\nwall time {wall:.1f} s; training took {result.wall_s:.1f} s of it"
        if result.wall_s <= wall
        else f"\nwall time {wall:.1f} s; training took {result.wall_s:.1f} s in all"
    )


def _layers(result: Result) -> Any:
    """Return the table of what each leaf keeps, in the mean over the seeds."""
    from rich.table import Table

    config, points = result.config, _shown(result)
    target = points[0].target
    where = "accepted" if target is None else f"{target:g}x"
    who = f"seed {points[0].seed}"
    if len(points) > 1:
        who = f"mean of {len(points)} seeds"
    table = Table(
        title=f"{config.model} on {config.dataset}, {config.method}: the {where} "
        f"operating point, {who}",
        caption="compression: total / kept, of the entries that the row names",
    )
    for head in ("entries", "shape", "kept", "total", "density", "compression"):
        is_text = head in ("entries", "shape")
        table.add_column(head, justify="left" if is_text else "right", no_wrap=True)

    def add(name: str, shape: str, leaves: Sequence[str]) -> None:
        count = sum(p.kept[leaf] for p in points for leaf in leaves) / len(points)
        total = sum(math.prod(result.shapes[leaf]) for leaf in leaves)
        exact = Tally(count, total)  # pyright: ignore[reportArgumentType]
        number = f"{count:,.0f}" if len(points) == 1 else f"{count:,.1f}"
        table.add_row(
            name,
            shape,
            number,
            f"{total:,}",
            f"{100 * exact.density:.2f} %",
            f"{exact.compression:.1f}x" if count else "none kept",
        )

    for name, shape in result.shapes.items():
        add(name, "x".join(map(str, shape)), [name])
    table.add_section()
    add("weights", "", [n for n, shape in result.shapes.items() if len(shape) > 1])
    add("all parameters", "", list(result.shapes))
    return table


def _points(result: Result) -> Any:
    """Return the table of the errors of every operating point."""
    from rich.table import Table

    several = len(result.config.seeds) > 1
    table = Table(title="mean ± standard error over the seeds" if several else None)
    table.add_column("operating point")
    for head in ("compression\n(all parameters)", "validation\nerror", "test\nerror"):
        table.add_column(head, justify="right")
    size = sum(math.prod(shape) for shape in result.shapes.values())
    pruned = _pruned(result)
    rows = {"dense": list(result.points[: len(result.config.seeds)])}
    for target in dict.fromkeys(p.target for p in pruned):
        name = "accepted" if target is None else f"target {target:g}x"
        rows[name] = [p for p in pruned if p.target == target]
    for name, own in rows.items():
        misses = sum(not p.reached for p in own)
        if misses:
            name += f" (not reached by {misses} of {len(own)})"
        count = float(np.mean([sum(p.kept.values()) for p in own]))
        table.add_row(
            name,
            f"{size / max(count, 1):.1f}x",
            _percent([p.validation_error for p in own]),
            _percent([p.test_error for p in own]),
        )
    return table


def _percent(fractions: Sequence[float]) -> str:
    """Return the mean in percent, with its standard error if there are several."""
    mean = 100 * float(np.mean(fractions))
    if len(fractions) < 2:
        return f"{mean:.2f} %"
    error = 100 * float(np.std(fractions, ddof=1)) / math.sqrt(len(fractions))
    return f"{mean:.2f} ± {error:.2f} %"
