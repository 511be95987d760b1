"""Record the numbers of the theory, and how long each curve takes.

Command: ``python -m binary.experiments.theory_table``; about a minute on one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from binary.overlay.theory import CENTRES, centre
from binary.theory import (
    NotConverged,
    capacity,
    control,
    critical_beta,
    first_order_point,
    flip_energy,
    franz_parisi_coupled,
    franz_parisi_curve,
    gardner,
    spinodal,
    stochastic,
    teacher_student,
)
from binary.theory.quadrature import gaussian_rule
from synaptax.runs import command_line, environment, jsonable, write_json

RECORDED = Path(__file__).parent / "recorded"
ALPHA, BETA = 0.55, 20.0
Q_STARS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
DISTANCES = (0.4, 0.3, 0.2, 0.1, 0.07, 0.05, 0.02, 0.01)
FLIPS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_COLUMNS = (
    *("q_star", "q", "q_hat", "multiplier", "free_entropy", "loss"),
    *("energy_draw", "energy_mode", "replicon", "residual"),
)


def _stochastic_rows() -> list[dict[str, float]]:
    rows = []
    for q_star in Q_STARS:
        point = stochastic(ALPHA, q_star, BETA)
        window_point = stochastic(ALPHA, q_star, BETA, window=gaussian_rule(641))
        row = {name: getattr(point, name) for name in _COLUMNS}
        rows.append(
            row | {"q_cut": window_point.q, "energy_mode_cut": window_point.energy_mode}
        )
    return rows


def _control_rows() -> list[dict[str, Any]]:
    names = ("q_star", "q", "free_entropy", "energy_mode", "replicon")
    return [
        {name: getattr(control(ALPHA, q, BETA), name) for name in names}
        for q in (0.5, 0.7, 0.8, 0.9, 0.95)
    ]


def _local_rows() -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in CENTRES:
        ensemble = centre(name, ALPHA)
        # Within about 0.09 of it there is no solution, and the saddle may be lost.
        inner = 4 if name == "spherical" else len(DISTANCES)
        points = franz_parisi_curve(ensemble, DISTANCES[:inner])
        (peak,) = franz_parisi_coupled(ensemble, [0.0])
        rows[name] = {
            "entropy": [p.entropy for p in points],
            "peak_distance": peak.distance,
            "peak_minus_gardner": peak.entropy - gardner(ALPHA).entropy,
            "flipped": [flip_energy(ensemble, d) for d in FLIPS],
        }
    return rows


def _line() -> list[dict[str, Any]]:
    rows = []
    for q_star in (0.7, 0.75, 0.775, 0.8, 0.85, 0.9, 0.95):
        try:
            beta = critical_beta(ALPHA, q_star).beta
        except NotConverged:
            beta = None
        rows.append({"q_star": q_star, "beta": beta})
    return rows


PARTS: dict[str, Callable[[], Any]] = {
    "capacity": lambda: {f"{k:g}": capacity(k).alpha for k in (0.0, 0.1, 0.5, 1.0)},
    "gardner": lambda: [gardner(float(a)) for a in np.linspace(0.02, 0.83, 50)],
    "teacher_student": lambda: {
        "first_order": first_order_point().alpha,
        "spinodal": spinodal().alpha,
        "curve": [teacher_student(float(a)) for a in np.linspace(0.05, 1.49, 50)],
    },
    "stochastic": _stochastic_rows,
    "control": _control_rows,
    "stability": _line,
    "local": _local_rows,
}


def record() -> dict[str, Any]:
    """Solve every part and write ``recorded/theory.json``; return what was written."""
    results: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name, solve in PARTS.items():
        started = time.process_time()
        results[name] = jsonable(solve())
        seconds[name] = round(time.process_time() - started, 3)
    summary = {
        "command": command_line(),
        "seeds": [],
        "wall_s": sum(seconds.values()),
        **environment(),
        "distances": DISTANCES,
        "flips": FLIPS,
        "cpu_seconds": seconds,
        "results": results,
    }
    RECORDED.mkdir(exist_ok=True)
    write_json(RECORDED / "theory.json", jsonable(summary))
    return summary


if __name__ == "__main__":
    for part, cost in record()["cpu_seconds"].items():
        print(f"{part}: {cost:.2f} s")
