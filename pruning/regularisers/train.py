"""Train one network under one regulariser, several seeds side by side.

:func:`train` gives one stage to :func:`synaptax.training.run`. What comes out is one
compact cell for each seed, small enough to be kept in a repository: from such files
alone a comparison can be continued elsewhere.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax

from pruning.regularisers import problem, steps
from pruning.regularisers.cells import cells_of
from pruning.regularisers.config import RegulariserConfig, check
from synaptax import runs, training
from synaptax.data.images import Dataset, check_batch
from synaptax.nets.models import Network


def train(
    config: RegulariserConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    writer: training.Writer | None = None,
) -> list[dict[str, Any]]:
    """Run (or take up) the training of one network for each seed.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder; the result is the same, bit for bit on
            the same device.
        quiet: show no progress.
        writer: gets the record of each epoch beside ``metrics.jsonl``: anything with
            ``write(step, values)``.

    Returns:
        One cell for each seed: its errors, curves, mean squares of the pre-activations
        and a histogram of weights; ``summary.json`` in the folder holds the same.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.runs.checkpoints.CheckpointError: a damaged or foreign checkpoint.
        synaptax.training.NonFiniteError: a loss that is not finite; names the epoch.
    """
    check(config)
    data = problem.load(config, quiet=quiet)
    check_batch(config.batch, data.train)
    net = problem.network(config, data)
    folder = runs.create(
        run_dir,
        config,
        resume=resume,
        ignore=("data_dir", "checkpoint_every", "seed_axis"),
    )
    if folder.summary.exists():
        return runs.read_summary(folder.summary)["results"]["cells"]
    outcome = training.run(
        [stage_of(config, data, net)],
        folder,
        axis=config.seed_axis,
        checkpoint_every=config.checkpoint_every,
        writer=writer,
        quiet=quiet,
    )
    cells = cells_of(config, runs.read_metrics(folder), data, net, outcome.state)
    wall = outcome.records[-1]["elapsed_s"]
    runs.write_summary(
        folder, {"cells": cells}, config=config, seeds=config.seeds, wall_s=wall
    )
    return cells


def stage_of(config: RegulariserConfig, data: Dataset, net: Network) -> training.Stage:
    """Return the one stage of a run."""
    tx = steps.optimiser(config, len(data.train.label) // config.batch)
    # The keys are made under jit, as they always were: the initial weights' bits
    # depend on what XLA may fold.
    start = lambda: jax.vmap(partial(steps.start, net, tx))(
        training.keys_of(config.seeds)
    )
    where = "validation" if config.validation else "test"

    def record(info: steps.EpochInfo) -> dict[str, Any]:
        return {
            "train_loss": info.loss,
            f"{where}_loss": info.evaluation.loss,
            f"{where}_error": info.evaluation.error,
            "mean_squares": info.evaluation.mean_squares,
        }

    return training.Stage(
        config.method,
        config.epochs,
        start=lambda previous: jax.jit(start)(),
        epoch=partial(steps.epoch, config=config, net=net, tx=tx, black=data.black),
        data=(data.train, getattr(data, where)),
        finite=lambda info: [info.finite, info.evaluation.loss],
        record=record,
        replicas=tuple(f"seed {seed}" for seed in config.seeds),
        advice=f"a smaller lr (now {config.lr}) may help",
    )
