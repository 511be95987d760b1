"""``python -m binary mnist``: a deep network of binary weights, trained and packed."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from binary.commands.solve import parse
from binary.network import artefact
from binary.network.config import Config
from binary.network.train import dataset_of, packed, train, trained
from synaptax import runs

_DESCRIPTION = """Train a network of stochastic binary weights, then binarise it.

- propagate: means and variances in closed form; q* is raised to 1 along a schedule;
- straight-through: the usual baseline, same network and budget.

Every figure of the binarised network is checked in integer arithmetic, and its
weights are written one bit each. With --config.dataset digits it takes a minute.
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """The options.

    Attributes:
        config: what to train.
        run_dir: Folder of the run; None: a new runs/binary-DATASET-METHOD-N.
        resume: Go on with the run in --run-dir, begun with the same options.
    """

    config: Config = dataclasses.field(default_factory=lambda: Config(dataset="mnist"))
    run_dir: Path | None = None
    resume: bool = False


def main(given: Sequence[str]) -> int:
    """Train, write the run folder and the artefacts, print the table.

    Args:
        given: the options.

    Returns:
        The exit code.
    """
    job = parse(Job, "mnist", _DESCRIPTION, given)
    config = job.config
    path = job.run_dir or runs.fresh_path(
        "runs", f"binary-{config.dataset}-{config.method}"
    )
    try:
        results = train(config, path, resume=job.resume)
    except KeyboardInterrupt:
        words = [word for word in given if word != "--resume"]
        if job.run_dir is None:
            words += ["--run-dir", str(path)]
        again = shlex.join([*words, "--resume"])
        print(
            "\ninterrupted; what was done is kept. Go on with:\n"
            f"  python -m binary mnist {again}",
            file=sys.stderr,
        )
        return 130
    data = dataset_of(config)
    params, layers = trained(path, config, data)
    for index, seed in enumerate(config.seeds):
        own = jax.tree.map(lambda leaf, i=index: leaf[i], params)
        artefact.save(Path(path) / f"weights-{seed}.npz", packed(data, layers, own))
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
