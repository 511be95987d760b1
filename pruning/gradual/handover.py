"""What a stage leaves for the next: snapshots, and the states that start from them.

The dense stage leaves its best weights, each cut of the pruning stage those that it
started from. The operating points to fine-tune are chosen among them on validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning.gradual import loop, snapshots
from pruning.gradual.config import Config
from pruning.gradual.methods import prunable_of
from pruning.gradual.schedule import epochs_of_targets, planned
from pruning.masks import full_mask, magnitude_mask
from pruning.transforms import masks_of
from synaptax import runs, training
from synaptax.data.images import Dataset
from synaptax.nets.models import Network
from synaptax.runs import processes
from synaptax.trees import Prunable, named_leaves

Begin = Callable[..., loop.Replica]


class Run(NamedTuple):
    """What all stages share."""

    config: Config
    folder: runs.RunFolder
    data: Dataset
    net: Network

    @property
    def snapshots(self) -> Path:
        """Where snapshots go."""
        return self.folder.path / "snapshots"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.data.train.label) // self.config.batch

    @property
    def target_epochs(self) -> dict[Any, int]:
        """After which epoch of the pruning stage a schedule reaches each target."""
        return dict(epochs_of_targets(self.config, self.net, self.steps))

    @property
    def like(self) -> tuple[Any, Any]:
        """The shapes of (params, stats) of one network."""
        return jax.eval_shape(self.net.init, jax.random.key(0))

    def listing(self) -> list[snapshots.Snapshot]:
        """Return the records of its snapshots."""
        return snapshots.listing(self.snapshots, run=self.folder)


# --- operating points -------------------------------------------------------------


class Target(NamedTuple):
    """What an operating point is asked for; neither: the accepted point.

    Attributes:
        compression: total over kept.
        keep: the exact number of parameters kept, of all (one-shot).
    """

    compression: float | None = None
    keep: int | None = None

    @property
    def one_shot_name(self) -> str:
        """The name of the snapshot that one-shot pruning cuts to this target."""
        if self.keep is not None:
            return f"one-shot-keep-{self.keep}"
        return f"one-shot-{self.compression:g}"


def targets_of(config: Config) -> list[Target]:
    """Return what the operating points of each seed are asked for, in order."""
    compressions = [Target(compression=target) for target in config.targets]
    if config.method.startswith("one-shot"):
        return [*compressions, *(Target(keep=keep) for keep in config.keep)]
    if planned(config):
        return compressions
    return [Target(), *compressions]


def operating_points(run: Run) -> list[tuple[snapshots.Snapshot, bool]]:
    """Choose on validation, for each seed, the points to fine-tune and test.

    Returns:
        By seed and target: the snapshot, and whether it reaches the target.
    """
    config, everything = run.config, run.listing()
    points = []
    for index in range(len(config.seeds)):
        own = [s for s in everything if s.replica == index]
        for target in targets_of(config):
            if config.method.startswith("one-shot"):
                (snapshot,) = (s for s in own if s.name == target.one_shot_name)
                points.append((snapshot, True))
                continue
            if planned(config):
                name = _cut_name(run, run.target_epochs[target.compression])
                points.append((next(s for s in own if s.name == name), True))
                continue
            points.append(
                snapshots.choose(own, target=target.compression, accept=config.accept)
            )
    return points


def read_point(run: Run, snapshot: snapshots.Snapshot) -> tuple[Any, Any, Any]:
    """Return (params, masks, stats) of one of the run's snapshots."""
    like, stats = run.like
    return (
        *snapshots.read(run.snapshots, snapshot, like),
        snapshots.read_stats(run.snapshots, snapshot, stats),
    )


# --- the state that a stage starts from -------------------------------------------


def new_networks(run: Run, begin: Begin) -> loop.Replica:
    """Return the state of the dense stage: a new network for each seed.

    Args:
        run: what the stages share.
        begin: ``(params, key, masks=, stats=) -> Replica`` of the stage.
    """
    # Each use of a seed's key has a number: 0 initial weights, 1 the dense
    # stage, 3 the pruning stage, 4 fine-tuning.
    keys = training.keys_of(run.config.seeds)
    params, stats = jax.jit(
        jax.vmap(lambda key: run.net.init(jax.random.fold_in(key, 0)))
    )(keys)
    orders = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    masked = lambda p, key, s: begin(p, key, masks=full_mask(p), stats=s)
    return jax.jit(jax.vmap(masked))(params, orders, stats)


def snapshot_networks(run: Run, begin: Begin, *, tuning: bool) -> loop.Replica:
    """Return the state of a later stage, read from snapshots.

    Args:
        run: what the stages share.
        begin: as for :func:`new_networks`.
        tuning: whether for each operating point; else for each seed's dense network.
    """
    config = run.config
    origins = [(index, "dense") for index in range(len(config.seeds))]
    if tuning:
        origins = [(s.replica, s.name) for s, _ in operating_points(run)]
    table = {(s.replica, s.name): s for s in run.listing()}
    points = [read_point(run, table[c]) for c in origins]
    if tuning and config.method == "one-shot-rewind":  # early weights, late masks
        early = [read_point(run, table[index, "rewind"]) for index, _ in origins]
        points = [
            (params, masks, stats)
            for (params, _, stats), (_, masks, _) in zip(early, points, strict=True)
        ]
    params, masks, stats = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    each = len(origins) // len(config.seeds)
    keys = []
    for place, (index, _) in enumerate(origins):
        own = jax.random.fold_in(
            jax.random.key(config.seeds[index]), 4 if tuning else 3
        )
        # Its place among the seed's own points: other seeds change nothing.
        keys.append(jax.random.fold_in(own, place % each))
    masked = lambda p, key, m, s: begin(p, key, masks=m, stats=s)
    return jax.jit(jax.vmap(masked))(params, jnp.stack(keys), masks, stats)


