"""``python -m binary success``: success probability against load."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence

from binary.commands import _figures
from binary.instances import check_odd, pattern_count
from binary.methods import METHODS
from binary.success import Chunk, Point, curves, run
from synaptax import runs
from synaptax.checks import check_integer
from synaptax.cli.options import NEW, Run, run_of

_DESCRIPTION = f"""Measure how many random instances are solved at each load.

Chunk by chunk, and resumable: an interrupted run goes on with --resume.

Methods: {", ".join(METHODS)}.
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        methods: Which to measure.
        loads: alpha, patterns a weight.
        size: N, the number of weights; odd.
        instances: A method and load.
        first_seed: Of the instances, the same for every method.
        chunk: Instances solved in one call.
    """

    methods: tuple[str, ...] = ("free", "power-300")
    loads: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7)
    size: int = 1001
    instances: int = 50
    first_seed: int = 1000
    chunk: int = 25


@dataclasses.dataclass(frozen=True)
class _Job:
    config: Config
    run: Run = NEW


def main(given: Sequence[str], prog: str = "python -m binary success") -> int:
    """Measure, write the run folder, print the report; return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    started = time.perf_counter()
    with run_of(
        _Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=lambda dataset: Config(),
        check=_check,
        stem=lambda config: "binary-success",
    ) as (job, path):
        config = job.config
        folder = runs.create(path, config, resume=job.run.resume)
        records = run(
            folder,
            points_of(config),
            size=config.size,
            first_seed=config.first_seed,
            chunk=config.chunk,
            report=None if job.run.quiet else progress(),
        )
        rows = curves(records)
        title = (
            f"N = {config.size}, {config.instances} instances a point, 95 % intervals"
        )
        _figures.save(_figures.success(rows, labels(), title), path / "success.png")
        seeds = range(config.first_seed, config.first_seed + config.instances)
        wall = time.perf_counter() - started
        runs.write_summary(
            folder, {"rows": rows}, config=config, seeds=seeds, wall_s=wall
        )
    show(rows)
    print(f"wall time {wall:.1f} s; everything is in {path}")
    return 0


def points_of(config: Config) -> list[Point]:
    """Return what is to be measured."""
    return [Point(m, a, config.instances) for m in config.methods for a in config.loads]


def labels() -> dict[str, str]:
    """Return what figures call the methods: their label and their budget."""
    return {name: f"{m.label}, {m.epochs} epochs" for name, m in METHODS.items()}


def progress() -> Callable[[Chunk, int, int], None]:
    """Return a function that says on the error stream which chunk is begun."""

    def report(chunk: Chunk, number: int, total: int) -> None:
        point = chunk.point
        print(
            f"{number + 1}/{total}  {point.method} at {point.load:g}, "
            f"seeds {chunk.first} to {chunk.first + chunk.count - 1}",
            file=sys.stderr,
            flush=True,
        )

    return report


def show(rows: Sequence[dict]) -> None:
    """Print the curves as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="instances solved, with 95 % Wilson intervals")
    heads = (
        "method",
        "load",
        "solved",
        "%",
        "interval",
        "median epochs",
        "core s each",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "method" else "right")
    for row in rows:
        epochs = row["median_epochs"]
        table.add_row(
            row["method"],
            f"{row['load']:g}",
            f"{row['count']}/{row['total']}",
            f"{100 * row['value']:.1f}",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
            "-" if epochs is None else f"{epochs:.0f}",
            f"{row['median_core_s']:.3f}",
        )
    Console(highlight=False).print(table)


def _check(config: Config) -> None:
    unknown = [name for name in config.methods if name not in METHODS]
    if unknown:
        raise ValueError(
            f"methods: unknown {unknown[0]!r}, expected among {', '.join(METHODS)}"
        )
    if not config.methods or not config.loads:
        raise ValueError("methods, loads: expected at least one of each")
    check_integer("chunk", config.chunk, 1, expected="at least 1")
    for point in points_of(config):
        pattern_count(config.size, point.load)
    check_odd(config.size, 0.0)
