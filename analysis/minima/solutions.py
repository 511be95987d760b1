"""The solutions to compare: trained side by side, or read from finished runs.

``gradual/`` in the comparison's folder is an ordinary run of :mod:`pruning.gradual`.
The others are trained by the same epochs, one network at a time, with checkpoints of
their own: a comparison that is killed at any point goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis.minima.config import Config, gradual
from pruning.gradual import loop, snapshots
from pruning.gradual.handover import unprunable
from pruning.gradual.methods import prunable_of, transform
from pruning.gradual.outcome import load_points
from pruning.gradual.train import fit
from pruning.selection import magnitude_mask
from synaptax import runs, training
from synaptax.data.augment import crop_flip
from synaptax.data.images import Dataset, load
from synaptax.data.streaming import fingerprint
from synaptax.nets import models
from synaptax.trees import check_same_structure

GRADUAL, ONE_SHOT, REWOUND, DENSE = "gradual", "one-shot", "rewound", "dense"
BY_LAYER, REWOUND_BY_LAYER = "one-shot-layer", "rewound-layer"
TICKET = "ticket"  # G's mask on the initial weights
_RECORDS = "solutions"


class Solution(NamedTuple):
    """One network of the comparison.

    Attributes:
        arm: ``dense``, ``gradual``, ``one-shot`` or ``one-shot-layer`` (S by global
            or per-layer magnitude), ``rewound`` or ``rewound-layer``, ``ticket``.
        seed: the training seed.
        level: the compression asked for; None for the highest accepted one.
        params: the weights.
        masks: boolean tree, True = kept.
        stats: batch-norm's running moments; ``{}`` for a network without state.
        validation_error: a fraction.
    """

    arm: str
    seed: int
    level: float | None
    params: Any
    masks: Any
    stats: Any
    validation_error: float

    @property
    def kept(self) -> int:
        """Parameters kept, biases included."""
        return sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(self.masks))

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.masks))

    @property
    def name(self) -> str:
        """A name for files: arm, seed and level."""
        suffix = "" if self.level is None else f"-{self.level:g}x"
        return f"{self.arm}-seed{self.seed}{suffix}"


class Setting(NamedTuple):
    """What all solutions of a comparison share.

    Attributes:
        config: what was asked.
        data: the data set.
        net: the network.
    """

    config: Config
    data: Dataset
    net: models.Network

    @property
    def like(self) -> tuple[Any, Any]:
        """The shapes of (params, stats)."""
        return jax.eval_shape(self.net.init, jax.random.key(0))


def setting(config: Config, *, quiet: bool = False) -> Setting:
    """Load the data and build the network of a comparison."""
    data = load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        limit=config.limit,
        progress=not quiet,
    )
    net = models.network(config.model, data.classes, data.train.image.shape[1:])
    return Setting(config, data, net)


def train_gradual(config: Config, folder: Path, *, quiet: bool = False) -> Path:
    """Train G, or go on with it; return its run folder."""
    run = folder / GRADUAL
    if not runs.RunFolder(run).summary.exists():
        fit(gradual(config), run, resume=True, quiet=quiet)
    return run


def read_run(
    folder: Path, arm: str, like: tuple[Any, Any], *, dense: bool = False
) -> list[Solution]:
    """Return the solutions of a finished run of :mod:`pruning.gradual`.

    Args:
        folder: the run's folder.
        arm: what to call them.
        like: (params, stats) of the network, or their shapes.
        dense: the dense networks instead of the fine-tuned ones.

    Raises:
        ValueError: naming the folder or file, if it holds no finished run, or one of
            another network.
    """
    try:
        points = load_points(folder)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: not a run of pruning.gradual: {error!r}"
        ) from error
    seeds = len({one.point.seed for one in points})  # the dense ones come first
    solutions = []
    for point, params, stats, mask in points[:seeds] if dense else points[seeds:]:
        if not dense and arm == GRADUAL and point.target is not None:
            continue  # near a level, not at it: see read_level
        try:
            check_same_structure(like[0], params, argument="params")
            check_same_structure(like[1], stats, argument="stats")
        except ValueError as error:
            raise ValueError(f"{folder}: of another network: {error}") from error
        if point.reached:
            level = None if dense else point.target
            error = point.validation_error
            solutions.append(
                Solution(arm, point.seed, level, params, mask, stats, error)
            )
    return solutions


def read_level(
    config: Config, folder: Path, like: tuple[Any, Any], level: float
) -> list[tuple[Solution, int]]:
    """Return G where its cuts stop at a level, and the epochs of pruning then left.

    The best weights before the cut that would cross the level are cut, by magnitude,
    to exactly round(total / level) parameters.

    Args:
        config: of the comparison.
        folder: of a finished run of :mod:`pruning.gradual`.
        like: (params, stats) of the network, or their shapes.
        level: the compression, total over kept.

    Returns:
        For each seed of the config whose run got as far.
    """
    run = runs.RunFolder(folder)
    place, everything = run.path / "snapshots", {}
    for one in snapshots.listing(place, run=run):
        everything.setdefault(one.replica, []).append(one)
    seeds = {point.point.seed: None for point in load_points(folder)}
    solutions = []
    for index, seed in enumerate(seeds):
        own = everything[index]
        count = round(own[0].total / level)
        if seed not in config.seeds or min(one.kept for one in own) > count:
            continue
        before = [one for one in own if one.kept >= count]
        last = min(before, key=lambda one: (one.kept, -one.epoch))
        params, masks = snapshots.read(place, last, like[0])
        stats = snapshots.read_stats(place, last, like[1])
        g = Solution(GRADUAL, seed, level, params, masks, stats, last.error)
        epochs = config.dense_epochs + config.prune_epochs - last.epoch
        solutions.append((g._replace(masks=cut_once(config, g, count)), max(epochs, 0)))
    return solutions


def cut_once(
    config: Config, dense: Solution, kept: int, *, by_layer: bool = False
) -> Any:
    """Return the mask of the largest magnitudes that keeps so many parameters.

    Args:
        config: of the comparison.
        dense: what is cut.
        kept: the exact number of parameters, those that may not be cut included.
        by_layer: rank each leaf by itself, all at one density; else all together.

    Raises:
        ValueError: if no such mask keeps exactly so many.
    """
    prunable = prunable_of(gradual(config))
    count = kept - unprunable(dense.params, prunable)
    # A small bias may be left with nothing: its floor of one would be one too many.
    scope = {"scope": "uniform", "min_per_leaf": 0} if by_layer else {}
    masks = magnitude_mask(
        dense.params, lambda total: count, prunable=prunable, **scope
    )
    survivors = sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(masks))
    if survivors != kept:
        raise ValueError(
            f"{dense.name}: expected a cut to {kept}, got one to {survivors}"
        )
    return masks


def initial(shared: Setting, solution: Solution) -> Solution:
    """Return a solution's masks on the weights that its seed began from."""
    key = jax.random.fold_in(jax.random.key(solution.seed), 0)  # as the lab draws it
    params, stats = jax.jit(shared.net.init)(key)
    return solution._replace(params=params, stats=stats)


