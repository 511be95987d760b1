"""The figures of the overlay: measured points with their errors, on theory curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

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
# Closer together towards 0, where S(d) is steepest.
_DISTANCES = (*np.arange(0.005, 0.06, 0.005), 0.07, *np.arange(0.085, 0.37, 0.025))
_DENSE = tuple(np.round(np.arange(0.1, 0.951, 0.05), 3))
_KINDS = {"free": ("o", 0), "annealed": ("s", 1), "sampled": ("^", 2)}


def _points(axes: Any, x: Any, measured: Mapping[str, Any], **style: Any) -> None:
    axes.errorbar(
        x,
        measured["mean"],
        measured["error"],
        linestyle="none",
        capsize=2,
        ms=4.5,
        **style,
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
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Ascent and samples on replica theory (RS), load {alpha:g}")
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


def _smooth(axes: Any, x: Any, y: Any, **style: Any) -> None:
    """Draw a theory curve through its computed points, without corners between them."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    finite = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[finite])
    x, y = x[finite][order], y[finite][order]
    # PCHIP and no spline: it does not overshoot between points that rise or fall.
    fine = np.linspace(x[0], x[-1], 300)
    axes.plot(fine, PchipInterpolator(x, y)(fine), **style)


def nearby(results: Mapping[str, Any], alpha: float) -> Any:
    """Draw the entropy of solutions against distance: S(d) and belief propagation."""
    figure = blank(9.6, 4.8)
    axes = figure.add_subplot()
    for colour, name in zip(COLOURS, CENTRES, strict=False):
        curve = local_curve(name, alpha, _DISTANCES)
        label = f"RS, BC of {name}, β = 20" if name[0] == "q" else f"RS, {name}"
        _smooth(axes, curve["distance"], curve["entropy"], color=colour, label=label)
    theory = results["theory"]["sampled"]
    _smooth(
        axes,
        theory["distance"],
        theory["entropy"],
        color="#000000",
        linestyle="--",
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
    for kind, (marker, colour) in _KINDS.items():
        group = results[f"around {kind}"]
        converged = np.array(group["converged"]) == 1
        axes.errorbar(
            np.array(group["distance"]["mean"])[converged],
            np.array(group["entropy"]["mean"])[converged],
            xerr=np.array(group["distance"]["error"])[converged],
            yerr=np.array(group["entropy"]["error"])[converged],
            linestyle="none",
            marker=marker,
            ms=6,
            capsize=2,
            color=("#000000", "#000000", _GREY)[colour],
            mfc=("#000000", "none", _GREY)[colour],
            label=f"BP around {_NAMES[kind]}, N = {group['size']}",
        )
    axes.set_xlim(0, 0.36)
    axes.set_ylim(0, 0.3)
    axes.set_xlabel("Hamming distance per weight, d")
    axes.set_ylabel("entropy of solutions S(d) (nats per weight)")
    axes.set_title(f"Solutions at a distance from one, load {alpha:g}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return figure


_NAMES = {
    "free": "free ascent",
    "annealed": "annealed ascent",
    "sampled": "samples at β = 10, q* = 0.8",
}


def robustness(results: Mapping[str, Any], alpha: float) -> Any:
    """Draw the training error after random flips."""
    figure = blank(9.0, 4.4)
    axes = figure.add_subplot()
    for colour, name in zip(COLOURS, ("typical", "q*=0.9", "q*=0.8"), strict=False):
        curve = local_curve(name, alpha, (0.002, *_DISTANCES))
        label = (
            f"RS, BC of {name}, β = 20" if name[0] == "q" else "RS, typical solution"
        )
        _smooth(axes, curve["distance"], curve["flipped"], color=colour, label=label)
    for kind, (marker, colour) in _KINDS.items():
        group = results[f"around {kind}"]
        _points(
            axes,
            group["flips"],
            group["flipped_error"],
            marker=marker,
            color=COLOURS[3 + colour],
            mfc="none",
            label=f"{_NAMES[kind]}, N = {group['size']}",
        )
    distances = results["around sampled"]["flips"]
    axes.plot(
        distances,
        sampled_flips(alpha, distances),
        "k--",
        lw=1,
        label="RS, BC of q*=0.8, β = 10",
    )
    axes.set_xscale("log")
    axes.set_xlabel("fraction of flipped weights, d")
    axes.set_ylabel("training error E(d)")
    axes.set_title(f"After random flips of a solution, load {alpha:g}")
    ticks = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return figure


def recovery(results: Mapping[str, Any]) -> Any:
    """Draw how often the teacher is found, and the overlap with it, a panel each."""
    figure = blank(10.0, 4.2)
    rates, overlaps = figure.subplots(1, 2)
    loads = np.linspace(0.9, spinodal().alpha - 1e-6, 60)
    overlaps.plot(
        loads,
        [teacher_student(float(a)).overlap for a in loads],
        color=COLOURS[0],
        label="RS, a random solution",
    )
    for axes in (rates, overlaps):
        axes.axvline(spinodal().alpha, color=_GREY, ls=":", label="spinodal, 1.4926")
        axes.set_xlabel("load (patterns / weights)")
        axes.grid(alpha=0.3)
    for kind, colour, marker in (("free", 1, "o"), ("annealed", 2, "s")):
        group = results[f"teacher {kind}"]
        style = {"color": COLOURS[colour], "marker": marker, "label": f"{kind} ascent"}
        rate = 100 * np.array(group["teacher_found"]) / group["n"]
        rates.plot(group["loads"], rate, "--", **style)
        _points(overlaps, group["loads"], group["overlap"], **style)
    count, size = results["teacher free"]["n"], results["teacher free"]["size"]
    rates.set_ylabel("instances that end at the teacher (%)")
    overlaps.set_ylabel("overlap with the teacher at the end")
    handles, names = overlaps.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Teacher and student, N = {size}, {count} instances a point")
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
