"""``python -m binary mnist``: a deep network of binary weights, trained and packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from binary.network import artefact
from binary.network.config import Config
from binary.network.evaluation import packed
from binary.network.train import dataset_of, train, trained
from synaptax.cli.options import NEW, Run, run_of

_DESCRIPTION = """Train a network of stochastic binary weights, then binarise it.

- propagate: means and variances in closed form; q* is raised to 1 along a schedule;
- straight-through: the usual baseline, same network and budget.

Every figure of the binarised network is checked in integer arithmetic, and its
weights are written one bit each. With --dataset digits it takes a minute.
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """The options.

    Attributes:
        config: What to train.
    """

    config: Config
    run: Run = NEW


def main(given: Sequence[str], prog: str = "python -m binary mnist") -> int:
    """Train, write the run folder and the artefacts, print the table.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code.
    """
    with run_of(
        Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=lambda dataset: Config(dataset="mnist"),
        stem=lambda config: f"binary-{config.dataset}-{config.method}",
        last=lambda config: f"weights-{config.seeds[-1]}.npz",
    ) as (job, path):
        config = job.config
        results = train(config, path, resume=job.run.resume, quiet=job.run.quiet)
        data = dataset_of(config)
        params, layers = trained(path, config, data)
        for index, seed in enumerate(config.seeds):
            own = jax.tree.map(lambda leaf, i=index: leaf[i], params)
            artefact.save(path / f"weights-{seed}.npz", packed(data, layers, own))
    show(results["networks"])
    print(f"everything is in {path}: summary.json, weights-SEED.npz, ...")
    return 0


def show(networks: Sequence[dict[str, Any]]) -> None:
    """Print what each network came to, errors in percent."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="test error in %, and the self-overlap q* of each layer")
    heads = ("seed", "propagated", "binarised", "gap", "ensemble", "q* by layer")
    for head in heads:
        table.add_column(head, justify="right")
    for one in networks:
        mean, hard = one["test_propagated"], one["test_binarised"]
        table.add_row(
            str(one["seed"]),
            f"{100 * mean:.2f}",
            f"{100 * hard:.2f}",
            f"{100 * (hard - mean):+.2f}",
            f"{100 * one['test_ensemble']:.2f}",
            " ".join(f"{q:.4f}" for q in one["overlaps"].values()),
        )
    Console(highlight=False).print(table)
