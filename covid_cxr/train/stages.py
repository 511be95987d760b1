"""What a stage of training is: as published, and repaired.

Stage 1 learns a pneumonia task from a large set, stage 2 the COVID classifier from
the stage-1 trunk. "As published" keeps the released code of arXiv 2004.05405, its
double softmax and last epoch included; "fixed" uses logits, balanced batches, the
best epoch on validation and several seeds. Each difference is a field.
"""

from __future__ import annotations

import dataclasses
import math

from covid_cxr.images.augmentation import PUBLISHED, PUBLISHED_PRETRAINING, Augmentation
from covid_cxr.train.losses import LOSSES
from synaptax.checks import check_flags, check_integer, check_number

_CHOICES = {
    "loss": LOSSES,
    "optimizer": ("sgd", "adamw"),
    "schedule": ("plateau", "cosine", "constant"),
    "select": ("last", "best"),
    "sampling": ("shuffled", "balanced"),
    "seed_axis": ("auto", "map", "vmap"),
}
_POSITIVE = ("> 0", lambda given: 0 < given < math.inf)
_NOT_NEGATIVE = (">= 0", lambda given: 0 <= given < math.inf)
_NUMBERS = {
    **dict.fromkeys(("rate", "std"), _POSITIVE),
    **dict.fromkeys(("gamma", "weight_decay", "trunk_rate"), _NOT_NEGATIVE),
    "momentum": ("in [0, 1)", lambda given: 0 <= given < 1),
    "factor": ("in (0, 1)", lambda given: 0 < given < 1),
    "mean": ("a finite number", math.isfinite),
}
_LEAST = {"batch": 1, "epochs": 1, "patience": 0, "checkpoint_every": 1}


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage of training.

    Attributes:
        loss: One of bce, focal (one output), softmax, double-softmax (more outputs).
        gamma: Exponent of the focal loss.
        optimizer: SGD with L2 decay in the gradient, or AdamW.
        rate: Learning rate at the start.
        momentum: Of SGD.
        weight_decay: On all trained parameters.
        schedule: Plateau watches the validation loss, as PyTorch's does.
        patience: Epochs without improvement that the plateau lets pass.
        factor: Of the rate at a plateau.
        epochs: Passes over the training images.
        batch: Images a step; what is left of an epoch is skipped.
        select: The weights kept, of the last epoch or the best on validation (by AUC
            with one output, by loss with more).
        sampling: Shuffled passes, or batches with equally many of each class.
        augmentation: How images are moved; None for not at all.
        freeze_trunk: Train the head alone, the trunk in evaluation mode.
        trunk_rate: Factor on the trunk's learning rate.
        mean: Subtracted from images in [0, 1].
        std: Then divided by.
        seeds: A network is trained for each.
        seed_axis: Seeds one after the other (map), together (vmap), or by device.
        checkpoint_every: Epochs between checkpoints.

    Example:
        >>> covid_cxr.train.StageConfig(epochs=5, seeds=(0, 1)).loss
        'bce'
    """

    loss: str = "bce"
    gamma: float = 2.0
    optimizer: str = "sgd"
    rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    patience: int = 15
    factor: float = 0.1
    epochs: int = 30
    batch: int = 16
    select: str = "best"
    sampling: str = "balanced"
    augmentation: Augmentation | None = PUBLISHED
    freeze_trunk: bool = False
    trunk_rate: float = 1.0
    mean: float = 0.5
    std: float = 0.25
    seeds: tuple[int, ...] = (0, 1, 2)
    seed_axis: str = "auto"
    checkpoint_every: int = 5


def check(config: StageConfig) -> None:
    """Raise a ValueError that names the first field that makes no sense."""
    for name, choices in _CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            names = ", ".join(choices)
            raise ValueError(f"{name}: expected one of {names}, got {value!r}")
    for name, least in _LEAST.items():
        value, expected = getattr(config, name), f"at least {least}"
        check_integer(name, value, least, expected=expected)
    for name, (expected, fits) in _NUMBERS.items():
        check_number(name, getattr(config, name), expected, fits)
    check_flags(freeze_trunk=config.freeze_trunk)
    for seed in config.seeds:
        check_integer("seeds", seed)
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds: expected different numbers, got {config.seeds}")


def published_pretraining(task: str = "chestxray") -> StageConfig:
    """Return stage 1 as published.

    Args:
        task: ``"chestxray"``, three classes, or ``"rsna"``, one output.

    Raises:
        ValueError: for another task.

    Reference:
        Tartaglione et al., arXiv 2004.05405, and its released code.

    Example:
        >>> covid_cxr.train.published_pretraining("rsna").epochs
        160
    """
    tasks = {"chestxray": ("double-softmax", 0.01, 150), "rsna": ("bce", 0.1, 160)}
    if task not in tasks:
        raise ValueError(f"task: expected one of {', '.join(tasks)}, got {task!r}")
    loss, rate, epochs = tasks[task]
    return StageConfig(
        loss=loss,
        rate=rate,
        epochs=epochs,
        momentum=0.0,
        schedule="plateau",
        batch=10,
        select="last",
        sampling="shuffled",
        augmentation=PUBLISHED_PRETRAINING,
        seeds=(42,),
    )


def published_finetuning() -> StageConfig:
    """Return stage 2 as published: focal loss, SGD at 0.1, batches of 4, last epoch.

    Reference:
        Tartaglione et al., arXiv 2004.05405, and its released code.

    Example:
        >>> stage = covid_cxr.train.published_finetuning()
        >>> stage.loss, stage.batch, stage.select
        ('focal', 4, 'last')
    """
    return StageConfig(
        loss="focal",
        rate=0.1,
        epochs=100,
        momentum=0.0,
        schedule="plateau",
        batch=4,
        select="last",
        sampling="shuffled",
        seeds=(42,),
    )


def fixed_pretraining(classes: int = 1) -> StageConfig:
    """Return stage 1 repaired, for a number of outputs.

    Example:
        >>> covid_cxr.train.fixed_pretraining(3).loss
        'softmax'
    """
    loss = "bce" if classes == 1 else "softmax"
    return StageConfig(loss=loss, augmentation=PUBLISHED_PRETRAINING)


def fixed_finetuning() -> StageConfig:
    """Return stage 2 repaired; its trunk learns at a tenth of the head's rate.

    Example:
        >>> covid_cxr.train.fixed_finetuning().trunk_rate
        0.1
    """
    return StageConfig(trunk_rate=0.1)
