"""What the stages of one run share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import optax

from pruning.lab import loop, runs
from pruning.lab.config import Config
from pruning.lab.data import Dataset
from pruning.lab.methods import prunable_of, transform
from pruning.lab.progress import Progress


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
    init_fn: Callable[[Any], Any]
    apply_fn: Callable[[Any, Any], Any]
    stages: tuple[Stage, ...]
    progress: Progress
    started: float

    @property
    def snapshots(self) -> Path:
        """Where snapshots go."""
        return self.folder.path / "snapshots"

    def epochs_before(self, stage: int) -> int:
        """Epochs of the run that lie before a stage."""
        return sum(s.epochs for s in self.stages[:stage])


def stages_of(
    config: Config, apply_fn: Callable[[Any, Any], Any], classes: int
) -> tuple[Stage, ...]:
    """Return the three stages of a run."""
    make = partial(transform, config, apply_fn, classes)
    rules = loop.Rules(
        False,
        config.patience,
        config.margin,
        config.tolerance,
        prunable_of(config),
    )
    one_shot = config.method.startswith("one-shot")
    return (
        Stage("dense", config.dense_epochs, make(lr=config.lr, decay=False), rules),
        Stage(
            "prune",
            0 if one_shot else config.prune_epochs,
            make(lr=config.lr, decay=True),
            rules._replace(cuts=True),
        ),
        Stage("tune", config.tune_epochs, make(lr=config.tune_lr, decay=False), rules),
    )
