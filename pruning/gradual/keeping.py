"""Which weights a run keeps as snapshots, and when."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from pruning.gradual import loop, snapshots
from pruning.gradual.members import one_shot_name, targets_of
from pruning.gradual.methods import prunable_of
from pruning.gradual.stages import Run, Stage
from pruning.masks import full_mask, magnitude_mask
from synaptax.runs import processes
from synaptax.trees import Prunable, named_leaves


def rewind_now(run: Run, stage: Stage, number: int) -> bool:
    """Say whether the weights before epoch ``number`` are those to rewind to."""
    config = run.config
    return (
        config.method == "one-shot-rewind"
        and stage.name == "dense"
        and number == config.rewind_epoch
    )


def _keep(
    run: Run, member: int, name: str, epoch: int, best: loop.Best, masks: Any
) -> None:
    """Write a snapshot of one member; by one process, if there are several."""
    if not processes.first():
        return
    kept = sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(masks))
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(masks))
    snapshots.write(
        run.snapshots,
        snapshots.Snapshot(
            member, name, epoch, float(best.loss), float(best.error), kept, total
        ),
        best.params,
        masks,
        best.stats,
    )


def member_of(tree: Any, index: int) -> Any:
    """Return one member of a tree with a leading axis of members."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), tree)


def unprunable(params: Any, prunable: Prunable) -> int:
    """Return how many parameters may not be cut."""
    return sum(
        math.prod(leaf.shape)
        for name, leaf in named_leaves(params)
        if not prunable(name, leaf)
    )


def alive(params: Any) -> Any:
    """Return the mask of what is not exactly zero."""
    return jax.tree.map(lambda leaf: leaf != 0, params)


def keep_rewind(run: Run, members: Any, epoch: int) -> None:
    """Write the early weights that one-shot pruning rewinds to."""
    for index in range(len(run.config.seeds)):
        params, stats = member_of((members.params, members.stats), index)
        best = loop.Best(params, np.inf, np.ones(()), stats)  # pyright: ignore
        _keep(run, index, "rewind", epoch, best, full_mask(params))


def keep_cuts(run: Run, epoch: int, info: Any) -> None:
    """Write the best weights that each cut of this epoch started from."""
    for index in np.flatnonzero(info.cut):
        best = member_of(info.before, int(index))
        name = f"cut-{epoch:05d}"
        _keep(run, int(index), name, epoch, best, alive(best.params))


def close_stage(run: Run, index: int, members: Any) -> None:
    """Write what later stages start from; the same bits however often it is done."""
    stage, config = run.stages[index], run.config
    epoch = run.epochs_before(index) + stage.epochs
    if stage.name == "tune":
        return
    for member in range(len(config.seeds)):
        best = member_of(members.best, member)
        if stage.name == "dense":
            _keep(run, member, "dense", epoch, best, full_mask(best.params))
            if rewind_now(run, stage, stage.epochs):
                keep_rewind(run, members, epoch)
            if config.method.startswith("one-shot"):
                _keep_one_shot(run, member, epoch, best)
        elif np.isfinite(best.loss):  # epochs since the last cut
            _keep(run, member, f"cut-{epoch:05d}-end", epoch, best, alive(best.params))


def _keep_one_shot(run: Run, member: int, epoch: int, best: loop.Best) -> None:
    """Write the dense weights cut to each target at once, by magnitude."""
    prunable = prunable_of(run.config)
    for target in targets_of(run.config):
        density: Any = 1 / (target.compression or 1.0)
        if target.keep is not None:
            count = target.keep - unprunable(best.params, prunable)
            density = lambda _, count=count: count
        masks = magnitude_mask(best.params, density, prunable=prunable)
        _keep(run, member, one_shot_name(target), epoch, best, masks)
