"""Train the networks of a stage, for several seeds, to the same bits after a kill."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.models.networks import Network
from covid_cxr.train import loop
from covid_cxr.train.inputs import checked, classes_of
from covid_cxr.train.scaling import scale_of
from covid_cxr.train.stages import StageConfig, check
from synaptax import runs, training
from synaptax.data.images import Batch
from synaptax.data.streaming import fingerprint
from synaptax.trees import check_same_structure


class Trained(NamedTuple):
    """The networks of a stage.

    Attributes:
        params: the weights kept, with a leading axis of seeds.
        stats: their running averages, likewise.
        epoch: (S,) the epoch each was kept at, counted from 1.
        history: a record an epoch; its lists are by seed.
        config: the stage.

    Example:
        >>> covid_cxr.train.Trained._fields
        ('params', 'stats', 'epoch', 'history', 'config')
    """

    params: Any
    stats: Any
    epoch: np.ndarray
    history: list[dict[str, Any]]
    config: StageConfig

    def replica(self, index: int) -> tuple[Any, Any]:
        """Return (params, stats) of one seed."""
        return training.replica_of((self.params, self.stats), index)


def fit(
    net: Network,
    config: StageConfig,
    train: Batch,
    validation: Batch,
    *,
    start: tuple[Any, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> Trained:
    """Train one network for each seed.

    Args:
        net: the network.
        config: the stage.
        train: images (N, H, W, 1), uint8, uint16 or float32 in [0, 1], and labels
            (N,). Images may be a :class:`synaptax.data.streaming.Streamed`: batches are
            then read from its files as they are needed.
        validation: likewise, of other patients.
        start: (params, stats) whose trunk to begin with, of one network or with a
            leading axis of seeds; the head is always drawn anew.
        folder: run folder for metrics and checkpoints; None writes nothing.
        resume: go on with the run in the folder, if it holds one.
        quiet: show no progress.

    Returns:
        The networks, chosen as the stage says.

    Raises:
        ValueError: naming a field, an array or a weight that does not fit, or a
            checkpoint of other data.
        synaptax.training.NonFiniteError: for a loss that is not finite, naming epoch
            and seed; the last checkpoint is kept.

    Example:
        >>> stage = covid_cxr.train.fixed_finetuning()
        >>> fit = covid_cxr.train.fit
        >>> trained = fit(net, stage, train, validation)  # doctest: +SKIP
        >>> trained.epoch  # doctest: +SKIP
    """
    check(config)
    train, validation = checked(net, config, train, validation)
    state = _starting(net, config, train.image.shape[1], start)
    place = None if folder is None else runs.create(folder, config, resume=resume)
    stage = training.Stage(
        "train",
        epochs=config.epochs,
        start=lambda previous: state,
        # Radiographs of other means need no other program: the scale is data.
        epoch=loop.epoch_of(net, dataclasses.replace(config, mean=0.0, std=1.0)),
        finite=lambda info: [info.loss, info.validation_loss],
        data=(
            train,
            validation,
            classes_of(config, train.label),
            scale_of(config),
        ),
        record=lambda info: {
            name: np.asarray(value).tolist() for name, value in info._asdict().items()
        },
        replicas=tuple(f"seed {seed}" for seed in config.seeds),
        advice=f"a smaller rate (now {config.rate}) may help",
    )
    outcome = training.run(
        [stage],
        place,
        axis=config.seed_axis,
        checkpoint_every=config.checkpoint_every,
        expect={"data": fingerprint((train, validation))},
        quiet=quiet,
        donate=True,
    )
    best, history = outcome.state.best, without_clock(outcome.records)
    return Trained(best.params, best.stats, np.asarray(best.epoch), history, config)


def without_clock(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of a run without what differs from one to the next."""
    return [
        {name: value for name, value in record.items() if name != "elapsed_s"}
        for record in records
    ]


def with_trunk(fresh: tuple[Any, Any], given: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return ``fresh`` (params, stats) with the trunk of ``given``, head kept.

    Raises:
        ValueError: naming the first leaf of the trunk that does not fit.

    Example:
        >>> fresh = {"trunk": jnp.zeros(2), "fc": jnp.zeros(1)}, {}
        >>> start = {"trunk": jnp.ones(2), "fc": jnp.ones(1)}, {}
        >>> params, stats = covid_cxr.train.with_trunk(fresh, start)
        >>> params["trunk"].tolist(), params["fc"].tolist()
        ([1.0, 1.0], [0.0])
    """
    (params, stats), (theirs, averages) = fresh, given
    trunk = {name: leaf for name, leaf in params.items() if name != "fc"}
    other = {name: leaf for name, leaf in theirs.items() if name != "fc"}
    check_same_structure(trunk, other, argument="start")
    check_same_structure(stats, averages, argument="start")
    return {**other, "fc": params["fc"]}, averages


def _starting(
    net: Network, config: StageConfig, side: int, start: tuple[Any, Any] | None
) -> loop.Replica:
    """Return the networks' states before the first epoch, stacked by seed."""
    tx = loop.optimizer(config, net.config.norm)
    replicas = []
    for index, seed in enumerate(config.seeds):
        key = jax.random.key(seed)
        # Initial weights and batches have streams of their own, 0 and 1 of the seed.
        fresh = net.init(jax.random.fold_in(key, 0), side)
        if start is not None:
            fresh = with_trunk(fresh, _of_seed(start, fresh, index, config.seeds))
        # Copies: what is donated must never be the caller's own.
        params, stats = jax.tree.map(jnp.array, fresh)
        replicas.append(loop.start(params, stats, jax.random.fold_in(key, 1), tx))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *replicas)


def _of_seed(start: Any, fresh: Any, index: int, seeds: Sequence[int]) -> Any:
    """Return the starting weights of one seed."""
    leaf, single = jax.tree.leaves(start)[0], jax.tree.leaves(fresh)[0]
    if np.ndim(leaf) == np.ndim(single):
        return start
    if len(leaf) != len(seeds):
        raise ValueError(f"start: has {len(leaf)} networks for {len(seeds)} seeds")
    return training.replica_of(start, index)
