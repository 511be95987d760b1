"""Train one network under one regulariser, several seeds side by side.

:func:`train` gives one stage to :func:`synaptax.training.run`. What comes out is one
compact cell for each seed, small enough to be kept in a repository: from such files
alone a comparison can be continued elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pruning.regularisers import steps
from pruning.regularisers.config import RegulariserConfig, check
from synaptax import data, runs, training
from synaptax.data.images import Batch, Dataset
from synaptax.nets import lenets, models
from synaptax.trees import named_leaves, weights_only

BIN = 0.0025  # width of the bins of a weight histogram, as in the authors' figure
_POINTS = 51  # of a curve that is thinned


def train(
    config: RegulariserConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Run (or take up) the training of one network for each seed.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder; the result is the same, bit for bit on
            the same device.
        quiet: show no progress.

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
    loaded = load(config, quiet=quiet)
    data.check_batch(config.batch, loaded.train)
    net = network(config, loaded)
    folder = runs.create(
        run_dir,
        config,
        resume=resume,
        ignore=("data_dir", "checkpoint_every", "seed_axis"),
    )
    if folder.summary.exists():
        return runs.read_json(folder.summary)["results"]["cells"]
    outcome = training.run(
        [stage_of(config, loaded, net)],
        folder,
        axis=config.seed_axis,
        checkpoint_every=config.checkpoint_every,
        quiet=quiet,
    )
    cells = _cells(config, runs.read_metrics(folder), loaded, net, outcome.state)
    wall = outcome.records[-1]["elapsed_s"]
    runs.write_summary(
        folder, {"cells": cells}, config=config, seeds=config.seeds, wall_s=wall
    )
    return cells


def stage_of(
    config: RegulariserConfig, loaded: Dataset, net: models.Network
) -> training.Stage:
    """Return the one stage of a run."""
    tx = steps.optimiser(config, len(loaded.train.label) // config.batch)
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
        epoch=partial(steps.epoch, config=config, net=net, tx=tx, black=loaded.black),
        data=(loaded.train, getattr(loaded, where)),
        finite=lambda info: [info.finite, info.evaluation.loss],
        record=record,
        replicas=tuple(f"seed {seed}" for seed in config.seeds),
        advice=f"a smaller lr (now {config.lr}) may help",
    )


def load(config: RegulariserConfig, *, quiet: bool = True) -> Dataset:
    """Return the data of a run, normalised and sized as its network wants it."""
    loaded = data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        limit=config.limit,
        progress=not quiet,
    )
    grown = config.dataset == "digits" and config.model == "lenet5"

    def prepared(batch: Batch) -> Batch:
        image = np.asarray(batch.image)
        if grown:  # each pixel becomes four: 16x16, the least that LeNet-5 takes
            image = image.repeat(2, axis=1).repeat(2, axis=2)
        if config.pixels is not None:
            mean, std = (np.float32(value) for value in config.pixels)
            own = [np.asarray(v, np.float32) for v in (loaded.mean, loaded.std)]
            image = (image * own[1] + own[0] - mean) / std
        return Batch(image, batch.label)

    mean, std = loaded.mean, loaded.std
    if config.pixels is not None:
        mean, std = ((value,) * len(mean) for value in config.pixels)
    return dataclasses.replace(
        loaded,
        train=prepared(loaded.train),
        validation=prepared(loaded.validation),
        test=prepared(loaded.test),
        mean=mean,
        std=std,
    )


def network(config: RegulariserConfig, loaded: Dataset) -> models.Network:
    """Return the network of a run; LeNet-5 with its ReLUs on the whole feature maps."""
    options: dict[str, Any] = {}
    if config.model == "lenet5":
        options = {"rectify": "full", "conv": lenets.fastest()}
    if config.method == "dropout":
        options["dropout"] = config.dropout
    elif config.model == "allcnn_c":
        options |= {"dropout": 0.0, "input_dropout": 0.0}
    shape = loaded.train.image.shape[1:]
    return models.network(config.model, loaded.classes, shape, **options)


# --- what comes out --------------------------------------------------------------


def _cells(
    config: RegulariserConfig,
    records: Sequence[Mapping[str, Any]],
    loaded: Dataset,
    net: models.Network,
    state: Any,
) -> list[dict[str, Any]]:
    """Return what each seed came to."""
    evaluate = jax.jit(partial(steps.evaluate, net))
    cells = []
    for index, seed in enumerate(config.seeds):
        replica = training.replica_of(state, index)
        test = jax.device_get(evaluate(replica.params, replica.stats, loaded.test))
        cells.append(
            {
                "method": config.method,
                "seed": seed,
                "test_error": float(test.error),
                "test_loss": float(test.loss),
                "mean_squares": {k: float(v) for k, v in test.mean_squares.items()},
                "penalty": float(np.mean(list(test.mean_squares.values()))),
                "curves": _curves(records, index),
                "weights": histogram(replica.params),
            }
        )
    return runs.jsonable(cells)


def _curves(records: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    """Return one seed's curves: the error of every epoch, the rest thinned."""
    where = "test" if "test_error" in records[0] else "validation"
    shown = thinned(len(records))
    error = [float(f"{record[f'{where}_error'][index]:.5g}") for record in records]
    short = lambda value: float(f"{value[index]:.4g}")
    return {
        "watched": where,
        "error": error,
        "epochs": [records[i]["epoch"] for i in shown],
        "loss": [short(records[i][f"{where}_loss"]) for i in shown],
        "train_loss": [short(records[i]["train_loss"]) for i in shown],
        "mean_squares": {
            path: [short(records[i]["mean_squares"][path]) for i in shown]
            for path in records[0]["mean_squares"]
        },
    }


def thinned(count: int) -> list[int]:
    """Return at most 51 of ``count`` indices, first and last among them."""
    if count <= _POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS)]


def histogram(params: Any) -> dict[str, Any]:
    """Return how the second weight matrix is distributed: conv2 of LeNet-5.

    Args:
        params: the parameters.

    Returns:
        ``name``, ``first`` (the left edge of the first bin, in bins from 0), ``width``
        of a bin, and the ``counts`` up to the last bin that holds a weight.
    """
    weights = [(n, leaf) for n, leaf in named_leaves(params) if weights_only(n, leaf)]
    name, leaf = weights[min(1, len(weights) - 1)]
    bins = np.floor(np.asarray(leaf, np.float64).ravel() / BIN).astype(int)
    counts = np.bincount(bins - bins.min())
    return {
        "name": name,
        "first": int(bins.min()),
        "width": BIN,
        "counts": counts.tolist(),
    }
