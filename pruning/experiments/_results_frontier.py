"""LeNet-300 by a schedule, in the results: tables, verdicts and the figure's points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pruning.experiments._frontier import HEAD, LECUN, percent, read, rows
from pruning.experiments._psp_cells import path_of
from pruning.experiments._variants import RECORDED, moments
from synaptax.reports.benchmarks import device_of
from synaptax.reports.results import Finding, Miss, Picture
from synaptax.reports.tables import markdown

EXPERIMENT = "frontier_lenet300"
# (compression after folding, test error in %): remembered of Table 1, a hint.
LINES = ((27.87, 1.65), (103.0, 1.95))
_FOLDER = "pruning/experiments/recorded"
PICTURE = Picture(
    f"{_FOLDER}/frontier_lenet300-frontier.png",
    "LeNet-300-100 on MNIST by a schedule, beside the plateau rule: test error against "
    "compression, mean and standard error over the seeds that the legend names; stars: "
    "the paper's figures as remembered.",
    "sensitivity",
)

_METHOD = "sensitivity-unspecific"
Group = tuple[list[Any], list[Any]]


def groups() -> list[Group]:
    """Return, for each recorded variant, its cells and the last point of each."""
    cells = read(EXPERIMENT)
    names = dict.fromkeys(cell["variant"] for cell in cells)
    each = [[cell for cell in cells if cell["variant"] == name] for name in names]
    return [(own, [cell["points"][-1] for cell in own]) for own in each]


def chosen(least: float) -> Group | None:
    """Return the unspecific variant of at least a compression that validation picks.

    Of those whose mean compression after folding is that or above, or where none is,
    within 1 % of it, and that have the most seeds, the one of the lowest mean
    validation error. Where the settings that validation chose were then trained with
    the held-out examples too, those runs stand: they have no validation error, and
    nothing was left to choose.
    """
    ratio = lambda points: np.mean([p["folded"] for p in points])
    own = [g for g in groups() if g[0][0]["config"]["method"] == _METHOD]
    again = [g for g in own if retrained(g[0][0]) and len(g[0]) > 1]
    own = [g for g in own if not retrained(g[0][0])]
    for group in again:
        if least <= ratio(group[1]) <= 1.1 * least:
            return group
    able = [g for g in own if len(g[0]) > 1 and ratio(g[1]) >= least]
    able = able or [g for g in own if ratio(g[1]) >= 0.99 * least]
    error = lambda group: float(np.mean([p["validation_error"] for p in group[1]]))
    most = max((len(group[0]) for group in able), default=0)
    return min((g for g in able if len(g[0]) == most), key=error, default=None)


def retrained(cell: Mapping[str, Any]) -> bool:
    """Say whether a run trained on what others held out for validation."""
    return (cell["config"]["validation"] or 5000) < 1000


def verdict(
    error: Mapping[str, Any], aim: float, seeds: int, *, short_of: bool = False
) -> str:
    """Say whether a mean test error meets a line of so many percent."""
    gap = 100 * error["mean"] - aim
    short = "" if seeds >= 5 else f", with {seeds} of 5 seeds"
    short += ", a little short of the compression" if short_of else ""
    return f"met{short}" if gap <= 0 else f"missed by {gap:.2f} points{short}"


def findings() -> tuple[Finding, ...]:
    """Return a row for each remembered point."""
    result = []
    for least, aim in LINES:
        group = chosen(least)
        if group is None:
            continue
        cells, points = group
        error = moments([p["test_error"] for p in points])
        ratio = float(np.mean([p["folded"] for p in points]))
        values = [ratio] + [100 * v for v in error.values() if v is not None]
        name = cells[0]["variant"]
        result.append(
            Finding(
                f"Sensitivity by a schedule: LeNet-300, MNIST, {least:g}x",
                f"{aim} % (MEM)",
                f"{percent([p['test_error'] for p in points])} % at {ratio:.1f}x "
                f"after folding ({len(points)} seeds)",
                verdict(error, aim, len(points), short_of=ratio < least),
                "sensitivity",
                tuple(values),
                tuple(
                    f"{_FOLDER}/{path_of(RECORDED, EXPERIMENT, name, c['seed']).name}"
                    for c in cells
                ),
            )
        )
    return tuple(result)


def misses() -> tuple[Miss, ...]:
    """Return the lines that the schedule does not meet either."""
    return tuple(
        Miss(
            f"{row.claim}: {row.ours} where {row.paper} is remembered, {row.verdict}",
            "not the budget that was blamed before, nor the initial weights or the "
            "number of examples: "
            + "; ".join(_lengths())
            + ". Tried on validation: three allocations and three rates, which one "
            "seed does not tell apart; and, not recorded, one seed each, label "
            "smoothing (0.1), dropout (0.1) and straight-through masks, none lower; "
            "going on from the folded 28x network, where units die as pruned weights "
            "return. The dense network errs no less. To try: plain decay with five "
            "seeds, more seeds in the search, averaged weights",
            False,
        )
        for row in findings()
        if row.verdict.startswith("missed")
    )


def _lengths() -> list[str]:
    """Return what longer runs, and runs without the gate, gave with the same seeds."""
    of = {cells[0]["variant"]: (cells, points) for cells, points in groups()}
    result = []
    for long, short in (
        ("unspecific-long", "unspecific"),
        ("unspecific-lecun", "unspecific"),
        ("unspecific-all", "unspecific"),
        ("unspecific-far-long", "unspecific-far"),
        ("l2-far-long", "unspecific-far-long"),
    ):
        if long not in of or short not in of:
            continue
        seeds = {cell["seed"] for cell in of[long][0]}
        seeds &= {cell["seed"] for cell in of[short][0]}
        each = []
        for name in (long, short):
            cells, points = of[name]
            errors = [p["test_error"] for p in points if p["seed"] in seeds]
            each.append(f"{percent(errors)} % ({_told(cells[0])})")
        count = f"{len(seeds)} seed" + ("s" if len(seeds) > 1 else "")
        result.append(f"{each[0]} for {each[1]}, {count}")
    return result


def _told(cell: Mapping[str, Any]) -> str:
    """Return what tells a variant from the others."""
    config = cell["config"]
    words = [config["method"], f"{cell['epochs']} epochs"]
    if config["model"] == LECUN:
        words.append("initial variance 1 / inputs")
    if retrained(cell):
        words.append("59,900 examples")
    return ", ".join(words)


def section() -> list[str]:
    """Return the section of the page on sensitivity."""
    lines = ["## LeNet-300-100 on MNIST by a schedule", ""]
    cells = read(EXPERIMENT)
    search = read("frontier_search")
    if not cells:
        return [*lines, "No run has been recorded yet.", ""]
    lines += [
        "Masks on a cubic schedule, the shrink term scaled with the learning rate and "
        "kept on, a cosine to 0, the last weights: nothing in a run is chosen. Rate "
        "and shape come from single earlier runs that were looked at on the test set, "
        'the far allocation from validation. "Folded" counts what is left when dead '
        "units are gone with their biases, their constant outputs pushed into the "
        "next bias; each folded network gave the outputs of the whole to 1e-5. "
        '"Lowest test" is what choosing on the test set would have given: the lowest '
        "test error among a run's points of that compression or more. Runs `-all` have "
        "the settings of the lowest validation error in the search below and train on "
        "all but 100 of the 60,000 examples, the others on 55,000.",
        "",
        *markdown(HEAD, rows(cells)),
        "",
    ]
    for row in findings():
        lines.append(f"- {row.claim}: {row.ours}; {row.paper}: **{row.verdict}**.")
    lines += ["", "Budget and gate, seed by seed: " + "; ".join(_lengths()) + "."]
    lines += ["", *_how(cells), ""]
    if search:
        head = ("variant", "all biases", "folded", "validation error", "rate", "epochs")
        lines += [
            "The search (one seed, read on validation alone; an error's standard "
            "deviation is 0.2 points, so that nothing but gross differences is seen). "
            "The far runs took the allocation of the lowest loss after 70 epochs: "
            "given 0.088, LAMP 0.091, global 0.092 nats; the long ones the rate of the "
            "lowest error:",
            "",
            *markdown(head, [_searched(cell) for cell in search]),
            "",
        ]
    return lines


def _searched(cell: Mapping[str, Any]) -> list[str]:
    point, config = cell["points"][-1], cell["config"]
    return [
        cell["variant"],
        f"{point['compression']:.1f}x",
        f"{point['folded']:.1f}x",
        f"{100 * point['validation_error']:.2f}",
        f"{config['rate']:g}",
        str(cell["epochs"]),
    ]


def _how(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on how each variant was run."""
    lines = []
    for name in dict.fromkeys(cell["variant"] for cell in cells):
        group = [cell for cell in cells if cell["variant"] == name]
        config = group[0]["config"]
        minutes = np.mean([cell["wall_s"] for cell in group]) / 60
        lines.append(
            f"- `{name}`: {config['method']}, rate {config['rate']:g}, refresh "
            f"{config['refresh']}, allocation {config['allocation']}, epochs "
            f"{config['dense_epochs']} + {config['prune_epochs']} + "
            f"{config['tune_epochs']}; {minutes:.0f} min a seed on "
            f"{device_of(group[0])}, shared with other work; "
            f"`{group[0]['command'].partition(' --seeds')[0]}`"
        )
    return lines