def state_shape(run: Run, begin: Begin, count: int) -> loop.Replica:
    """Return the state of a stage with ``count`` replicas, for its shapes alone."""

    def one(key: Any) -> loop.Replica:
        params, stats = run.net.init(key)
        return begin(params, key, masks=full_mask(params), stats=stats)

    return jax.vmap(one)(jax.random.split(jax.random.key(0), count))


# --- the snapshots that a stage leaves --------------------------------------------


def unprunable(params: Any, prunable: Prunable) -> int:
    """Return how many parameters may not be cut."""
    return sum(
        math.prod(leaf.shape)
        for name, leaf in named_leaves(params)
        if not prunable(name, leaf)
    )


def check_counts(config: Config, net: Network) -> None:
    """Raise unless the exact counts asked for are within what can be kept."""
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    least = unprunable(params, prunable_of(config))
    total = unprunable(params, lambda name, leaf: False)
    for count in config.keep:
        if not least <= count <= total:
            raise ValueError(
                f"keep: expected numbers from {least} (parameters that may not be cut) "
                f"to {total} (all), got {count}"
            )


def host_replica(tree: Any, index: int) -> Any:
    """Return one replica of a tree, as NumPy arrays."""
    return jax.tree.map(np.asarray, training.replica_of(tree, index))


def nonzero(params: Any) -> Any:
    """Return the mask of what is not exactly zero."""
    return jax.tree.map(lambda leaf: leaf != 0, params)


def write_early(run: Run, state: Any, epoch: int) -> None:
    """Write the early weights that one-shot pruning rewinds to, if it is time."""
    if run.config.method != "one-shot-rewind" or epoch != run.config.rewind_epoch:
        return
    for index in range(len(run.config.seeds)):
        params, stats = host_replica((state.params, state.stats), index)
        best = loop.Best(params, np.inf, np.ones(()), stats)  # pyright: ignore
        _write(run, index, "rewind", epoch, best, full_mask(params))


def write_cuts(run: Run, epoch: int, info: loop.EpochInfo) -> None:
    """Write the best weights that each cut of this epoch started from."""
    for index in map(int, np.flatnonzero(info.cut)):
        best = host_replica(info.before, index)
        _write(run, index, f"cut-{epoch:05d}", epoch, best, nonzero(best.params))


def write_planned(run: Run, number: int, state: Any, info: loop.EpochInfo) -> None:
    """Write the weights of the first epoch at which a schedule is at a target."""
    if number + 1 not in run.target_epochs.values():
        return
    epoch = run.config.dense_epochs + number + 1
    for index in range(len(run.config.seeds)):
        params, stats = host_replica((state.params, state.stats), index)
        best = loop.Best(params, info.loss[index], info.error[index], stats)
        masks = host_replica(masks_of(state.opt_state), index)
        _write(run, index, _cut_name(run, number + 1), epoch, best, masks)


def compressions(state: Any) -> np.ndarray:
    """Return total over kept of each replica's masks."""
    masks = [np.asarray(leaf) for leaf in jax.tree.leaves(masks_of(state.opt_state))]
    every = np.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in masks], axis=1)
    return every.shape[1] / np.maximum(every.sum(1), 1)


def _cut_name(run: Run, number: int) -> str:
    return f"cut-{run.config.dense_epochs + number:05d}"


def write_dense(run: Run, state: Any) -> None:
    """Write the best dense weights and, for one-shot pruning, what it cuts of them."""
    epoch = run.config.dense_epochs
    write_early(run, state, epoch)
    for index in range(len(run.config.seeds)):
        best = host_replica(state.best, index)
        _write(run, index, "dense", epoch, best, full_mask(best.params))
        if run.config.method.startswith("one-shot"):
            for target in targets_of(run.config):
                masks = _one_shot_mask(run.config, best.params, target)
                _write(run, index, target.one_shot_name, epoch, best, masks)


def write_last(run: Run, state: Any) -> None:
    """Write the best weights since the last cut, if there were epochs since."""
    epoch = run.config.dense_epochs + run.config.prune_epochs
    for index in range(len(run.config.seeds)):
        best = host_replica(state.best, index)
        if np.isfinite(best.loss):
            name = f"cut-{epoch:05d}-end"
            _write(run, index, name, epoch, best, nonzero(best.params))


def _one_shot_mask(config: Config, params: Any, target: Target) -> Any:
    """Return the mask of the largest magnitudes, as many as the target keeps."""
    prunable = prunable_of(config)
    if target.keep is None:
        density: Any = 1 / (target.compression or 1.0)
    else:
        count = target.keep - unprunable(params, prunable)
        density = lambda total: count
    return magnitude_mask(params, density, prunable=prunable)


def _write(
    run: Run, index: int, name: str, epoch: int, best: loop.Best, masks: Any
) -> None:
    """Write a snapshot of one replica; by one process, if there are several."""
    if not processes.first():
        return
    survivors = sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(masks))
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(masks))
    snapshots.write(
        run.snapshots,
        snapshots.Snapshot(
            index, name, epoch, float(best.loss), float(best.error), survivors, total
        ),
        best.params,
        masks,
        best.stats,
        run=run.folder.digest,
    )
