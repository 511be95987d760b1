"""Run a plan of success curves, resumably, and write its record."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from binary.commands.success import progress, show
from binary.instances import stack
from binary.methods import METHODS
from binary.success import Point, curves, run
from synaptax import runs

RECORDED = Path(__file__).parent / "recorded"
_CHUNKS = Path("runs")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one record holds.

    Attributes:
        name: of the record, and of the run folders, one a method, that keep chunks.
        size: N.
        first_seed: of the instances, the same for every method and load.
        chunk: instances solved in one call.
        loads: method to its loads and the number of instances, one for all or one each.
    """

    name: str
    size: int
    first_seed: int
    chunk: int
    loads: Mapping[str, tuple[tuple[float, ...], int | tuple[int, ...]]]

    def points(self, method: str) -> list[Point]:
        """Return the points of a method."""
        loads, instances = self.loads[method]
        counts = (instances,) * len(loads) if isinstance(instances, int) else instances
        return [Point(method, *one) for one in zip(loads, counts, strict=True)]


def main(plan: Plan, arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, then write the record of all that is there.

    Args:
        plan: what to measure.
        arguments: the command line; default: this process's.
    """
    parser = argparse.ArgumentParser(description=f"Measure {plan.name}.")
    parser.add_argument("--only", nargs="*", default=(), choices=tuple(plan.loads))
    only = parser.parse_args(arguments).only
    rows = _earlier(plan)["rows"]
    for method in only or plan.loads:
        folder = _folder(plan, method)
        if not folder.path.exists() and _recorded(plan, method):
            continue  # measured elsewhere; its chunks need not be measured again
        folder.path.mkdir(parents=True, exist_ok=True)
        run(
            folder,
            plan.points(method),
            size=plan.size,
            first_seed=plan.first_seed,
            chunk=plan.chunk,
            report=progress(),
        )
        rows = _write(plan)
    show(rows)
    return 0


def seeded(
    draw: Callable[[Any], Any], first_seed: int, count: int
) -> tuple[Any, jax.Array]:
    """Return stacked instances and the keys of their runs, both of seeds in turn.

    Args:
        draw: an instance of a key.
        first_seed: of the first instance.
        count: of instances.
    """
    pairs = [
        jax.random.split(jax.random.key(seed))
        for seed in range(first_seed, first_seed + count)
    ]
    instances = stack([draw(own) for own, _ in pairs])
    return instances, jnp.stack([turn for _, turn in pairs])


def described(
    name: str, size: int, instances: int, first_seed: int, **fields: Any
) -> dict[str, Any]:
    """Return how a record was made: command, N, instances, seeds, more, the machine."""
    return {
        "command": f"python -m binary.experiments.{name}",
        "size": size,
        "instances": instances,
        "first_seed": first_seed,
        **fields,
        **runs.environment(),
    }


def shown(
    name: str,
    measure: Callable[[], Mapping[str, Any]],
    table: Callable[[Mapping[str, Any]], Sequence[str]],
) -> int:
    """Measure and record unless there is a record, and print its table."""
    path = RECORDED / f"{name}.json"
    if not path.exists():
        runs.write_json(path, runs.jsonable(measure()))
    print("\n".join(table(runs.read_json(path))))
    return 0


def _folder(plan: Plan, method: str) -> runs.RunFolder:
    return runs.RunFolder(_CHUNKS / f"binary-{plan.name}" / method)


def _earlier(plan: Plan) -> dict[str, Any]:
    """Return what is recorded already, or an empty record."""
    path = RECORDED / f"{plan.name}.json"
    return runs.read_json(path) if path.exists() else {"rows": [], "spent": {}}


def _recorded(plan: Plan, method: str) -> bool:
    """Say whether every point of a method is recorded in full."""
    rows = _earlier(plan)["rows"]
    totals = {(row["method"], row["load"]): row["total"] for row in rows}
    return all(
        totals.get((point.method, point.load), 0) >= point.instances
        for point in plan.points(method)
    )


def merged(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], order: Sequence[str]
) -> list[dict[str, Any]]:
    """Return old and new rows, one a method and load, that of more instances.

    Args:
        old: rows of a record.
        new: rows of chunks at hand; preferred where they have as many instances.
        order: of the methods.
    """
    best: dict[tuple[str, float], dict[str, Any]] = {}
    for row in (*old, *new):
        key = (row["method"], row["load"])
        if key not in best or row["total"] >= best[key]["total"]:
            best[key] = row
    return sorted(best.values(), key=lambda r: (order.index(r["method"]), r["load"]))


def spent(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the wall and core seconds of chunks, method by method."""
    seconds: dict[str, dict[str, float]] = {}
    for record in records:
        own = seconds.setdefault(record["method"], {"wall_s": 0.0, "core_s": 0.0})
        for clock in own:
            own[clock] = round(own[clock] + record[clock], 3)
    return seconds


def _write(plan: Plan) -> list[dict[str, Any]]:
    """Write the record of every chunk, here or recorded before; return its rows."""
    records = [
        record
        for method in plan.loads
        for record in runs.read_metrics(_folder(plan, method))
    ]
    earlier = _earlier(plan)
    rows = merged(earlier["rows"], curves(records), list(plan.loads))
    times = earlier["spent"] | spent(records)
    record = {
        "command": f"python -m binary.experiments.{plan.name}",
        "size": plan.size,
        "first_seed": plan.first_seed,
        "methods": {
            name: {"label": METHODS[name].label, "epochs": METHODS[name].epochs}
            for name in dict.fromkeys(row["method"] for row in rows)
        },
        "wall_s": round(sum(one["wall_s"] for one in times.values()), 1),
        "core_s": round(sum(one["core_s"] for one in times.values()), 1),
        "spent": times,
        **runs.environment(),
        "rows": rows,
    }
    runs.write_json(RECORDED / f"{plan.name}.json", record)
    return rows
