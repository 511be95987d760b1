"""The theory that the overlay's measurements are laid on, point by point."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from binary.overlay.jobs import CHAINS, COUPLINGS, LEVELS, LOADS, SAMPLED
from binary.theory import (
    Ensemble,
    flip_energy,
    franz_parisi_coupled,
    franz_parisi_curve,
    reference,
    stochastic,
    teacher_student,
)

# That of the reference tables, and a cold one near the limit that ascent is.
BETAS = (20.0, 1000.0)
# the figures' references, each with the distance where its solutions end, or near it
CENTRES = {
    "typical": 0.01,
    "spherical": 0.09,
    "q*=0.7": 0.0,
    "q*=0.8": 0.0,
    "q*=0.9": 0.0,
}
_NAMES = ("q", "loss", "energy_mode", "energy_draw", "replicon")


def stochastic_curve(
    alpha: float, beta: float, levels: Sequence[float]
) -> dict[str, list[float]]:
    """Return the observables at each q*, as columns."""
    curve: dict[str, list[float]] = {"q_star": list(levels)}
    curve.update({name: [] for name in _NAMES})
    for q_star in levels:
        point = stochastic(alpha, q_star, beta)
        for name in _NAMES:
            curve[name].append(getattr(point, name))
    return curve


@functools.cache
def centre(name: str, alpha: float) -> Ensemble:
    """Return one of the reference ensembles of the figures, by its label."""
    if name.startswith("q*="):
        return reference("stochastic", alpha, q_star=float(name[3:]), beta=BETAS[0])
    return reference(name, alpha)


def local_curve(
    name: str, alpha: float, distances: Sequence[float]
) -> dict[str, list[float]]:
    """Return S(d), and E(d) after flips, around one reference, as columns.

    Distances below the reference's own least are left out: no solution is there, and
    the saddle point may be lost.
    """
    ensemble = centre(name, alpha)
    domain = [d for d in distances if d >= CENTRES[name]]
    points = franz_parisi_curve(ensemble, domain)
    return {
        "distance": domain,
        "entropy": [point.entropy for point in points],
        "flipped": [flip_energy(ensemble, d) for d in domain],
    }


def theory_of(alpha: float) -> dict[str, Any]:
    """Return what each job is compared with: RS curves and points."""
    beta, q_star = SAMPLED
    sampled = stochastic(alpha, q_star, beta)
    coupled = franz_parisi_coupled(sampled.ensemble, COUPLINGS)
    # Above the spinodal, 1.4926, only the teacher is left.
    loads = [load for load in LOADS if load < 1.49]
    students = [teacher_student(load) for load in loads]
    return {
        "ascent": {f"{b:g}": stochastic_curve(alpha, b, LEVELS) for b in BETAS},
        "chains": [
            {name: getattr(stochastic(alpha, q, b), name) for name in _NAMES}
            for b, q in CHAINS
        ],
        "sampled": {
            "distance": [p.distance for p in coupled],
            "entropy": [p.entropy for p in coupled],
            "error": sampled.energy_mode,
        },
        "teacher": {
            "loads": loads,
            "overlap": [p.overlap for p in students],
            "generalization_error": [p.generalization_error for p in students],
        },
    }


def sampled_flips(alpha: float, distances: Sequence[float]) -> list[float]:
    """Return E(d) of the sampled centres at given distances."""
    beta, q_star = SAMPLED
    ensemble = stochastic(alpha, q_star, beta).ensemble
    return [flip_energy(ensemble, d) for d in distances]


def z_scores(measured: Mapping[str, Any], expected: Any) -> list[float]:
    """Return (measured - expected) / standard error, element by element."""
    gap = np.asarray(measured["mean"]) - np.asarray(expected)
    # Where all instances agree the standard error is 0.
    return (gap / np.maximum(np.asarray(measured["error"]), 1e-12)).tolist()
