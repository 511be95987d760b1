"""The figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis import plane_plots, plots
from analysis.minima.claims import arms_of
from analysis.minima.compare import Comparison
from analysis.minima.config import Config

LETTERS = {
    "dense": "dense",
    "gradual": "G",
    "one-shot": "S",
    "one-shot-layer": "S by layer",
    "rewound": "R",
    "rewound-layer": "R by layer",
    "ticket": "T",
}
NAMES = {
    "dense": "dense, trained as long",
    "gradual": "G, gradual",
    "one-shot": "S, one-shot",
    "one-shot-layer": "S by layer",
    "rewound": "R, S rewound",
    "rewound-layer": "R by layer",
    "ticket": "T, G's mask from the initial weights",
}


def title(config: Config) -> str:
    """Return network, data and seeds in a few words."""
    return f"{config.model} on {config.dataset}, {len(config.seeds)} seeds"


def figures(comparison: Comparison) -> dict[str, Any]:
    """Return the figures of a comparison by name."""
    config, seed = comparison.config, comparison.config.seeds[0]
    what, places = title(config), {"G": (0.0, 0.0), "S": (1.0, 0.0)}
    first = f"{config.model} on {config.dataset}, seed {seed}"
    pair = comparison.maps[f"pair-one-shot-seed{seed}"]["plane"]
    by_name = {
        "error-sparsity": plots.error_sparsity(_curves(comparison), title=what),
        "loss-plane": plane_plots.contour(
            pair["a"], pair["b"], pair["loss"], points=places, title=first
        ),
        "loss-surface": plane_plots.surface(
            pair["a"], pair["b"], pair["loss"], points=places, title=first
        ),
        "line": plots.along_paths(
            {
                f"seed {s}": comparison.maps[f"pair-one-shot-seed{s}"]["line"]
                for s in config.seeds
            },
            title=what,
        ),
        "entropy": plots.entropy_histograms(
            _histograms(comparison.measures, seed), title=f"{first}: live neurons"
        ),
        "spectra": plots.spectra(
            {
                LETTERS[arm]: comparison.maps[f"spectrum-{arm}-seed{seed}"]
                for arm in ("gradual", "one-shot")
            },
            title=first,
        ),
    }
    curves = curvature_curves(comparison.equal)
    if curves:
        by_name["curvature-loss"] = plots.curvature_loss(curves, title=what)
    if "eigenvalues" in comparison.maps:
        tops = comparison.maps["eigenvalues"]
        by_name["eigenvalue-plane"] = plane_plots.contour(
            tops["a"],
            tops["b"],
            tops["top"],
            points=places,
            label="top eigenvalue of the Hessian, all weights",
            # An eigenvalue at or below zero has no logarithm.
            logarithmic=min(map(min, tops["top"])) > 0,
            title=first,
        )
    return by_name


def curvature_curves(equal: Mapping[str, Any]) -> dict[str, Any]:
    """Return (loss, top eigenvalue) of each seed at the common losses, by arm.

    G's are those at which it meets S, or where it meets S nowhere, the first twin.
    """
    curves: dict[str, Any] = {}
    arms = [pair["second"]["arm"] for pair in equal.values() if pair["levels"]]
    twin = "one-shot" if "one-shot" in arms else (arms or [None])[0]
    for pair in equal.values():
        sides = [("second", pair["second"]["arm"])] if pair["levels"] else []
        if sides and sides[0][1] == twin:
            sides.insert(0, ("first", "gradual"))
        for side, arm in sides:
            loss = [float(one["loss"]) for one in pair["levels"]]
            top = [float(one[side]["top_survivors"]) for one in pair["levels"]]
            curves.setdefault(NAMES[arm], []).append((loss, top))
    return curves


def _curves(comparison: Comparison) -> dict[str, Any]:
    """Return mean error against mean sparsity of each arm.

    Dense comes first, but not before an arm with one sparsity: two points that differ
    in more than the sparsity are no curve.
    """
    curves: dict[str, Any] = {}
    for arm in NAMES:
        points = [
            _point(comparison, arm, level)
            for level in (*comparison.config.levels, None)
        ]
        points = sorted(point for point in points if point is not None)
        if arm == "dense" or not points:
            continue
        if len(points) > 1:
            points = [p for p in [_point(comparison, "dense", None)] if p] + points
        sparsity, error, se = zip(*points, strict=True)
        curves[NAMES[arm]] = {"sparsity": sparsity, "error": error, "se": se}
    return curves


def _point(
    comparison: Comparison, arm: str, level: float | None
) -> tuple[float, float, float] | None:
    """Return mean sparsity, mean error and its standard error; None without them."""
    own = [a.get(arm) for a in arms_of(comparison.measures, level).values()]
    own = [m for m in own if m is not None]
    if not own:
        return None
    errors = [m["error"] for m in own]
    density = float(np.mean([m["kept"] / m["total"] for m in own]))
    se = float(np.std(errors, ddof=1)) / math.sqrt(len(own)) if len(own) > 1 else 0.0
    return 1 - density, float(np.mean(errors)), se


def _histograms(measures: Mapping[str, Any], seed: int) -> dict[str, Any]:
    arms = arms_of(measures, None)[seed]
    arm_names = [arm for arm in ("gradual", "one-shot", "rewound") if arm in arms]
    return {
        layer: {LETTERS[arm]: arms[arm]["histograms"][layer] for arm in arm_names}
        for layer in arms["gradual"]["histograms"]
    }
