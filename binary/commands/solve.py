"""``python -m binary solve``: solve one instance, and show how."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from binary.commands import _figures
from binary.instances import Instance, storage, teacher_student
from binary.perceptron import verify
from binary.solvers import Result, Solver, annealed, free, power, solve
from synaptax import runs
from synaptax.cli.options import parse

_DESCRIPTION = """Solve one binary perceptron by gradient ascent, and show how.

- free: ascent on the likelihood; q* rises to 1 by itself;
- annealed: q* is raised along a schedule, which solves higher loads.

With no option: N = 1001 at load 0.6, by both, in seconds.
"""
_ROWS = 6  # epochs shown a method


@dataclasses.dataclass(frozen=True)
class Config:
    """The options.

    Attributes:
        size: N, the number of weights; odd.
        load: alpha, patterns a weight.
        margin: kappa, asked of W . x / sqrt(N).
        methods: What to solve by.
        rate: eta; None: 0.3.
        epochs: Passes over the patterns at most; None: 300 free, 1000 annealed.
        power: Exponent p of the ramp q* = 1 - (1 - t)^p; 1 is a straight line.
        teacher: Labels from random binary weights instead of random ones.
        seed: Of the instance and the runs.
        run_dir: Folder of the run; None: a new runs/binary-solve-N.
    """

    size: int = 1001
    load: float = 0.6
    margin: float = 0.0
    methods: tuple[Literal["free", "annealed"], ...] = ("free", "annealed")
    rate: float | None = None
    epochs: int | None = None
    power: float = 3.0
    teacher: bool = False
    seed: int = 0
    run_dir: Path | None = None


def main(given: Sequence[str], prog: str = "python -m binary") -> int:
    """Solve, write the run folder, print the report; return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    config = parse(Config, given, prog, _DESCRIPTION)
    if not config.methods:
        raise ValueError("methods: expected at least one")
    started = time.perf_counter()
    one, key = _instance(config)
    results = {name: _run(config, name, one, key) for name in config.methods}
    path = config.run_dir or runs.fresh_path("runs", "binary-solve")
    folder = runs.create(path, config)
    traces = {name: _trace(result) for name, result in results.items()}
    count = int(one.valid.sum())
    picture = _figures.save(_figures.course(traces, count), folder.path / "course.png")
    runs.write_summary(
        folder,
        {name: _summary(result, one) for name, result in results.items()},
        config=config,
        seeds=[config.seed],
        wall_s=time.perf_counter() - started,
    )
    for name, result in results.items():
        np.save(folder.path / f"weights-{name}.npy", np.asarray(result.best_weights))
    _show(config, results, traces, one)
    print(f"wall time {time.perf_counter() - started:.1f} s; everything is in {path}")
    print(f"figure: {picture}")
    return 0


def _instance(config: Config) -> tuple[Instance, jax.Array]:
    keys = jax.random.split(jax.random.key(config.seed))
    if config.teacher:
        if config.margin:
            raise ValueError("margin: a teacher has none; drop --margin or --teacher")
        return teacher_student(keys[0], config.size, config.load), keys[1]
    return storage(keys[0], config.size, config.load, margin=config.margin), keys[1]


def _run(config: Config, name: str, one: Instance, key: jax.Array) -> Result:
    solver: Solver = (
        free() if name == "free" else annealed(schedule=power(config.power))
    )
    rate = 0.3 if config.rate is None else config.rate
    if rate <= 0:
        raise ValueError(f"rate: expected a number > 0, got {rate}")
    epochs = config.epochs
    if epochs is None:
        epochs = {"free": 300, "annealed": 1000}[name]
    return jax.device_get(
        solve(solver, one, key, rates=rate, epochs=epochs, trace=True)
    )


def _trace(result: Result) -> tuple[np.ndarray, np.ndarray]:
    assert result.trace is not None  # it was asked for
    end = int(result.epochs) + 1
    wrong, overlap = (np.asarray(leaf)[:end] for leaf in result.trace)
    return wrong, overlap


def _summary(result: Result, one: Instance) -> dict[str, Any]:
    verdict = verify(result.best_weights, one)
    summary = {
        "solved": bool(result.solved),
        "epochs": int(result.epochs),
        "overlap": float(result.overlap),
        "recount": verdict,
    }
    if np.any(np.asarray(one.teacher)):
        teacher = np.asarray(one.teacher, int)
        summary["teacher_overlap"] = float(np.mean(teacher * result.best_weights))
    return summary


def _show(
    config: Config,
    results: dict[str, Result],
    traces: dict[str, tuple[np.ndarray, np.ndarray]],
    one: Instance,
) -> None:
    from rich.console import Console
    from rich.table import Table

    count = int(one.valid.sum())
    table = Table(
        title=f"N = {config.size}, {count} patterns (load {count / config.size:.3f}), "
        f"seed {config.seed}"
    )
    for head in ("method", "epoch", "q*", "wrong", "error"):
        table.add_column(head, justify="left" if head == "method" else "right")
    for name, (wrong, overlap) in traces.items():
        # unique: a run of fewer epochs than rows would repeat some.
        rows = np.unique(np.linspace(0, len(wrong) - 1, _ROWS).astype(int))
        for index in rows:
            share = f"{100 * wrong[index] / count:.2f} %"
            row = (str(index), f"{overlap[index]:.4f}", str(wrong[index]), share)
            table.add_row(name if index == rows[0] else "", *row)
        table.add_section()
    console = Console(highlight=False)
    console.print(table)
    for name, result in results.items():
        verdict = verify(result.best_weights, one)
        outcome = "solved" if verdict.solved else "not solved"
        console.print(
            f"{name}: {outcome} after {int(result.epochs)} epochs; recount in "
            f"integers: {verdict.errors} of {verdict.patterns} wrong"
        )
