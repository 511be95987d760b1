"""The solutions to compare: trained side by side, or read from finished runs.

``gradual/`` in the comparison's folder is an ordinary run of :mod:`pruning.gradual`.
Each of the others is trained by its own epochs from a checkpoint after every epoch,
so a comparison that is killed at any point goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis.minima.config import Config, gradual
from pruning.gradual import loop, snapshots
from pruning.gradual.keeping import unprunable
from pruning.gradual.methods import prunable_of, transform
from pruning.gradual.outcome import load_points
from pruning.gradual.train import fit
from pruning.selection import magnitude_mask
from synaptax import runs
from synaptax.data.augment import crop_flip
from synaptax.data.images import Dataset, load
from synaptax.nets import models
from synaptax.runs import checkpoints
from synaptax.training.errors import NonFiniteError
from synaptax.trees import check_same_structure

GRADUAL, ONE_SHOT, REWOUND, DENSE = "gradual", "one-shot", "rewound", "dense"
_RECORDS = "solutions"


class Solution(NamedTuple):
    """One network of the comparison.

    Attributes:
        arm: ``gradual``, ``one-shot``, ``rewound`` or ``dense``.
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
    found = []
    for point, params, stats, mask in points[:seeds] if dense else points[seeds:]:
        try:
            check_same_structure(like[0], params, argument="params")
            check_same_structure(like[1], stats, argument="stats")
        except ValueError as error:
            raise ValueError(f"{folder}: of another network: {error}") from error
        if point.reached:
            level = None if dense else point.target
            error = point.validation_error
            found.append(Solution(arm, point.seed, level, params, mask, stats, error))
    return found


def cut_once(config: Config, dense: Solution, kept: int) -> Any:
    """Return the mask of the largest magnitudes that keeps so many parameters."""
    prunable = prunable_of(gradual(config))
    count = kept - unprunable(dense.params, prunable)
    return magnitude_mask(dense.params, lambda total: count, prunable=prunable)


def retrain(
    shared: Setting,
    solution: Solution,
    folder: Path,
    *,
    report: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> Solution:
    """Train a masked network for as many epochs as G was pruned and tuned.

    Two stages, like G's: ``prune_epochs`` at the learning rate, then, from the best
    weights on validation, ``tune_epochs`` at the lower one.

    Args:
        shared: what the comparison shares.
        solution: where to begin; its masks hold throughout.
        folder: of the comparison.
        report: called after each epoch.

    Returns:
        The solution with the best weights of the last stage, on validation.

    Raises:
        NonFiniteError: if the loss stops being a number.
        synaptax.runs.checkpoints.CheckpointError: for a damaged checkpoint.
    """
    done = _recorded(folder, solution)
    if done is not None:
        return done
    config, where = shared.config, folder / _RECORDS / solution.name
    stages = ((config.prune_epochs, config.lr), (config.tune_epochs, config.tune_lr))
    first, epochs, member = _resumed(shared, solution, where)
    for index in range(first, len(stages)):
        if index > first:
            last = member.best if epochs else member
            member = _begin(shared, solution, index, last.params, last.stats)
            epochs = 0
        step = _epoch_of(shared, stages[index][1])
        for number in range(epochs, stages[index][0]):
            member, info = step(member, jnp.int32(number))
            info = jax.device_get(info)
            if not (np.isfinite(info.losses).all() and np.isfinite(info.loss)):
                raise NonFiniteError(
                    f"{solution.name}, epoch {number + 1}: the loss is not finite; a "
                    f"smaller learning rate (now {stages[index][1]}) may help"
                )
            epochs = number + 1
            report({"validation_loss": info.loss, "validation_error": info.error})
            if epochs % _every(config) == 0 or epochs == stages[index][0]:
                meta = {"stage": index, "done": epochs}
                total = sum(s[0] for s in stages[:index]) + epochs
                checkpoints.save(where, member, step=total, meta=meta, keep=1)
    best = jax.device_get(member.best)
    return _record(folder, solution, best)


def _every(config: Config) -> int:
    """Return the epochs between two checkpoints."""
    return gradual(config).checkpoint_every


def _begin(
    shared: Setting, solution: Solution, index: int, params: Any, stats: Any
) -> Any:
    """Return the member at the start of a stage."""
    tx, rules = _chain(shared, shared.config.lr), _rules(shared.config)
    key = jax.random.fold_in(jax.random.key(solution.seed), 10 + index)
    return loop.start(params, key, tx, solution.masks, rules, stats)


def _resumed(
    shared: Setting, solution: Solution, where: Path
) -> tuple[int, int, loop.Member]:
    """Return (stage, epochs done in it, member) of the newest checkpoint."""
    begin = partial(_begin, shared, solution, 0, solution.params, solution.stats)
    if checkpoints.latest(where) is None:
        return 0, 0, begin()
    found = checkpoints.restore(where, jax.eval_shape(begin))
    return found.meta["stage"], found.meta["done"], found.state


_CACHE: dict[Any, Any] = {}


def _epoch_of(shared: Setting, lr: float) -> Callable[..., Any]:
    """Return the jitted epoch; one compilation for all solutions of a comparison."""
    config = shared.config
    key = (id(shared.net), lr)
    if key not in _CACHE:
        step = partial(
            loop.epoch,
            apply_fn=shared.net,
            tx=_chain(shared, lr),
            rules=_rules(config),
            batch=config.batch,
            augment=_augment(shared),
        )
        train, validation = jax.device_put((shared.data.train, shared.data.validation))
        jitted = jax.jit(step)
        _CACHE[key] = lambda member, number: jitted(member, number, train, validation)
    return _CACHE[key]


def _chain(shared: Setting, lr: float) -> Any:
    config = gradual(shared.config)
    return transform(config, shared.net, shared.data.classes, lr=lr, decay=False)


def _augment(shared: Setting) -> Callable[[Any, Any], Any] | None:
    """Return crops and flips, where the run of G has them too."""
    if gradual(shared.config).augment == "none":
        return None
    moments = zip(shared.data.mean, shared.data.std, strict=True)
    black = jnp.asarray([-mean / std for mean, std in moments], jnp.float32)
    return lambda key, image: crop_flip(key, image, black)


def _rules(config: Config) -> loop.Rules:
    return loop.Rules(
        False, config.patience, 0.0, config.tolerance, lambda name, leaf: True
    )


def _record(folder: Path, solution: Solution, best: loop.Best) -> Solution:
    """Write a trained solution and return it."""
    error = float(best.error)
    done = solution._replace(
        params=best.params, stats=best.stats, validation_error=error
    )
    snapshot = snapshots.Snapshot(
        0, done.name, 0, float(best.loss), error, solution.kept, solution.total
    )
    snapshots.write(
        folder / _RECORDS, snapshot, best.params, solution.masks, best.stats
    )
    return done


def _recorded(folder: Path, solution: Solution) -> Solution | None:
    """Return a solution that was trained before, or None."""
    for snapshot in snapshots.listing(folder / _RECORDS):
        if snapshot.name == solution.name:
            params, masks = snapshots.read(folder / _RECORDS, snapshot, solution.params)
            return solution._replace(
                params=params,
                masks=masks,
                validation_error=snapshot.error,
            )
    return None
