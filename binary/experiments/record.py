"""Run a plan of success curves, resumably, and write its record."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from binary.commands.success import progress, show
from binary.experiments.methods import METHODS
from binary.experiments.success import Point, curves, run
from pruning.lab import runs

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
        loads: method to its loads and the number of instances at each.
    """

    name: str
    size: int
    first_seed: int
    chunk: int
    loads: Mapping[str, tuple[tuple[float, ...], int]]

    def points(self, method: str) -> list[Point]:
        """Return the points of a method."""
        loads, count = self.loads[method]
        return [Point(method, load, count) for load in loads]


def main(plan: Plan, arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, then write the record of all that is there.

    Args:
        plan: what to measure.
        arguments: the command line; default: this process's.
    """
    parser = argparse.ArgumentParser(description=f"Measure {plan.name}.")
    parser.add_argument("--only", nargs="*", default=(), choices=tuple(plan.loads))
    only = parser.parse_args(arguments).only
    rows: list[dict[str, Any]] = []
    for method in only or plan.loads:
        folder = _folder(plan, method)
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


def _folder(plan: Plan, method: str) -> runs.RunFolder:
    return runs.RunFolder(_CHUNKS / f"binary-{plan.name}" / method)


def _write(plan: Plan) -> list[dict[str, Any]]:
    """Write the record of every chunk there is; return its rows."""
    records = [
        record
        for method in plan.loads
        for record in runs.read_metrics(_folder(plan, method))
    ]
    rows = curves(records)
    record = {
        "command": f"python -m binary.experiments.{plan.name}",
        "size": plan.size,
        "first_seed": plan.first_seed,
        "methods": {
            name: {"label": METHODS[name].label, "epochs": METHODS[name].epochs}
            for name in dict.fromkeys(row["method"] for row in rows)
        },
        "wall_s": round(sum(chunk["wall_s"] for chunk in records), 1),
        "core_s": round(sum(chunk["core_s"] for chunk in records), 1),
        **runs.environment(),
        "rows": rows,
    }
    runs.write_json(RECORDED / f"{plan.name}.json", record)
    return rows
