"""LeNet-300 by a schedule, in the results: tables, verdicts and the figure's points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pruning.experiments._frontier import HEAD, path_of, percent, read, rows
from pruning.experiments._variants import RECORDED, moments
from synaptax.reports.benchmarks import device_of
from synaptax.reports.results import Finding, Miss, Picture
from synaptax.reports.tables import markdown

EXPERIMENTS = ("frontier_lenet300", "frontier_far")
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

Group = tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]


def groups() -> list[Group]:
    """Return, for each recorded variant, its cells and the last point of each."""
    result = []
    for experiment in EXPERIMENTS:
        cells = read(experiment)
        for name in dict.fromkeys(cell["variant"] for cell in cells):
            own = [cell for cell in cells if cell["variant"] == name]
            result.append((own, [cell["points"][-1] for cell in own]))
    return result


def chosen(least: float) -> Group | None:
    """Return the unspecific variant of at least a compression that validation picks.

    Of those whose mean compression after folding reaches it, the one of the lowest
    mean validation error.
    """
    able = [
        (cells, points)
        for cells, points in groups()
        if cells[0]["config"]["method"] == "sensitivity-unspecific"
        and np.mean([p["folded"] for p in points]) >= least
    ]
    error = lambda group: float(np.mean([p["validation_error"] for p in group[1]]))
    return min(able, key=error) if able else None


def verdict(error: Mapping[str, Any], aim: float, seeds: int) -> str:
    """Say whether a mean test error meets a line of so many percent."""
    gap = 100 * error["mean"] - aim
    short = "" if seeds >= 5 else f", with {seeds} of 5 seeds"
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
        experiment, name = cells[0]["experiment"], cells[0]["variant"]
        result.append(
            Finding(
                f"Sensitivity by a schedule: LeNet-300, MNIST, {least:g}x",
                f"{aim} % (MEM)",
                f"{percent([p['test_error'] for p in points])} % at {ratio:.1f}x "
                f"after folding ({len(points)} seeds)",
                verdict(error, aim, len(points)),
                "sensitivity",
                tuple(values),
                tuple(
                    f"{_FOLDER}/{path_of(RECORDED, experiment, name, c['seed']).name}"
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
            "a short budget; longer runs, an allocation found on validation and lower "
            "learning rates before the cosine are the first things to try",
            False,
        )
        for row in findings()
        if row.verdict.startswith("missed")
    )


def section() -> list[str]:
    """Return the section of the page on sensitivity."""
    lines = ["## LeNet-300-100 on MNIST by a schedule", ""]
    cells = [cell for name in EXPERIMENTS for cell in read(name)]
    search = read("frontier_search")
    if not cells:
        return [*lines, "No run has been recorded yet.", ""]
    lines += [
        "Masks on a cubic schedule, the shrink term scaled with the learning rate and "
        "kept on, a cosine to 0, the last weights: nothing in a run is chosen, and "
        'what was set was set on validation. "Folded" counts what is left when dead '
        "units are gone with their biases, their constant outputs pushed into the "
        "next bias; each folded network gave the outputs of the whole to 1e-5. "
        '"Lowest test" is what choosing on the test set would have given: the lowest '
        "test error among a run's points of that compression or more. "
        f"`{EXPERIMENTS[1]}` goes on from the tuned networks of `{EXPERIMENTS[0]}`; "
        'its "start" is that network, folded, after an epoch in which weights may '
        "return.",
        "",
    ]
    for name in EXPERIMENTS:
        own = [cell for cell in cells if cell["experiment"] == name]
        if own:
            lines += [f"`{name}`:", "", *markdown(HEAD, rows(own)), ""]
    for row in findings():
        lines.append(f"- {row.claim}: {row.ours}; {row.paper}: **{row.verdict}**.")
    lines += ["", *_how(cells), ""]
    if search:
        head = ("variant", "all biases", "folded", "validation error", "rate")
        lines += [
            "The search that the allocation comes from (one seed, 70 epochs, read on "
            "validation alone; an error's standard deviation is 0.2 points):",
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
    ]


def _how(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on how each variant was run."""
    lines = []
    for experiment in EXPERIMENTS:
        own = [cell for cell in cells if cell["experiment"] == experiment]
        for name in dict.fromkeys(cell["variant"] for cell in own):
            group = [cell for cell in own if cell["variant"] == name]
            config = group[0]["config"]
            minutes = np.mean([cell["wall_s"] for cell in group]) / 60
            lines.append(
                f"- `{experiment}`, `{name}`: {config['method']}, rate "
                f"{config['rate']:g}, refresh {config['refresh']}, allocation "
                f"{config['allocation']}, epochs {config['dense_epochs']} + "
                f"{config['prune_epochs']} + {config['tune_epochs']}; "
                f"{minutes:.0f} min a seed on {device_of(group[0])}, shared with other "
                f"work; `{group[0]['command'].partition(' --seeds')[0]}`"
            )
    return lines
