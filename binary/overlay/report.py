"""What the overlay found, as Markdown: measured means beside the theory's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binary.overlay.jobs import CHAINS
from synaptax.reports.tables import markdown


def overlay_sections(summary: Mapping[str, Any]) -> list[str]:
    """Return the section on what was measured against the theory."""
    results = summary["results"]
    return [
        "## Stochastic synapses: experiment on theory",
        "",
        f"`{summary['command']}`, load {summary['config']['alpha']:g}, seed "
        f"{summary['seeds'][0]}, {summary['wall_s']:.0f} s; mean ± standard error "
        "over instances.",
        "",
        *_chain_lines(results),
        "",
        *_ascent_lines(results),
        "",
        *_around_lines(results),
        "",
        *_teacher_lines(results),
        "",
    ]


def _pair(
    measured: Mapping[str, Any], index: int | None = None, digits: int = 4
) -> str:
    mean, error = measured["mean"], measured["error"]
    if index is not None:
        mean, error = mean[index], error[index]
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _chain_lines(results: Mapping[str, Any]) -> list[str]:
    rows = []
    for (beta, q_star), theory in zip(CHAINS, results["theory"]["chains"], strict=True):
        chain = results[f"chain beta={beta:g} q*={q_star:g}"]
        row: list[Any] = [beta, q_star]
        for name in ("loss", "energy_draw", "energy_mode", "apart"):
            row += [
                _pair(chain[name]),
                f"{theory['q' if name == 'apart' else name]:.4f}",
            ]
        rows.append([*row, f"{theory['replicon']:.2f}"])
    first = results[f"chain beta={CHAINS[0][0]:g} q*={CHAINS[0][1]:g}"]
    head = ["beta", "q*"]
    for name in ("loss", "E(draw)", "E(BC)", "q"):
        head += [name, "RS"]
    return [
        f"Magnetisations sampled by Metropolis steps, N = {first['size']}, "
        f"{first['loss']['n']} instances. q is the overlap of two states of a chain "
        "half its length apart: above RS, the chain had not forgotten its start.",
        "",
        *markdown([*head, "replicon"], rows),
    ]


def _ascent_lines(results: Mapping[str, Any]) -> list[str]:
    ascent = results["ascent"]
    cold = results["theory"]["ascent"]
    rows = []
    for i, q_star in enumerate(ascent["q_star"]):
        row: list[Any] = [q_star]
        for name in ("loss", "energy_mode"):
            row += [
                _pair(ascent[name], i),
                *(f"{c[name][i]:.4f}" for c in cold.values()),
            ]
        row += [f"{c['replicon'][i]:.2f}" for c in cold.values()]
        rows.append(row)
    betas = [f"RS beta {beta}" for beta in cold]
    head = ["q*", "loss", *betas, "E(BC)", *betas]
    head += [f"replicon, beta {beta}" for beta in cold]
    return [
        f"Ascent at fixed q*, N = {ascent['size']}, {ascent['loss']['n']} instances. "
        "Ascent is the limit beta to infinity, so it belongs on the cold curve where "
        "that is stable; where its replicon is above 1, RS does not describe the "
        "limit and the curve is no prediction.",
        "",
        *markdown(head, rows),
    ]


def _around_lines(results: Mapping[str, Any]) -> list[str]:
    theory = results["theory"]["sampled"]
    kinds = ("free", "annealed", "sampled")
    groups = [results[f"around {kind}"] for kind in kinds]
    rows = []
    for i, gamma in enumerate(groups[0]["couplings"]):
        row: list[Any] = [gamma]
        for group in groups:
            converged = group["converged"][i] == 1
            row += (
                [_pair(group[key], i) for key in ("distance", "entropy")]
                if converged
                else ["-", "-"]
            )
        row += [f"{theory[key][i]:.4f}" for key in ("distance", "entropy")]
        rows.append(row)
    head = ["gamma"]
    for kind in kinds:
        head += [f"d, {kind}", f"S, {kind}"]
    sizes = ", ".join(
        f"{kind} N = {group['size']}, {group['entropy']['n']} instances"
        for kind, group in zip(kinds, groups, strict=True)
    )
    flipped = [
        [f"{d:.4f}", *(_pair(group["flipped_error"], i) for group in groups)]
        for i, d in enumerate(groups[0]["flips"])
    ]
    return [
        f"Local entropy by belief propagation around found solutions ({sizes}; the "
        "sampled centres are sign(m) at beta 10, q* 0.8, which the last two columns "
        "predict). A dash: not every instance converged.",
        "",
        *markdown([*head, "d, RS", "S, RS"], rows),
        "",
        "Training error after flips, the same centres.",
        "",
        *markdown(["d", *kinds], flipped),
    ]


def _teacher_lines(results: Mapping[str, Any]) -> list[str]:
    groups = [results[f"teacher {kind}"] for kind in ("free", "annealed")]
    theory = results["theory"]["teacher"]
    expected = dict(zip(theory["loads"], theory["overlap"], strict=True))
    rows = []
    for i, load in enumerate(groups[0]["loads"]):
        row: list[Any] = [load]
        for group in groups:
            row += [
                f"{group['teacher_found'][i]}/{group['n']}",
                _pair(group["overlap"], i, 3),
            ]
        rows.append([*row, f"{expected[load]:.3f}" if load in expected else "1"])
    return [
        f"Teacher-student, N = {groups[0]['size']}: how often ascent ends at the "
        "teacher, and its overlap with it. The last column is the overlap of a random "
        "solution up to the spinodal, 1.4926, above which only the teacher is left. "
        "Annealed runs that fail end at q* = 1, where the variance is at its floor and "
        "steps are large (the likely cause of their low overlap at the end).",
        "",
        *markdown(
            ["load", "free", "overlap", "annealed", "overlap", "RS overlap"], rows
        ),
    ]
