"""PSP in deep networks, in the results: tables and verdict from the recorded cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from pruning.experiments import _psp_cells, psp_deep
from pruning.experiments._variants import RECORDED, spread, student
from synaptax.reports.results import Finding
from synaptax.reports.tables import markdown

NETWORKS = {"resnet20": "ResNet-20", "allcnn": "All-CNN-C"}
TITLE = "PSP: deep networks, reduced, on a JPEG copy of CIFAR-10"
_PAIRS = (("psp", "l2"), ("psp", "none"), ("l2", "none"), ("psp+l2", "l2"))
_SLACK = 0.02  # by which an error may rise in a cut, above the worst dense one

Cells = Sequence[Mapping[str, Any]]


def read(network: str, experiment: str = "psp_deep") -> list[dict[str, Any]]:
    """Return the recorded cells of one network."""
    return _psp_cells.read(RECORDED, f"{experiment}-{network}")


def by_seed(cells: Cells, value: Any) -> dict[str, dict[int, float]]:
    """Return ``value`` of each cell: method -> seed -> number, in the usual order."""
    table: dict[str, dict[int, float]] = {}
    for method in psp_deep.METHODS:
        own = {c["seed"]: float(value(c)) for c in cells if c["method"] == method}
        if own:
            table[method] = own
    return table


def gaps(table: Mapping[str, Mapping[int, float]], one: str, two: str) -> list[float]:
    """Return ``one`` less ``two``, seed by seed."""
    ours, theirs = table.get(one, {}), table.get(two, {})
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def told(differences: Sequence[float], unit: str = " points") -> tuple[str, str]:
    """Return (mean with its interval, verdict: lower, higher or not told apart)."""
    if not differences:
        return "-", "not measured"
    count = f"{len(differences)} seed{'s' if differences[1:] else ''}"
    if len(differences) == 1:
        return f"{differences[0]:+.2f}{unit} ({count})", "one seed: no interval"
    low, high = student(differences)
    verdict = "lower" if high < 0 else "higher" if low > 0 else "not told apart"
    mean = f"{fmean(differences):+.2f}{unit}"
    return f"{mean}, 95 % interval {low:+.2f} to {high:+.2f} ({count})", verdict


def compression_at(cell: Mapping[str, Any], level: float) -> float:
    """Return how far one cut goes before the error passes a level.

    Between densities the error is taken to be linear in the logarithm of compression;
    before the first, from the dense network's on.

    Args:
        cell: a recorded cell.
        level: an error, a fraction.

    Returns:
        A compression, 1 if the dense network is above the level already, and the
        largest that was tried if none is.
    """
    tried = sorted((1 / float(d), e) for d, e in cell["measures"]["pruned"].items())
    points = [(1.0, cell["measures"]["error"]), *tried]
    if points[0][1] > level:
        return 1.0
    for (before, low), (after, high) in pairwise(points):
        if high > level:
            # log c = (1 - share) log c_before + share log c_after.
            share = (level - low) / (high - low)
            return float(before ** (1 - share) * after**share)
    return points[-1][0]


def at_equal_error(cells: Cells) -> dict[str, dict[int, float]]:
    """Return each compression at the level of its seed: the worst dense error + 2 %."""
    worst: dict[int, float] = {}
    for cell in cells:
        error = cell["measures"]["error"]
        worst[cell["seed"]] = max(worst.get(cell["seed"], 0.0), error)
    return by_seed(cells, lambda c: compression_at(c, worst[c["seed"]] + _SLACK))


def _calibration(cell: Mapping[str, Any]) -> float:
    return cell["measures"]["calibration"]


def table(cells: Cells) -> list[str]:
    """Return what each regulariser came to, in one network."""
    percent = lambda pick: by_seed(cells, lambda c: 100 * pick(c))
    columns = {
        "test error (%)": (percent(lambda c: c["test_error"]), ".2f"),
        "cross-entropy": (by_seed(cells, lambda c: c["test_loss"]), ".3f"),
        "train loss": (by_seed(cells, lambda c: c["curves"]["train_loss"][-1]), ".3f"),
        "R": (by_seed(cells, lambda c: c["penalty"]), ".3g"),
        "calibration error (%)": (
            percent(lambda c: c["measures"]["calibration"]),
            ".2f",
        ),
    }
    for size in cells[0]["measures"]["noise"]:
        errors = percent(lambda c, s=size: c["measures"]["noise"][s])
        columns[f"error, noise {size} (%)"] = (errors, ".1f")
    for density in cells[0]["measures"]["pruned"]:
        errors = percent(lambda c, d=density: c["measures"]["pruned"][d])
        columns[f"error, {density} of weights (%)"] = (errors, ".1f")
    columns["compression at equal error"] = (at_equal_error(cells), ".2f")
    methods = list(columns["test error (%)"][0])
    rows = [
        [
            method,
            len(columns["test error (%)"][0][method]),
            *(spread([*own[method].values()], form) for own, form in columns.values()),
        ]
        for method in methods
    ]
    return markdown(["regulariser", "seeds", *columns], rows)


def differences(cells: Cells) -> list[str]:
    """Return the differences by seed with their intervals, in one network."""
    percent = lambda pick: by_seed(cells, lambda c: 100 * pick(c))
    measured = {
        "test error": (percent(lambda c: c["test_error"]), " points"),
        "cross-entropy": (by_seed(cells, lambda c: c["test_loss"]), ""),
        "calibration error": (
            percent(lambda c: c["measures"]["calibration"]),
            " points",
        ),
        "compression at equal error": (at_equal_error(cells), "x"),
    }
    rows = []
    for one, two in _PAIRS:
        for what, (own, unit) in measured.items():
            rows.append([f"{one} less {two}", what, *told(gaps(own, one, two), unit)])
    return markdown(["pair", "of", "difference by seed", "verdict"], rows)


def layers(cells: Cells) -> list[str]:
    """Return the mean of z^2 by layer on the test set, over seeds, in one network."""
    methods = [m for m in psp_deep.METHODS if any(c["method"] == m for c in cells)]
    rows = []
    for path in cells[0]["mean_squares"]:
        means = [
            fmean(c["mean_squares"][path] for c in cells if c["method"] == method)
            for method in methods
        ]
        rows.append([path, *(f"{mean:.3g}" for mean in means)])
    return markdown(["layer", *methods], rows)


def search(network: str) -> list[str]:
    """Return what the search tried in one network, and what it settled."""
    cells = read(network, "psp_deepsearch")
    if not cells:
        return ["The search has not been run yet.", ""]
    rows = [
        [
            cell["variant"].removeprefix(f"{network}-"),
            f"{100 * cell['curves']['error'][-1]:.2f}",
            f"{cell['curves']['loss'][-1]:.4f}",
        ]
        for cell in cells
    ]
    lines = markdown(["setting", "validation error (%)", "validation loss"], rows)
    if {"psp", "l2"} <= {cell["method"] for cell in cells}:
        own = psp_deep.chosen(cells)
        kind = "sums" if own["normalization"] == "sum" else "means"
        logits = "with" if own["logits"] else "without"
        lines += [
            "",
            f"Taken: gamma {own['gamma']:g} with {kind} of layers, {logits} logits; "
            f"L2 {own['l2']:g}.{_edges(cells, own)}",
        ]
    return [*lines, ""]


def _edges(cells: Cells, settled: Mapping[str, Any]) -> str:
    """Say which strengths that were taken are at the end of those that were tried."""
    tried = {"l2": [c["config"]["l2"] for c in cells if c["method"] == "l2"]}
    same = ("normalization", "logits")
    tried["gamma"] = [
        c["config"]["gamma"]
        for c in cells
        if c["method"] == "psp" and all(c["config"][f] == settled[f] for f in same)
    ]
    ends = [
        f"{name} is the {which} of its kind that was tried"
        for name, own in tried.items()
        for which, end in (("weakest", min(own)), ("strongest", max(own)))
        if settled[name] == end and len(own) > 1
    ]
    return "".join(f" {end}." for end in ends)


def verdicts() -> dict[str, tuple[str, str]]:
    """Return PSP's error less L2's: network -> (interval, verdict)."""
    by_network = {}
    for network, name in NETWORKS.items():
        errors = by_seed(read(network), lambda c: 100 * c["test_error"])
        if own := gaps(errors, "psp", "l2"):
            by_network[name] = told(own)
    return by_network


def verdict(found: Mapping[str, tuple[str, str]]) -> str:
    """Say in a few words whether PSP errs less than L2, from :func:`verdicts`."""
    if not found:
        return "not tested"
    of_kind = lambda kind: [name for name, (_, own) in found.items() if own == kind]
    less, more = of_kind("lower"), of_kind("higher")
    if len(less) == len(found):
        return "holds here"
    if less or more:
        parts = [("holds in", less), ("the opposite in", more)]
        open_ = [name for name in found if name not in (*less, *more)]
        parts.append(("not told apart in", open_))
        return "; ".join(f"{what} {', '.join(own)}" for what, own in parts if own)
    return "not told apart"


def finding() -> Finding:
    """Return the row of RESULTS.md on deep networks."""
    by_network = verdicts()
    ours = "; ".join(f"{name} {text}" for name, (text, _) in by_network.items())
    values, records = [], []
    for network in NETWORKS:
        cells = read(network)
        own = gaps(by_seed(cells, lambda c: 100 * c["test_error"]), "psp", "l2")
        if own:  # the layers of a network's name and the seeds are printed too
            layers = [float(n) for n in re.findall(r"\d+", NETWORKS[network])]
            values += [
                fmean(own),
                *(student(own) if own[1:] else ()),
                len(own),
                *layers,
            ]
        records += [
            f"pruning/experiments/recorded/psp_deep-{c['variant']}-{c['seed']}.json"
            for c in cells
            if c["method"] in ("psp", "l2")
        ]
    size = "PSP less L2, narrow networks, a part of a JPEG copy: "
    return Finding(
        "PSP generalises better than L2 in deep networks (CIFAR-10)",
        "(ABS)",
        size + ours if ours else "no pair was run",
        verdict(by_network),
        "psp",
        tuple(values),
        tuple(records),
    )


def _room(recorded: Mapping[str, Cells]) -> list[str]:
    """Say how far the networks without a regulariser overfit: what it can act on."""
    lines = []
    for network, cells in recorded.items():
        own = [cell for cell in cells if cell["method"] == "none"]
        if own:
            train = fmean(cell["curves"]["train_loss"][-1] for cell in own)
            test = fmean(cell["test_loss"] for cell in own)
            lines.append(
                f"- Room for a regulariser, {NETWORKS[network]}: without one the "
                f"cross-entropy is {train:.2f} in training (crops and flips) and "
                f"{test:.2f} on the test set."
            )
    return lines


def section() -> list[str]:
    """Return the section of the page on PSP."""
    lines = [f"## {TITLE}", ""]
    cells_of = {network: read(network) for network in NETWORKS}
    if not any(cells_of.values()):
        return [*lines, "No cell has been recorded yet.", ""]
    by_network = verdicts()
    lines += [
        "The images are a JPEG copy of CIFAR-10 and everything is reduced: narrow "
        "networks with batch-norm on 2x2 blocks of pixels, 10,000 training images, 24 "
        "epochs. Errors are comparable with one another only, and none of the authors' "
        "figures is a target. Strengths come from a search on validation of one seed "
        "and 4 epochs; the test set was looked at once. Regularisers of one seed have "
        "the same initial weights and batches.",
        "",
        f"Does PSP err less than L2? The claim: **{verdict(by_network)}**.",
        "",
        *(
            f"- PSP less L2, {name}: {text}: {own}."
            for name, (text, own) in by_network.items()
        ),
        *_room(cells_of),
        "",
    ]
    for network, cells in cells_of.items():
        if not cells:
            lines += [f"### {NETWORKS[network]}", "", "Not recorded yet.", ""]
            continue
        minutes = sorted(cell["wall_s"] / 60 for cell in cells)
        device = cells[0]["device"]
        lines += [
            f"### {NETWORKS[network]}",
            "",
            f"{len(cells)} cells, {minutes[0]:.0f} to {minutes[-1]:.0f} min each on "
            f"{device['platform']}, {device['kind']}, jax "
            f"{cells[0]['versions']['jax']}; `python -m pruning.experiments.psp_deep`. "
            "Mean ± standard deviation over seeds. Calibration, noise (deviations of "
            "normalised pixels) and one cut by magnitude without tuning: first 5,000 "
            "test images. Equal error: the worst dense one of the seed plus 2 points.",
            "",
            *table(cells),
            "",
            *differences(cells),
            "",
            "Mean of z² by layer (what enters a ReLU), test set, last epoch:",
            "",
            *layers(cells),
            "",
            "The search:",
            "",
            *search(network),
        ]
    return lines
