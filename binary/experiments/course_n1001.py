"""Energy and q* against epochs at N = 1001: the mean of 100 instances.

Command: ``python -m binary.experiments.course_n1001``; with its record there, it prints
that and measures nothing. Half a minute of one core.

The energy is the share of patterns that sign(m) gets wrong. A run that has solved its
instance stays where it is, with energy 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from binary.experiments.record import described, seeded, shown
from binary.instances import storage
from binary.methods import METHODS
from binary.solvers import solve
from synaptax.reports.tables import markdown

NAME, SIZE, LOAD, INSTANCES, FIRST_SEED = "course_n1001", 1001, 0.55, 100, 3000
SHOWN = ("free", "free-h", "power-300", "amp")
EPOCHS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300)


def course(method: str, size: int, load: float, count: int) -> dict[str, Any]:
    """Return mean and standard error of energy and q* at EPOCHS, of one method."""
    recipe = METHODS[method]
    draw = lambda key: storage(key, size, load)
    batch, turns = seeded(draw, FIRST_SEED, count)
    used = time.process_time()
    result = jax.device_get(
        solve(
            recipe.solver(size),
            batch,
            turns,
            epochs=recipe.epochs,
            width=recipe.width,
            trace=True,
        )
    )
    # where a run stays after its end
    at = np.minimum(np.array(EPOCHS)[None], result.epochs[:, None])
    wrong, overlap = (np.take_along_axis(leaf, at, axis=1) for leaf in result.trace)
    energy = wrong / batch.patterns.shape[1]
    row = {"method": method, "solved": int(result.solved.sum())}
    for name, values in (("energy", energy), ("overlap", overlap)):
        row[name] = values.mean(axis=0).round(6).tolist()
        error = values.std(axis=0, ddof=1) / len(values) ** 0.5
        row[f"{name}_error"] = error.round(6).tolist()
    return row | {"core_s": round(time.process_time() - used, 3)}


def table(record: Mapping[str, Any]) -> list[str]:
    """Return the Markdown table of a record: energy and q* of each method."""
    columns = [i for i, t in enumerate(EPOCHS) if t in (1, 3, 10, 30, 100, 300)]
    head = ["method", "solved", *(f"epoch {EPOCHS[i]}" for i in columns)]
    lines = []
    for one in record["courses"]:
        cells = [
            f"{100 * one['energy'][i]:.2f} %, {one['overlap'][i]:.3f}" for i in columns
        ]
        solved = f"{one['solved']}/{record['instances']}"
        lines.append([METHODS[one["method"]].label, solved, *cells])
    return markdown(head, lines)


def _measured() -> dict[str, Any]:
    return {
        **described(NAME, SIZE, INSTANCES, FIRST_SEED, load=LOAD, epochs=EPOCHS),
        "courses": [course(name, SIZE, LOAD, INSTANCES) for name in SHOWN],
    }


def main() -> int:
    """Measure unless there is a record, and print its table."""
    return shown(NAME, _measured, table)


if __name__ == "__main__":
    sys.exit(main())
