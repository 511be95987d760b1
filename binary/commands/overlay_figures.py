"""The figures of the overlay: measured points with their errors, on theory curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from binary.commands._figures import save
from binary.overlay.jobs import CHAINS
from binary.overlay.theory import (
    BETAS,
    CENTRES,
    local_curve,
    sampled_flips,
    stochastic_curve,
)
from binary.theory import binary_entropy, spinodal, teacher_student
from synaptax.reports.drawing import COLOURS, blank

_GREY = "#595959"
_DISTANCES = (*np.arange(0.005, 0.06, 0.005), 0.07, *np.arange(0.085, 0.37, 0.025))
_DENSE = tuple(np.round(np.arange(0.1, 0.951, 0.05), 3))
_KINDS = {"free": ("o", 0), "annealed": ("s", 1), "sampled": ("^", 2)}


def _points(axes: Any, x: Any, found: Mapping[str, Any], **style: Any) -> None:
    axes.errorbar(
        x, found["mean"], found["error"], linestyle="none", capsize=2, ms=4.5, **style
    )


def energies(results: Mapping[str, Any], alpha: float) -> Any:
    """Draw loss and error of sign(m) against q*: RS, ascent and samples."""
    figure = blank(10.0, 4.2)
    panels = figure.subplots(1, 2)
    curves = {beta: stochastic_curve(alpha, beta, _DENSE) for beta in BETAS}
    labels = ("loss per pattern (nats)", "training error of sign(m)")
    for axes, name, label in zip(panels, ("loss", "energy_mode"), labels, strict=True):
        for (beta, curve), dashes in zip(curves.items(), ("-", "--"), strict=True):
            _stable_part(axes, curve, name, dashes, f"RS, β = {beta:g}")
        ascent = results["ascent"]
        _points(
            axes,
            ascent["q_star"],
            ascent[name],
            color=COLOURS[1],
            marker="o",
            label=f"ascent at fixed q*, N = {ascent['size']}",
        )
        _samples(axes, results, name)
        axes.set(xlabel="q*, mean square of m", ylabel=label)
        axes.grid(alpha=0.3)
    panels[1].set_yscale("log")
    panels[1].set_ylim(1e-5, 0.3)
    panels[0].legend(fontsize=7)
    return figure


def _stable_part(
    axes: Any, curve: Mapping[str, Any], name: str, dashes: str, label: str
) -> None:
    """Draw a curve as a line where RS is stable, and as crosses where it is not."""
    stable = np.array(curve["replicon"]) < 1
    y = np.array(curve[name])
    axes.plot(
        _DENSE, np.where(stable, y, np.nan), dashes, color=COLOURS[0], label=label
    )
    if not stable.all():
        rest = np.where(stable, np.nan, y)
        axes.plot(_DENSE, rest, "x", color=_GREY, ms=4, label=f"{label}, unstable")


def _samples(axes: Any, results: Mapping[str, Any], name: str) -> None:
    """Draw the chains, and for each the RS value as a short line."""
    theory = results["theory"]["chains"]
    for colour, beta in zip(COLOURS[2:5], (5.0, 10.0, 20.0), strict=True):
        own = [i for i, (b, _) in enumerate(CHAINS) if b == beta]
        chains = [results[f"chain beta={beta:g} q*={CHAINS[i][1]:g}"] for i in own]
        where = [CHAINS[i][1] for i in own]
        values = {k: [chain[name][k] for chain in chains] for k in ("mean", "error")}
        label = f"samples, β = {beta:g}, N = {chains[0]['size']}"
        _points(axes, where, values, color=colour, marker="D", label=label)
        label = "RS at the samples' β" if beta == 5.0 else None
        expected = [theory[i][name] for i in own]
        axes.plot(where, expected, "_", color="#000000", ms=14, label=label)


def nearby(results: Mapping[str, Any], alpha: float) -> Any:
    """Draw the entropy of solutions against distance: S(d) and belief propagation."""
    figure = blank(7.2, 4.8)
    axes = figure.add_subplot()
    for colour, name in zip(COLOURS, CENTRES, strict=False):
        curve = local_curve(name, alpha, _DISTANCES)
        label = f"RS, BC of {name}, β = 20" if name[0] == "q" else f"RS, {name}"
        axes.plot(curve["distance"], curve["entropy"], color=colour, label=label)
    theory = results["theory"]["sampled"]
    axes.plot(
        theory["distance"],
        theory["entropy"],
        "k--",
        lw=1,
        label="RS, BC of q*=0.8, β = 10",
    )
    grid = np.linspace(0.001, 0.36, 100)
    axes.plot(
        grid,
        [binary_entropy(float(d)) for d in grid],
        ":",
        color=_GREY,
        label="all weight vectors",
    )
    for kind, (marker, _) in _KINDS.items():
        found = results[f"around {kind}"]
        kept = np.array(found["converged"]) == 1
        axes.errorbar(
            np.array(found["distance"]["mean"])[kept],
            np.array(found["entropy"]["mean"])[kept],
            xerr=np.array(found["distance"]["error"])[kept],
            yerr=np.array(found["entropy"]["error"])[kept],
            linestyle="none",
            marker=marker,
            ms=5,
            capsize=2,
            color="#000000",
            mfc="none",
            label=f"BP around {_NAMES[kind]}, N = {found['size']}",
        )
    axes.set_xlim(0, 0.36)
    axes.set_ylim(0, 0.3)
    axes.set_xlabel("Hamming distance per weight, d")
    axes.set_ylabel("entropy of solutions S(d) (nats per weight)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


_NAMES = {
    "free": "free ascent",
    "annealed": "annealed ascent",
    "sampled": "samples at β = 10, q* = 0.8",
}


def robustness(results: Mapping[str, Any], alpha: float) -> Any:
    """Draw the training error after random flips."""
    figure = blank(6.4, 4.4)
    axes = figure.add_subplot()
    for colour, name in zip(COLOURS, ("typical", "q*=0.9", "q*=0.8"), strict=False):
        curve = local_curve(name, alpha, (0.002, *_DISTANCES))
        label = (
            f"RS, BC of {name}, β = 20" if name[0] == "q" else "RS, typical solution"
        )
        axes.plot(curve["distance"], curve["flipped"], color=colour, label=label)
    for kind, (marker, colour) in _KINDS.items():
        found = results[f"around {kind}"]
        _points(
            axes,
            found["flips"],
            found["flipped_error"],
            marker=marker,
            color=COLOURS[3 + colour],
            mfc="none",
            label=f"{_NAMES[kind]}, N = {found['size']}",
        )
    found = results["around sampled"]["flips"]
    axes.plot(
        found,
        sampled_flips(alpha, found),
        "k--",
        lw=1,
        label="RS, BC of q*=0.8, β = 10",
    )
    axes.set_xscale("log")
    axes.set_xlabel("fraction of flipped weights, d")
    axes.set_ylabel("training error E(d)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def recovery(results: Mapping[str, Any]) -> Any:
    """Draw how often the teacher is found, and the overlap with it."""
    figure = blank(6.4, 4.4)
    axes = figure.add_subplot()
    loads = np.linspace(0.9, spinodal().alpha - 1e-6, 60)
    axes.plot(
        loads,
        [teacher_student(float(a)).overlap for a in loads],
        color=COLOURS[0],
        label="RS overlap of a random solution",
    )
    axes.axvline(spinodal().alpha, color=_GREY, ls=":", label="spinodal 1.4926")
    for kind, colour in (("free", 1), ("annealed", 2)):
        found = results[f"teacher {kind}"]
        rate = np.array(found["teacher_found"]) / found["n"]
        axes.plot(
            found["loads"],
            rate,
            "s--",
            color=COLOURS[colour],
            mfc="none",
            label=f"{kind} ascent: teacher found, of {found['n']}",
        )
        _points(
            axes,
            found["loads"],
            found["overlap"],
            marker="o",
            color=COLOURS[colour],
            label=f"{kind} ascent: overlap at the end",
        )
    axes.set_xlabel("load M/N")
    axes.set_ylabel("overlap with the teacher; fraction of instances")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def figures(results: Mapping[str, Any], alpha: float = 0.55) -> dict[str, Any]:
    """Return every figure by its file name."""
    return {
        "overlay-energies": energies(results, alpha),
        "overlay-nearby": nearby(results, alpha),
        "overlay-robustness": robustness(results, alpha),
        "overlay-recovery": recovery(results),
    }


def write(folder: Path, results: Mapping[str, Any], alpha: float = 0.55) -> list[str]:
    """Write the figures as PNG into a folder; return the file names."""
    names = []
    for name, figure in figures(results, alpha).items():
        names.append(save(figure, folder / f"{name}.png").name)
    return names
