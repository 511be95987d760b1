"""What the stages of one run share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from pruning.gradual import loop
from pruning.gradual.config import Config
from pruning.gradual.methods import prunable_of, stepwise, transform
from synaptax import runs
from synaptax.data.images import Dataset
from synaptax.nets.models import Network
from synaptax.runs.progress import Progress


class Stage(NamedTuple):
    """One stage of a run.

    Attributes:
        name: ``dense``, ``prune`` or ``tune``.
        epochs: how many.
        tx: the optax chain.
        rules: when and how it cuts.
    """

    name: str
    epochs: int
    tx: optax.GradientTransformationExtraArgs
    rules: loop.Rules


class Run(NamedTuple):
    """What all stages share."""

    config: Config
    folder: runs.RunFolder
    data: Dataset
    net: Network
    stages: tuple[Stage, ...]
    progress: Progress
    started: float
    mesh: Mesh | None = None

    @property
    def snapshots(self) -> Path:
        """Where snapshots go."""
        return self.folder.path / "snapshots"

    @property
    def like(self) -> tuple[Any, Any]:
        """The shapes of (params, stats) of one network."""
        return jax.eval_shape(self.net.init, jax.random.key(0))

    def epochs_before(self, stage: int) -> int:
        """Epochs of the run that lie before a stage."""
        return sum(s.epochs for s in self.stages[:stage])


def stages_of(
    config: Config, net: Network, classes: int, steps: int
) -> tuple[Stage, ...]:
    """Return the three stages of a run, whose epochs have so many steps."""
    make = partial(transform, config, net, classes)
    dense = stepwise(config.lr, config.lr_drops, steps)
    prune_lr = config.lr * 0.1 ** len(config.lr_drops)
    if config.prune_lr is not None:
        prune_lr = config.prune_lr
    tune = stepwise(config.tune_lr, config.tune_drops, steps)
    rules = loop.Rules(
        False,
        config.patience,
        config.margin,
        config.tolerance,
        prunable_of(config),
    )
    one_shot = config.method.startswith("one-shot")
    return (
        Stage("dense", config.dense_epochs, make(lr=dense, decay=False), rules),
        Stage(
            "prune",
            0 if one_shot else config.prune_epochs,
            make(lr=prune_lr, decay=True),
            rules._replace(cuts=True),
        ),
        Stage("tune", config.tune_epochs, make(lr=tune, decay=False), rules),
    )