def retrain(
    shared: Setting,
    solution: Solution,
    folder: Path,
    *,
    epochs: int | None = None,
    report: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> Solution:
    """Train a masked network for as many epochs as G was pruned and tuned.

    Two stages, like G's: ``prune_epochs`` at the learning rate, then, from the best
    weights on validation, ``tune_epochs`` at the lower one.

    Args:
        shared: what the comparison shares.
        solution: where to begin; its masks hold throughout.
        folder: of the comparison.
        epochs: of the first stage, if not ``prune_epochs``.
        report: called after each epoch.

    Returns:
        The solution with the best weights of the last stage, on validation.

    Raises:
        NonFiniteError: if the loss stops being a number.
        synaptax.runs.checkpoints.CheckpointError: for a damaged checkpoint.
    """
    config = shared.config
    own = runs.RunFolder(folder, _identity(config))
    trained = _recorded(own, solution)
    if trained is not None:
        return trained
    # A checkpoint from other weights or another mask is not gone on with.
    start = {"start": fingerprint((solution.params, solution.masks))}
    place = _Folder(folder / _RECORDS / solution.name, _identity(config) | start)
    place.path.parent.mkdir(exist_ok=True)
    place.path.mkdir(exist_ok=True)
    first = config.prune_epochs if epochs is None else epochs
    outcome = training.run(
        [
            _stage(shared, solution, 0, "prune", first, config.lr),
            _stage(shared, solution, 1, "tune", config.tune_epochs, config.tune_lr),
        ],
        place,
        axis="single",
        checkpoint_every=gradual(config).checkpoint_every,
        writer=_Reporting(report),
    )
    return _record(own, solution, jax.device_get(outcome.state.best))


def _identity(config: Config) -> dict[str, Any]:
    """Return the fields of a config that its solutions must share."""
    fields = runs.jsonable(config)
    return {name: value for name, value in fields.items() if name != "data_dir"}


class _Folder(runs.RunFolder):
    """The folder of one solution: its checkpoints lie in it, not below."""

    @property
    def checkpoints(self) -> Path:
        return self.path


class _Reporting(NamedTuple):
    """A writer of epochs' records that calls a function."""

    report: Callable[[Mapping[str, Any]], None]

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        del step
        self.report(values)


def _stage(
    shared: Setting, solution: Solution, index: int, name: str, epochs: int, lr: float
) -> training.Stage:
    """Return a stage of :func:`retrain`, from the best weights of the one before."""
    config, data = shared.config, shared.data

    def begin(previous: Any) -> loop.Replica:
        best = solution if previous is None else previous.best
        # A stream of its own: 0 is that of the initial weights, 20 of training on, 99
        # of the plane's direction.
        key = jax.random.fold_in(jax.random.key(solution.seed), 10 + index)
        tx = transform(
            gradual(config), shared.net, data.classes, lr=config.lr, decay=False
        )
        rules = rules_of(config)
        return loop.start(best.params, key, tx, solution.masks, rules, best.stats)

    return training.Stage(
        name,
        epochs,
        start=begin,
        epoch=epoch_of(config, shared.net, data.classes, data.black, lr),
        data=(data.train, data.validation),
        finite=lambda info: [info.losses, info.loss],
        record=lambda info: {
            "train_loss": info.losses.mean(),
            "validation_loss": info.loss,
            "validation_error": info.error,
        },
        replicas=(solution.name,),
        advice=f"a smaller learning rate (now {lr}) may help",
    )


@lru_cache(maxsize=8)
def epoch_of(
    config: Config,
    net: models.Network,
    classes: int,
    black: tuple[float, ...],
    lr: float,
) -> Callable[..., Any]:
    """Return the epoch at a learning rate; one compilation for all solutions."""
    run = gradual(config)
    augment = None
    if run.augment != "none":
        augment = lambda key, image: crop_flip(key, image, jnp.asarray(black))
    return partial(
        loop.epoch,
        apply_fn=net,
        tx=transform(run, net, classes, lr=lr, decay=False),
        rules=rules_of(config),
        batch=config.batch,
        augment=augment,
    )


def rules_of(config: Config) -> loop.Rules:
    """Return the rules of an epoch that cuts nothing."""
    return loop.Rules(
        False, config.patience, 0.0, config.tolerance, lambda name, leaf: True
    )


def _record(run: runs.RunFolder, solution: Solution, best: loop.Best) -> Solution:
    """Write a trained solution and return it."""
    error = float(best.error)
    result = solution._replace(
        params=best.params, stats=best.stats, validation_error=error
    )
    snapshot = snapshots.Snapshot(
        0, result.name, 0, float(best.loss), error, solution.kept, solution.total
    )
    snapshots.write(
        run.path / _RECORDS,
        snapshot,
        best.params,
        solution.masks,
        best.stats,
        run=run.digest,
    )
    return result


def _recorded(run: runs.RunFolder, solution: Solution) -> Solution | None:
    """Return a solution that was trained before, or None."""
    place = run.path / _RECORDS
    for snapshot in snapshots.listing(place, run=run):
        if snapshot.name == solution.name:
            params, masks = snapshots.read(place, snapshot, solution.params)
            return solution._replace(
                params=params,
                masks=masks,
                stats=snapshots.read_stats(place, snapshot, solution.stats),
                validation_error=snapshot.error,
            )
    return None
