"""The comparison of methods on LeNet-300, in the results."""

from __future__ import annotations

from pruning.comparison import report
from pruning.comparison.cells import listing
from pruning.experiments import compare_lenet300 as experiment
from synaptax.reports.benchmarks import device_of
from synaptax.reports.results import Page, Picture
from synaptax.reports.tables import markdown
from synaptax.runs.folder import read_json

PICTURE = Picture(
    "pruning/experiments/recorded/compare_lenet300.png",
    "Methods of pruning on LeNet-300-100, MNIST, 40 epochs each: test error against "
    "compression; bands are standard errors where there are several seeds.",
    "comparison",
)


def page() -> Page:
    """Return the page: the table, who errs least where, and what is missing."""
    title = "Methods of pruning under one budget"
    cells = list(experiment.read().values())
    if not cells:
        return Page("comparison", title, ("No run has been recorded yet.",))
    made = read_json(experiment.RECORD)
    seeds = sorted({cell["seed"] for cell in cells})
    missing = report.missing(listing(experiment.CONFIG), cells)
    config = experiment.CONFIG
    lines = [
        f"LeNet-300-100 on MNIST: {config.budget} epochs a cell at batch "
        f"{config.batch}, SGD at {config.lr:g} with momentum {config.momentum:g}, "
        f"constant to {config.hold:.0%} of a run and falling by a cosine; gradual "
        f"methods prune from {config.begin:.0%} to {config.end:.0%} on the cubic "
        "schedule. The weights after the last epoch count; nothing is chosen on any "
        "data. Layers of methods that begin sparse keep the norm of the dense layer. "
        "That, AC/DC's share of each layer and the step at which straight-through "
        "masks move were settled on digits, the last after a first run on MNIST, "
        "with masks that held for an epoch, had ended at a loss of 2.3; rates are one "
        "guess for all.",
        "",
        *markdown(*report.table(cells)),
        "",
        report.CAPTION,
        "",
        "Which method errs least, and which it cannot be told from (two standard "
        "errors of a difference, from the 10,000 test images and, where there are "
        "several, the seeds):",
        "",
        *report.verdicts(cells, experiment.IMAGES),
        "",
        f"{len(cells)} of {len(cells) + len(missing)} cells are recorded, of seeds "
        f"{', '.join(map(str, seeds))}; the rest was not run. "
        f"{made['wall_s'] / 3600:.1f} hours on {device_of(made)}, a core shared with "
        f"other work, jax {made['versions']['jax']}; `{made['command']}`, which goes "
        "on from the record.",
    ]
    return Page("comparison", title, tuple(lines))
