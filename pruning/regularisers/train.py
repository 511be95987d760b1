"""One-stage training for comparisons: same network, same schedule, one regulariser.

:func:`train` runs a vector of seeds. Inside an epoch everything is one jitted call;
between epochs the host records and checkpoints. A run that is killed at any point and
resumed ends in the same bits. What comes out is one compact :func:`cell` for each
seed, small enough to be kept in a repository: from such files alone a comparison can
be continued elsewhere.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning.regularisers import steps as plain_steps
from pruning.regularisers.config import Plain, check
from synaptax import data, runs
from synaptax.data.images import Batch, Dataset
from synaptax.nets import lenets, models
from synaptax.runs import checkpoints, resuming
from synaptax.runs.progress import Progress
from synaptax.training.errors import NonFiniteError
from synaptax.training.replicas import over_replicas
from synaptax.trees import named_leaves, weights_only

BIN = 0.0025  # width of the bins of a weight histogram, as in the authors' figure
_POINTS = 51  # of a curve that is thinned


def train(
    config: Plain, run_dir: str | Path, *, resume: bool = False, quiet: bool = False
) -> list[dict[str, Any]]:
    """Run (or take up) a plain training run.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder; the result is the same, bit for bit on
            the same device.
        quiet: show no progress.

    Returns:
        One :func:`cell` for each seed; ``summary.json`` in the folder holds the same.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.runs.checkpoints.CheckpointError: a damaged or foreign checkpoint.
        synaptax.training.errors.NonFiniteError: a loss that is not finite; names the
            epoch.
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
    steps = len(loaded.train.label) // config.batch
    tx = plain_steps.optimiser(config, steps)
    members = resuming.members(folder, lambda: _start(config, net, tx))
    with Progress(quiet=quiet) as progress:
        members = _epochs(config, folder, loaded, net, tx, members, progress)
    cells = _cells(config, folder, loaded, net, members)
    wall = runs.read_metrics(folder)[-1]["elapsed_s"]
    runs.write_summary(
        folder, {"cells": cells}, config=config, seeds=config.seeds, wall_s=wall
    )
    return cells


def load(config: Plain, *, quiet: bool = True) -> Dataset:
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


def network(config: Plain, loaded: Dataset) -> models.Network:
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


def _start(config: Plain, net: models.Network, tx: Any) -> Any:
    keys = jnp.stack([jax.random.key(seed) for seed in config.seeds])
    return jax.vmap(partial(plain_steps.start, net, tx))(keys)


def _epochs(
    config: Plain,
    folder: runs.RunFolder,
    loaded: Dataset,
    net: models.Network,
    tx: Any,
    members: Any,
    progress: Progress,
) -> Any:
    """Run the epochs that are not done yet; return the members at the end."""
    done, spent = runs.taken_up(folder)
    started = time.monotonic() - spent
    fill = tuple(-m / s for m, s in zip(loaded.mean, loaded.std, strict=True))
    step = partial(plain_steps.epoch, config=config, net=net, tx=tx, fill=fill)
    run_epoch = jax.jit(over_replicas(config.seed_axis, step))
    watched = loaded.validation if config.validation else loaded.test
    where = "validation" if config.validation else "test"
    sets = jax.device_put((loaded.train, watched))
    with progress.stage(config.method, done, config.epochs) as report:
        for number in range(done, config.epochs):
            members, info = run_epoch(members, jnp.asarray(number, jnp.int32), *sets)
            info = jax.device_get(info)
            _guard(config, folder, number, info)
            record = {
                "epoch": number + 1,
                "train_loss": info.loss,
                f"{where}_loss": info.watched.loss,
                f"{where}_error": info.watched.error,
                "mean_squares": info.watched.mean_squares,
                "elapsed_s": round(time.monotonic() - started, 3),
            }
            runs.append_metrics(folder, record)
            report(record)
            last = number + 1 == config.epochs
            if last or (number + 1) % config.checkpoint_every == 0:
                checkpoints.save(folder.checkpoints, members, step=number + 1)
    return members


def _guard(config: Plain, folder: runs.RunFolder, number: int, info: Any) -> None:
    """Stop at a loss that is not finite, before anything is saved over."""
    good = info.finite & np.isfinite(info.watched.loss)
    if not good.all():
        raise NonFiniteError(
            f"{config.method}, epoch {number + 1}: the loss of seed "
            f"{config.seeds[int(np.argmin(good))]} is not finite. The last checkpoint "
            f"is kept in {folder.checkpoints}; a smaller lr (now {config.lr}) may help."
        )


# --- what comes out --------------------------------------------------------------


def _cells(
    config: Plain,
    folder: runs.RunFolder,
    loaded: Dataset,
    net: models.Network,
    members: Any,
) -> list[dict[str, Any]]:
    """Return what each seed came to."""
    records = runs.read_metrics(folder)
    look = jax.jit(partial(plain_steps.look, net))
    cells = []
    for index, seed in enumerate(config.seeds):
        member = jax.tree.map(lambda leaf, i=index: leaf[i], members)
        test = jax.device_get(look(member.params, member.stats, loaded.test))
        cells.append(
            {
                "method": config.method,
                "seed": seed,
                "test_error": float(test.error),
                "test_loss": float(test.loss),
                "mean_squares": {k: float(v) for k, v in test.mean_squares.items()},
                "penalty": float(np.mean(list(test.mean_squares.values()))),
                "curves": _curves(records, index),
                "weights": histogram(member.params),
            }
        )
    return runs.jsonable(cells)


def _curves(records: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    """Return one seed's curves: the error of every epoch, the rest thinned."""
    where = "test" if "test_error" in records[0] else "validation"
    kept = thinned(len(records))
    error = [float(f"{record[f'{where}_error'][index]:.5g}") for record in records]
    short = lambda value: float(f"{value[index]:.4g}")
    return {
        "watched": where,
        "error": error,
        "epochs": [records[i]["epoch"] for i in kept],
        "loss": [short(records[i][f"{where}_loss"]) for i in kept],
        "train_loss": [short(records[i]["train_loss"]) for i in kept],
        "mean_squares": {
            path: [short(records[i]["mean_squares"][path]) for i in kept]
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
