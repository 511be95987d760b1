"""The comparisons of methods, in the results."""

from __future__ import annotations

import numpy as np

from pruning.comparison import report
from pruning.comparison.cells import listing
from pruning.experiments import compare_lenet5, compare_lenet300
from pruning.experiments._compare import Experiment
from pruning.experiments._variants import student
from synaptax.reports.benchmarks import device_of
from synaptax.reports.results import Page, Picture
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

EXPERIMENTS = (compare_lenet300.EXPERIMENT, compare_lenet5.EXPERIMENT)
_HOW = """SGD with momentum, the rate constant at first and falling by a cosine; gradual
methods prune on the cubic schedule. The weights after the last epoch count;
nothing is chosen on any data. Layers of methods that begin sparse keep the norm of the
dense layer. That, AC/DC's share of each layer and the step at which straight-through
masks move were settled on digits, the last after a first run on MNIST, with masks that
held for an epoch, had ended at a loss of 2.3; rates are one guess for all.
"""


def page() -> Page:
    """Return the page: the table, who errs least where, and what is missing."""
    lines = [_HOW]
    for one in EXPERIMENTS:
        lines += [f"## {one.title}", "", *_section(one), ""]
    return Page("comparison", "Methods of pruning under one budget", tuple(lines))


def drawn(experiment: Experiment) -> bool:
    """Say whether a record has two compressions or more: one makes no curve."""
    cells = experiment.read().values()
    return len({cell["compression"] for cell in cells} - {1.0}) > 1


def pictures() -> tuple[Picture, ...]:
    """Return the figures of the comparisons that make a curve."""
    return tuple(
        Picture(
            f"pruning/experiments/recorded/{one.name}.png",
            f"Methods of pruning, {one.title}, {one.config.budget} epochs each: test "
            "error against compression; bands are standard errors where there are "
            "several seeds.",
            "comparison",
        )
        for one in EXPERIMENTS
        if drawn(one)
    )


def gate(cells: report.Cells) -> list[str]:
    """Return what the gate max(0, 1 - S) changes: the errors of pairs, seed by seed.

    Sensitivity and plain decay differ in nothing else; the interval is Student's over
    all pairs of one compression, or of all of them.
    """
    error = {
        (cell["method"], cell["compression"], cell["seed"]): cell["test_error"]
        for cell in cells
    }
    pairs: dict[float, list[float]] = {}
    for (method, compression, seed), value in error.items():
        plain = error.get(("l2", compression, seed))
        if method == "sensitivity" and plain is not None:
            pairs.setdefault(compression, []).append(100 * (value - plain))
    gaps = [gap for one in pairs.values() for gap in one]
    if len(gaps) < 2:
        return []
    each = "; ".join(
        f"{compression:g}x {np.mean(one):+.2f} ({len(one)})"
        for compression, one in sorted(pairs.items())
    )
    low, high = student(gaps)
    verdict = "told apart" if low > 0 or high < 0 else "not told apart"
    return [
        "",
        f"What the gate buys at equal budget: sensitivity's test error minus plain "
        f"decay's, pair by pair of a seed, in points: {each}. Over all {len(gaps)} "
        f"pairs {np.mean(gaps):+.3f}, 95 % interval {low:+.3f} to {high:+.3f}: "
        f"{verdict}. A cell with the gate takes twice the gradients.",
    ]


def _section(experiment: Experiment) -> list[str]:
    """Return what is recorded of one comparison."""
    cells = list(experiment.read().values())
    if not cells:
        return [f"Nothing is recorded yet; `{experiment.command}`."]
    record = read_json(experiment.file)
    seeds = sorted({cell["seed"] for cell in cells})
    config = experiment.config
    missing = report.missing(listing(config), cells)
    rest = "; the rest was not run" if missing else ""
    return [
        f"{config.budget} epochs a cell at batch {config.batch}, SGD at "
        f"{config.lr:g} with momentum {config.momentum:g}, constant to "
        f"{config.hold:.0%} of a run; pruning from {config.begin:.0%} to "
        f"{config.end:.0%}.",
        "",
        *markdown(*report.table(cells)),
        "",
        report.CAPTION,
        "",
        "Which method errs least, and which it cannot be told from (two standard "
        f"errors of a difference, from the {experiment.images:,} test images and, "
        "where there are several, the seeds):",
        "",
        *report.verdicts(cells, experiment.images),
        *gate(cells),
        "",
        f"{len(cells)} of {len(cells) + len(missing)} cells are recorded, of seeds "
        f"{', '.join(map(str, seeds))}{rest}. "
        f"{record['wall_s'] / 3600:.1f} hours on {device_of(record)}, a core shared "
        f"with other work, jax {record['versions']['jax']}; `{record['command']}`, "
        "which goes on from the record.",
    ]
