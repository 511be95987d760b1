"""The sections of RESULTS.md on replica theory and what was measured against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from binary.overlay.jobs import CHAINS
from binary.overlay.report import overlay_sections
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

RECORDED = Path(__file__).parent / "recorded"

# Constants computed for this project by another programme, before this package was
# written, and the literature's names for them.
CONSTANTS = (
    ("capacity, no margin", 0.8330786),
    ("capacity, margin 0.1", 0.733017),
    ("capacity, margin 0.5", 0.455665),
    ("capacity, margin 1", 0.270700),
    ("teacher-student, first order", 1.244684),
    ("teacher-student, spinodal", 1.49263),
)


def sections() -> list[str]:
    """Return the Markdown lines of both sections, from recorded JSON alone."""
    lines: list[str] = []
    for name, make in (("theory", theory_sections), ("overlay", overlay_sections)):
        path = RECORDED / f"{name}.json"
        if path.exists():
            lines += make(read_json(path))
    notes = RECORDED / "theory-notes.md"
    if lines and notes.exists():
        lines += ["", *notes.read_text().splitlines()]
    return lines


def theory_sections(summary: Mapping[str, Any]) -> list[str]:
    """Return the section on the numbers of the theory."""
    results = summary["results"]
    ours = [*results["capacity"].values()]
    ours += [results["teacher_student"][k] for k in ("first_order", "spinodal")]
    cost = ", ".join(f"{k} {v:.1f} s" for k, v in summary["cpu_seconds"].items())
    lines = [
        "## Replica theory of the binary perceptron",
        "",
        f"`{summary['command']}`; processor time by part: {cost}.",
        "",
        *markdown(
            ["constant", "computed before", "ours"],
            [
                [name, f"{before:.6f}", f"{value:.7f}"]
                for (name, before), value in zip(CONSTANTS, ours, strict=True)
            ],
        ),
        "",
        "Stochastic perceptron at load 0.55 and beta 20. E(BC) is the training error "
        "of sign(m), E(draw) that of one draw. The last two columns repeat the "
        "integral over u cut off at 8, as the figures computed before had it.",
        "",
        *markdown(
            ["q*", "q", "loss", "E(draw)", "E(BC)", "replicon", "q, cut", "E(BC), cut"],
            [
                [
                    row["q_star"],
                    f"{row['q']:.6f}",
                    f"{row['loss']:.6f}",
                    f"{row['energy_draw']:.6f}",
                    f"{row['energy_mode']:.4e}",
                    f"{row['replicon']:.4f}",
                    f"{row['q_cut']:.6f}",
                    f"{row['energy_mode_cut']:.4e}",
                ]
                for row in results["stochastic"]
            ],
        ),
        "",
        "Binary control variables, m = sqrt(q*) sigma with sigma = +-1, at the same "
        "load and beta; sign(m) is sigma. Above a replicon of 1 the replica-symmetric "
        "numbers are no prediction.",
        "",
        *markdown(
            ["q*", "q", "free entropy", "E(BC)", "replicon"],
            [
                [
                    row["q_star"],
                    f"{row['q']:.6f}",
                    f"{row['free_entropy']:.6f}",
                    f"{row['energy_mode']:.4e}",
                    f"{row['replicon']:.4f}",
                ]
                for row in results["control"]
            ],
        ),
        "",
        "RS becomes unstable at beta "
        + ", ".join(
            f"{row['beta']:.1f} (q* {row['q_star']:g})"
            for row in results["stability"]
            if row["beta"] is not None
        )
        + "; below 100 not at all at q* "
        + ", ".join(
            f"{r['q_star']:g}" for r in results["stability"] if r["beta"] is None
        )
        + ".",
        "",
        *_local_tables(summary),
    ]
    return [*lines, ""]


def _local_tables(summary: Mapping[str, Any]) -> list[str]:
    local = summary["results"]["local"]
    distances = [f"d = {d:g}" for d in summary["distances"]]
    flips = [f"d = {d:g}" for d in summary["flips"]]
    worst = max(abs(row["peak_minus_gardner"]) for row in local.values())
    return [
        "Entropy S(d) of solutions around the binarised configuration, load 0.55; "
        f"its maximum is the Gardner entropy to {worst:.0e} for every reference. A "
        "dash: not computed.",
        "",
        *markdown(
            ["reference", *distances],
            [
                [name, *(f"{s:.6f}" for s in row["entropy"])]
                + ["-"] * (len(distances) - len(row["entropy"]))
                for name, row in local.items()
            ],
        ),
        "",
        "Training error E(d) after a random fraction d of its weights is flipped.",
        "",
        *markdown(
            ["reference", *flips],
            [
                [name, *(f"{e:.4f}" for e in row["flipped"])]
                for name, row in local.items()
            ],
        ),
    ]


def discrepancies(results: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Return (measured - RS) in standard errors, for what RS predicts."""
    theory = results["theory"]
    gaps: dict[str, Sequence[float]] = {}
    for (beta, q_star), point in zip(CHAINS, theory["chains"], strict=True):
        chain = results[f"chain beta={beta:g} q*={q_star:g}"]
        for name in ("loss", "energy_mode", "energy_draw"):
            gap = (chain[name]["mean"] - point[name]) / chain[name]["error"]
            gaps[f"{name}, beta {beta:g}, q* {q_star:g}"] = [gap]
    for name in ("distance", "entropy"):
        measured = results["around sampled"][name]
        gap = np.subtract(measured["mean"], theory["sampled"][name])
        gaps[f"{name} around samples"] = (gap / np.array(measured["error"])).tolist()
    return gaps
