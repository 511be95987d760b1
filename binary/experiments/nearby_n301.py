"""The entropy S(d) of solutions around those of SBPI and AMP, N = 301, load 0.55.

Command: ``python -m binary.experiments.nearby_n301``; with its record there, it prints
that and measures nothing. About a minute of one core.

Belief propagation sums over the solutions around a solution found, as the overlay does
at N = 1001 around those of ascent; here all solvers have the same six instances.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from binary._local_entropy import local_entropy
from binary.experiments.record import described, seeded, shown
from binary.instances import storage
from binary.methods import METHODS
from binary.overlay.jobs import statistics
from binary.solvers import solve
from synaptax.reports.tables import markdown

NAME, SIZE, LOAD, INSTANCES, FIRST_SEED = "nearby_n301", 301, 0.55, 6, 4000
SHOWN = ("sbpi", "amp", "free")
COUPLINGS = (0.0, 0.4, 0.8, 1.2, 1.5)


def around(method: str, size: int, count: int) -> dict[str, Any]:
    """Return d and S(d) at each coupling, around the solutions of one method."""
    recipe = METHODS[method]
    draw = lambda key: storage(key, size, LOAD)
    batch, turns = seeded(draw, FIRST_SEED, count)
    used = time.process_time()
    result = solve(
        recipe.solver(size), batch, turns, epochs=recipe.epochs, width=recipe.width
    )
    rows = np.flatnonzero(result.solved)
    solved = jax.tree.map(lambda leaf: leaf[rows], batch)
    near = local_entropy(solved, np.asarray(result.weights)[rows], COUPLINGS)
    return {
        "method": method,
        "solved": len(rows),
        "converged": near.converged.sum(axis=0).tolist(),
        "distance": statistics(near.distance),
        "entropy": statistics(near.entropy),
        "core_s": round(time.process_time() - used, 3),
    }


def table(record: Mapping[str, Any]) -> list[str]:
    """Return the Markdown table of a record; a dash where a run did not converge."""
    head = ["solutions of", *(f"d, S(d) at gamma {g:g}" for g in COUPLINGS)]
    lines = []
    for one in record["centres"]:
        cells = [
            f"{d:.3f}, {s:.4f} ± {error:.4f}" if converged == one["solved"] else "-"
            for d, s, error, converged in zip(
                one["distance"]["mean"],
                one["entropy"]["mean"],
                one["entropy"]["error"],
                one["converged"],
                strict=True,
            )
        ]
        label = METHODS[one["method"]].label
        lines.append([f"{label} ({one['solved']} of {record['instances']})", *cells])
    return markdown(head, lines)


def _measured() -> dict[str, Any]:
    return {
        **described(NAME, SIZE, INSTANCES, FIRST_SEED, load=LOAD, couplings=COUPLINGS),
        "centres": [around(name, SIZE, INSTANCES) for name in SHOWN],
    }


def main() -> int:
    """Measure unless there is a record, and print its table."""
    return shown(NAME, _measured, table)


if __name__ == "__main__":
    sys.exit(main())
