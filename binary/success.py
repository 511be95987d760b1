"""Success probability against load: chunks of seeds, kept as they come, resumable."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from binary._checks import number
from binary.instances import Instance, pattern_count, storage
from binary.methods import METHODS
from binary.solvers import solve
from binary.statistics import wilson
from synaptax import runs
from synaptax.checks import check_choice, check_integer


@dataclasses.dataclass(frozen=True)
class Point:
    """What is to be measured: one method at one load.

    Attributes:
        method: a name in :data:`binary.methods.METHODS`.
        load: alpha.
        instances: how many.
    """

    method: str
    load: float
    instances: int

    def __post_init__(self) -> None:
        """Raise a ValueError that names an attribute out of range."""
        check_choice("method", self.method, METHODS)
        number("load", self.load, "a finite load > 0", lambda a: 0 < a < math.inf)
        check_integer("instances", self.instances, 1)


class Chunk(NamedTuple):
    """The seeds ``first`` to ``first + count - 1`` of a point."""

    point: Point
    first: int
    count: int


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.vmap, in_axes=(0, None, None, None))
def drawn(
    seed: jax.Array, size: int, rows: int, count: jax.Array
) -> tuple[Instance, jax.Array]:
    """Return the instances of seeds, and keys to run on them.

    Args:
        seed: one is one instance.
        size: N.
        rows: patterns drawn; the same for every load, so that one program does all.
        count: of them are valid. They are the same patterns at every load.
    """
    keys = jax.random.split(jax.random.key(seed))
    one = storage(keys[0], size, rows / size)
    return one._replace(valid=jax.numpy.arange(rows) < count), keys[1]


def chunks(points: Iterable[Point], first_seed: int, size: int) -> list[Chunk]:
    """Return the points cut into chunks of at most ``size`` seeds."""
    size = check_integer("size", size, 1)
    parts = []
    for point in points:
        for start in range(0, point.instances, size):
            count = min(size, point.instances - start)
            parts.append(Chunk(point, first_seed + start, count))
    return parts


def measure(chunk: Chunk, size: int, rows: int) -> dict[str, Any]:
    """Solve the instances of a chunk; return what the metrics file keeps of it."""
    method = METHODS[chunk.point.method]
    seeds = jax.numpy.arange(chunk.first, chunk.first + chunk.count)
    count = pattern_count(size, chunk.point.load)
    if count > rows:
        raise ValueError(f"rows: expected at least {count} patterns, got {rows}")
    batch, keys = drawn(seeds, size, rows, jax.numpy.int32(count))
    # Other work on the machine lengthens the wall time and not the core time.
    started, used = time.perf_counter(), time.process_time()
    result = jax.device_get(
        solve(
            method.solver(size), batch, keys, epochs=method.epochs, width=method.width
        )
    )
    return {
        "method": chunk.point.method,
        "load": chunk.point.load,
        "first": chunk.first,
        "count": chunk.count,
        "wall_s": round(time.perf_counter() - started, 3),
        "core_s": round(time.process_time() - used, 3),
        "solved": result.solved.astype(int).tolist(),
        "epochs": result.epochs.tolist(),
        "best": result.best.tolist(),
        "overlap": np.round(result.overlap, 5).tolist(),
    }


def run(
    folder: runs.RunFolder,
    points: Iterable[Point],
    *,
    size: int,
    first_seed: int,
    chunk: int,
    report: Callable[[Chunk, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure the chunks that a run folder has not yet; return all records.

    Args:
        folder: where chunks are appended as they finish.
        points: what to measure.
        size: N.
        first_seed: of every point.
        chunk: seeds a chunk.
        report: called before each chunk with it, its number and their number.
    """
    plan = chunks(points, first_seed, chunk)
    runs.keep_metrics(folder)
    records = {}
    for record in runs.read_metrics(folder):
        folder.check_own(record, folder.metrics)
        records[_name(record)] = record
    rows = max(pattern_count(size, one.point.load) for one in plan)
    entries = []
    for place, one in enumerate(plan):
        name = (one.point.method, one.point.load, one.first, one.count)
        if name not in records:
            if report is not None:
                report(one, place, len(plan))
            records[name] = folder.own(measure(one, size, rows))
            runs.append_metrics(folder, records[name])
        entries.append(records[name])
    return entries


def curves(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a method and load: successes with their interval, and costs.

    A chunk that two processes measured at once counts once.
    """
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for record in {_name(record): record for record in records}.values():
        groups.setdefault((record["method"], record["load"]), []).append(record)
    rows = []
    for (method, load), parts in groups.items():
        solved = np.concatenate([part["solved"] for part in parts]).astype(bool)
        epochs = np.concatenate([part["epochs"] for part in parts])
        best = np.concatenate([part["best"] for part in parts])
        share = wilson(int(solved.sum()), len(solved))
        rows.append(
            {
                "method": method,
                "load": load,
                **share._asdict(),
                "median_epochs": _median(epochs[solved]),
                "mean_best_errors": float(best.mean()),
                "core_s_per_instance": sum(p["core_s"] for p in parts) / len(solved),
                "median_core_s": float(
                    np.median([p["core_s"] / p["count"] for p in parts])
                ),
            }
        )
    return rows


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _name(record: Mapping[str, Any]) -> tuple[str, float, int, int]:
    return record["method"], record["load"], record["first"], record["count"]
