"""Teacher and student at N = 1001: overlap with the teacher of the best weights found.

Command: ``python -m binary.experiments.teacher_n1001``. It goes on where it was
stopped, a method and a load at a time; with all of them recorded it prints the table of
the record and measures nothing. About a minute and a half of one core.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from binary.experiments.record import described, seeded, shown
from binary.instances import teacher_student
from binary.methods import METHODS
from binary.solvers import solve
from binary.theory import NotConverged
from binary.theory import teacher_student as replica
from synaptax import runs
from synaptax.reports.tables import markdown

NAME, SIZE, INSTANCES, FIRST_SEED = "teacher_n1001", 1001, 8, 2000
# those that were asked about come first
LOADS = (1.2, 1.3, 1.4, 1.0, 1.5, 1.6, 1.7)
SHOWN = ("free", "power-1000")


def cell(method: str, load: float, size: int, count: int) -> dict[str, Any]:
    """Return what one method reaches at one load: a value an instance."""
    recipe = METHODS[method]
    draw = lambda key: teacher_student(key, size, load)
    batch, turns = seeded(draw, FIRST_SEED, count)
    used = time.process_time()
    result = jax.device_get(
        solve(
            recipe.solver(size), batch, turns, epochs=recipe.epochs, width=recipe.width
        )
    )
    spent = time.process_time() - used
    teacher = np.asarray(batch.teacher, float)

    def overlap(weights: np.ndarray) -> list[float]:  # R = W . teacher / N
        return np.mean(weights * teacher, axis=1).round(6).tolist()

    return {
        "method": method,
        "load": load,
        "solved": result.solved.astype(int).tolist(),
        "best": result.best.tolist(),
        "errors": result.errors.tolist(),
        "overlap": overlap(result.best_weights),
        "last_overlap": overlap(result.weights),
        "core_s": round(spent, 3),
    }


def expected(load: float) -> tuple[float, float]:
    r"""Return RS overlaps of a random solution and of the centre: 1 above the spinodal.

    The centre is the sign of the mean of all solutions. A weight's field along its
    teacher's is normal, with mean and variance \hat R, so that

    .. math:: R_c = 2 \Phi(\sqrt{\hat R}) - 1 = \mathrm{erf}(\sqrt{\hat R / 2})
    """
    try:
        point = replica(load)
    except NotConverged:
        return 1.0, 1.0
    return point.overlap, math.erf(math.sqrt(point.conjugate / 2))


def rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return a table row a method and load, from a record."""
    lines = []
    for one in record["cells"]:
        mean, last = np.mean(one["overlap"]), np.mean(one["last_overlap"])
        error = np.std(one["overlap"], ddof=1) / np.sqrt(len(one["overlap"]))
        theory, centre = record["replica"][f"{one['load']:g}"]
        lines.append(
            [
                METHODS[one["method"]].label,
                f"{one['load']:g}",
                f"{sum(one['solved'])}/{len(one['solved'])}",
                f"{np.mean(one['best']):.1f}",
                f"{mean:.3f} ± {error:.3f}",
                f"{theory:.3f}",
                f"{mean - theory:+.3f}",
                f"{centre:.3f}",
                f"{last:.3f}",
            ]
        )
    return lines


def table(record: Mapping[str, Any]) -> list[str]:
    """Return the Markdown table of a record."""
    head = ["method", "load", "solved", "fewest errors", "overlap, best weights"]
    head += ["RS, a solution", "difference", "RS, the centre", "overlap, last weights"]
    return markdown(head, rows(record))


def main() -> int:
    """Measure what is missing, write the record, print its table."""
    return shown(NAME, _measured, table)


def _measured() -> dict[str, Any]:
    folder = runs.RunFolder(Path("runs") / f"binary-{NAME}")
    folder.path.mkdir(parents=True, exist_ok=True)
    runs.keep_metrics(folder)
    records = {}
    for one in runs.read_metrics(folder):
        folder.check_own(one, folder.metrics)
        records[one["method"], one["load"]] = one
    cells = []
    for name in ((method, load) for method in SHOWN for load in LOADS):
        if name not in records:
            records[name] = folder.own(cell(*name, SIZE, INSTANCES))
            runs.append_metrics(folder, records[name])
        cells.append({key: records[name][key] for key in _KEPT})
    cells.sort(key=lambda one: (SHOWN.index(one["method"]), one["load"]))
    epochs = {name: METHODS[name].epochs for name in SHOWN}
    replica = {f"{load:g}": expected(load) for load in LOADS}
    frame = described(NAME, SIZE, INSTANCES, FIRST_SEED, epochs=epochs, replica=replica)
    return {**frame, "cells": cells}


_KEPT = ("method", "load", "solved", "best", "errors", "overlap", "last_overlap")
_KEPT += ("core_s",)

if __name__ == "__main__":
    sys.exit(main())
