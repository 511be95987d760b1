"""What one training run under a regulariser is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from synaptax.cli.fields import Help, check_fields
from synaptax.data import images
from synaptax.nets import models

Regulariser = Literal["none", "l2", "l1", "dropout", "psp", "psp+l2"]
METHODS: tuple[Regulariser, ...] = get_args(Regulariser)
PENALISED = ("psp", "psp+l2")


@dataclass(frozen=True)
class RegulariserConfig:
    """A run: one regulariser at a fixed schedule, evaluated after every epoch.

    J = mean cross-entropy, plus ``gamma`` R (psp), plus ``l2`` / 2 times the sum of
    squares or ``l1`` times the sum of absolute values of all parameters, biases too.
    There is no early stopping: what is reported is the last epoch. With nothing held
    out, the test set is looked at after every epoch, as the authors did, but no choice
    is made from it; with ``validation`` examples held out they are looked at instead,
    and the test set once, at the end.
    """

    model: Annotated[
        str,
        Help(
            help="A bundled network (lenet5 sees digits at twice their size, 16x16) or "
            "module:function."
        ),
    ] = "lenet5"
    dataset: Annotated[
        str,
        Help(
            help="digits needs no download; mnist, fashion_mnist, cifar10_jpeg75 or "
            "any prepared image set is read through TFDS; or module:function."
        ),
    ] = "mnist"
    method: Annotated[Regulariser, Help(help="What regularises.")] = "psp"
    seeds: Annotated[
        tuple[int, ...],
        Help(help="Which seeds, such as 0 1 2; a network each, in one run."),
    ] = (0,)
    epochs: Annotated[int, Help(help="Passes over the training examples.")] = 50
    batch: Annotated[int, Help(help="Examples per step.")] = 100
    lr: Annotated[float, Help(help="Learning rate of SGD.")] = 0.1
    momentum: Annotated[float, Help(help="Momentum of SGD.")] = 0.0
    drops: Annotated[
        tuple[int, ...],
        Help(help="Epochs after which the learning rate is divided by 10."),
    ] = ()
    gamma: Annotated[
        float, Help(help="Weight of the post-synaptic-potential penalty.")
    ] = 1e-3
    normalization: Annotated[
        Literal["layer-mean", "paper-half-sum", "sum", "batch-mean"],
        Help(help="How the penalty weighs layers and neurons."),
    ] = "layer-mean"
    values: Annotated[
        Literal["entering", "before-norm"],
        Help(help="Penalise what enters a ReLU, or what enters a batch-norm."),
    ] = "entering"
    separate: Annotated[
        bool,
        Help(
            help="Take the penalty's gradient after the step on the loss, in a plain "
            "step of its own."
        ),
    ] = False
    logits: Annotated[
        bool, Help(help="Count the logits as one more layer of the penalty.")
    ] = True
    local: Annotated[
        bool, Help(help="Let each layer's penalty reach only its own weights.")
    ] = False
    l2: Annotated[float, Help(help="Strength of l2, and of psp+l2's.")] = 1e-4
    l1: Annotated[float, Help(help="Strength of l1.")] = 1e-4
    dropout: Annotated[
        float, Help(help="dropout: probability, before the last layer.")
    ] = 0.5
    augment: Annotated[
        bool, Help(help="Crop (padding 4) and flip training images at random.")
    ] = False
    validation: Annotated[
        int, Help(help="Examples to hold out of training; 0: train on all.")
    ] = 0
    pixels: Annotated[
        tuple[float, float] | None,
        Help(help="Mean and deviation to normalise with; None: the data's own."),
    ] = None
    measure: Annotated[
        bool,
        Help(
            help="At the end also measure calibration, and the error with noise in the "
            "images and after one cut by magnitude."
        ),
    ] = False
    limit: Annotated[
        int | None, Help(help="Use only the first so many training examples.")
    ] = None
    data_dir: Annotated[
        str | None, Help(help="Folder of prepared TFDS sets (else TFDS_DATA_DIR).")
    ] = None
    checkpoint_every: Annotated[int, Help(help="Epochs between two checkpoints.")] = 5
    seed_axis: Annotated[
        Literal["auto", "map", "vmap"],
        Help(help="How seeds run: one after the other, or at once; auto: by device."),
    ] = "auto"


def check(config: RegulariserConfig) -> None:
    """Raise unless every field is in its range.

    Args:
        config: the configuration of a run.

    Raises:
        ValueError: naming the field, its value and what was expected.
    """
    check_fields(
        config,
        at_least={"epochs": 1, "batch": 1, "validation": 0, "checkpoint_every": 1},
        finite=("lr", "gamma", "l2", "l1"),
        shares=("momentum", "dropout"),
        epochs=["drops"],
    )
    models.check_name(config.model, "model")
    images.check_name(config.dataset, config.data_dir, "dataset")
    if config.pixels is not None and not config.pixels[1] > 0:
        raise ValueError(f"pixels: expected a deviation > 0, got {config.pixels}")
    if config.separate and config.method not in PENALISED:
        raise ValueError(f"separate: {config.method} has no penalty to take apart")
    if config.method == "dropout" and config.model not in ("lenet5", "allcnn_c"):
        raise ValueError(f"method: {config.model} has no dropout")
