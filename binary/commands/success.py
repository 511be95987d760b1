"""``python -m binary success``: success probability against load."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from binary.commands import _figures
from binary.commands.solve import parse
from binary.methods import METHODS
from binary.success import Chunk, Point, curves, run
from synaptax import runs

_DESCRIPTION = f"""Measure how many random instances are solved at each load.

Chunk by chunk, and resumable: an interrupted run goes on with --resume --run-dir.

Methods: {", ".join(METHODS)}.
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """The options.

    Attributes:
        methods: which to measure.
        loads: alpha, patterns a weight.
        size: N, the number of weights; odd.
        instances: a method and load.
        first_seed: of the instances, the same for every method.
        chunk: instances solved in one call.
        run_dir: Folder of the run; None: a new runs/binary-success-N.
        resume: Go on with the run in --run-dir, begun with the same options.
    """

    methods: tuple[str, ...] = ("free", "power-300")
    loads: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7)
    size: int = 1001
    instances: int = 50
    first_seed: int = 1000
    chunk: int = 25
    run_dir: Path | None = None
    resume: bool = False


def main(given: Sequence[str]) -> int:
    """Measure, write the run folder, print the report; return the exit code.

    Args:
        given: the options.
    """
    config = parse(Config, "success", _DESCRIPTION, given)
    _check(config)
    started = time.perf_counter()
    path = config.run_dir or runs.fresh_path("runs", "binary-success")
    folder = runs.create(path, config, resume=config.resume)
    points = [
        Point(m, a, config.instances) for m in config.methods for a in config.loads
    ]
    try:
        records = run(
            folder,
            points,
            size=config.size,
            first_seed=config.first_seed,
            chunk=config.chunk,
            report=progress(),
        )
    except KeyboardInterrupt:
        again = shlex.join([*given, "--resume", "--run-dir", str(path)])
        print(
            "\ninterrupted; what was done is kept. Go on with:\n"
            f"  python -m binary success {again}",
            file=sys.stderr,
        )
        return 130
    rows = curves(records)
    labels = {
        name: f"{METHODS[name].label}, {METHODS[name].epochs}" for name in METHODS
    }
    title = f"N = {config.size}, {config.instances} instances a point, 95 % intervals"
    _figures.save(_figures.success(rows, labels, title), folder.path / "success.png")
    seeds = range(config.first_seed, config.first_seed + config.instances)
    wall = time.perf_counter() - started
    runs.write_summary(folder, {"rows": rows}, config=config, seeds=seeds, wall_s=wall)
    show(rows)
    print(f"wall time {wall:.1f} s; everything is in {path}")
    return 0


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
    for name in ("instances", "chunk"):
        if getattr(config, name) < 1:
            raise ValueError(
                f"{name}: expected at least 1, got {getattr(config, name)}"
            )
    if config.resume and config.run_dir is None:
        raise ValueError("resume: name the folder of the run with --run-dir")
