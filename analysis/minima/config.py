"""What one comparison of minima is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pruning.gradual import config as lab
from synaptax.cli.fields import NotHelp

Transfer = Literal["none", "transposed", "mnist", "fashion_mnist"]


@dataclass(frozen=True)
class Config:
    """A comparison: train the pair over several seeds, measure, judge, report.

    G is pruned gradually (LOBSTER: shrink by loss sensitivity, cut on plateaus). S is
    the same dense network cut once, by magnitude, to exactly G's number of
    parameters, and trained for as many epochs as G took. R is S rewound to its
    initial weights before that training. T is G's mask on the initial weights,
    trained likewise; the dense network that errors are set beside is trained as long.
    At a level all keep exactly round(total / level) parameters: the cut of G that
    would cross it stops there. Then G and its twins are trained on under their masks
    to equal training loss, and compared again.

    Attributes:
        model: The network.
        dataset: What it is trained on; digits needs no download.
        seeds: Which seeds, such as 0 1 2; everything is paired over them.
        levels: Compressions, besides the highest accepted one, at which G and S are
            compared too, at exactly that number of parameters.
        rewind: Train R too, at the highest accepted compression.
        layerwise: Cut S (and R) by the magnitudes of each layer too, the same share of
            each, at the highest accepted compression.
        ticket: Train G's mask from the initial weights too.
        equal_epochs: Epochs at most, at tune_lr, of training on to equal training
            loss; 0 for no such comparison.
        equal_levels: Losses, evenly spaced on a log scale between the lower of the
            two ends and the higher of the two floors, at which curvature is compared.
        rate: Strength of G's shrink term, per step.
        patience: Epochs without a better validation loss before a cut.
        tolerance: Relative rise of the validation loss that a cut may cause.
        accept: Rise of G's validation error over dense (a fraction) at which its
            sparsest solution is still accepted.
        dense_epochs: Epochs of the dense network that G and S share.
        prune_epochs: Epochs of G's pruning, and of S's and R's training.
        tune_epochs: Epochs at the lower rate that end all three.
        batch: Examples per step.
        lr: Learning rate.
        tune_lr: Learning rate of the last epochs.
        momentum: Momentum of SGD.
        weight_decay: Multiple of each parameter added to its gradient.
        augment: Training images as they are, or cropped and flipped at random.
        prunable: What may be cut: all parameters, or weights without the biases and
            batch-norm's scales.
        validation: Training examples held out for every choice (else 1 in 12).
        limit: Use only the first so many training examples.
        transfer: Where the trunks are taken to; transposed: the same images with
            rows and columns exchanged.
        transfer_examples: Training examples of the probes at most.
        curvature_examples: Training examples over which curvature is measured.
        lanczos_steps: Steps of a Lanczos run for the top eigenvalue and the spectrum.
        probes: Random vectors of the spectrum.
        entropy_examples: Test examples over which entropies are counted.
        plane_points: Points along each side of the loss plane.
        plane_examples: Training examples behind the loss plane.
        eigenvalue_points: Points along each side of the plane's eigenvalue map; 0
            for none.
        level: Of the confidence intervals.
        data_dir: Folder of prepared TFDS sets (else TFDS_DATA_DIR).
    """

    model: Literal["lenet300", "lenet5", "resnet32"] = "lenet300"
    dataset: Literal["digits", "mnist", "fashion_mnist", "cifar10_jpeg75"] = "digits"
    seeds: tuple[int, ...] = (0, 1, 2)
    levels: tuple[float, ...] = ()
    rewind: Annotated[
        bool, NotHelp(help="Do not train R, S rewound to its initial weights.")
    ] = True
    layerwise: Annotated[bool, NotHelp(help="Do not cut S layer by layer too.")] = True
    ticket: Annotated[
        bool, NotHelp(help="Do not train G's mask from the initial weights.")
    ] = True
    equal_epochs: int = 100
    equal_levels: int = 4
    rate: float = 3e-4
    patience: int = 1
    tolerance: float = 0.5
    accept: float = 0.005
    dense_epochs: int = 6
    prune_epochs: int = 24
    tune_epochs: int = 3
    batch: int = 100
    lr: float = 0.1
    tune_lr: float = 0.02
    momentum: float = 0.0
    weight_decay: float = 0.0
    augment: Literal["none", "crop-flip"] = "none"
    prunable: Literal["all", "weights"] = "all"
    validation: int | None = None
    limit: int | None = None
    transfer: Transfer = "none"
    transfer_examples: int = 10000
    curvature_examples: int = 2000
    lanczos_steps: int = 20
    probes: int = 4
    entropy_examples: int = 10000
    plane_points: int = 9
    plane_examples: int = 2000
    eigenvalue_points: int = 5
    level: float = 0.95
    data_dir: str | None = None


def defaults(dataset: str) -> Config:
    """Return the config for a data set, which the options then change.

    Args:
        dataset: the data set's name.
    """
    if dataset == "digits":
        return Config(
            levels=(4.0,),
            patience=8,
            tolerance=0.2,
            momentum=0.9,
            dense_epochs=40,
            prune_epochs=160,
            tune_epochs=20,
            transfer="transposed",
            curvature_examples=1100,
            plane_examples=1100,
            entropy_examples=400,
        )
    if dataset == "cifar10_jpeg75":
        return Config(
            model="resnet32",
            dataset="cifar10_jpeg75",
            momentum=0.9,
            weight_decay=5e-5,
            augment="crop-flip",
            prunable="weights",
            rate=1e-5,
            patience=2,
            dense_epochs=60,
            prune_epochs=100,
            tune_epochs=20,
            tune_lr=0.01,
            entropy_examples=1000,
            curvature_examples=1000,
        )
    other = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}.get(dataset, "none")
    return Config(
        model="lenet5",
        dataset=dataset,  # pyright: ignore[reportArgumentType]
        limit=27500,
        transfer=other,  # pyright: ignore[reportArgumentType]
    )


def gradual(config: Config) -> lab.Config:
    """Return what the training run of G is asked to do."""
    return lab.Config(
        model=config.model,
        dataset=config.dataset,
        method="loss-sensitivity",
        seeds=config.seeds,
        rate=config.rate,
        patience=config.patience,
        tolerance=config.tolerance,
        dense_epochs=config.dense_epochs,
        prune_epochs=config.prune_epochs,
        tune_epochs=config.tune_epochs,
        accept=config.accept,
        batch=config.batch,
        lr=config.lr,
        tune_lr=config.tune_lr,
        momentum=config.momentum,
        validation=config.validation,
        limit=config.limit,
        data_dir=config.data_dir,
        weight_decay=config.weight_decay,
        augment=config.augment,
        prunable=config.prunable,
        checkpoint_every=50 if config.model == "lenet300" else 1,
    )


def check(config: Config) -> None:
    """Raise unless every field is in its range.

    Args:
        config: of a comparison.

    Raises:
        ValueError: naming the field, its value and what was expected.
    """
    hints: dict[str, Any] = get_type_hints(Config)
    for name in ("model", "dataset", "transfer", "augment", "prunable"):
        value, choices = getattr(config, name), get_args(hints[name])
        if value not in choices:
            raise ValueError(
                f"{name}: unknown {value!r}, expected one of {', '.join(choices)}"
            )
    least = {
        "equal_epochs": 0,
        "equal_levels": 1,
        "transfer_examples": 100,
        "curvature_examples": 1,
        "lanczos_steps": 2,
        "probes": 2,
        "entropy_examples": 1,
        "plane_points": 3,
        "plane_examples": 1,
        "eigenvalue_points": 0,
    }
    for name, low in least.items():
        value = getattr(config, name)
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")
    if any(not (math.isfinite(x) and x >= 1) for x in config.levels):
        raise ValueError(f"levels: expected compressions >= 1, got {config.levels}")
    if len(set(config.levels)) < len(config.levels):
        raise ValueError(f"levels: expected different ones, got {config.levels}")
    if not 0 < config.level < 1:
        raise ValueError(f"level: expected a number in (0, 1), got {config.level}")
    if len(config.seeds) < 2:
        raise ValueError(
            f"seeds: expected two or more, for an interval, got {config.seeds}"
        )
    lab.check(gradual(config))
