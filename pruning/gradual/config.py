"""What one training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from synaptax.cli.fields import Help, NotHelp, check_fields
from synaptax.data import images
from synaptax.nets import models

Method = Literal[
    "sensitivity-unspecific",
    "sensitivity-specific",
    "loss-sensitivity",
    "l2",
    "none",
    "one-shot",
    "one-shot-rewind",
]


@dataclass(frozen=True)
class Config:
    """A run: train dense, regularise and prune gradually, fine-tune, report.

    The dense stage is SGD. The pruning stage adds the method's shrink term,
    and each time the validation loss has not improved for ``patience`` epochs the
    best weights are restored and all below one global magnitude threshold are cut,
    the largest for which the validation loss stays within ``1 + tolerance`` of its
    value. The fine-tuning stage takes the operating points chosen on validation,
    drops the shrink term and the learning rate, and keeps the masks.

    With a ``schedule`` the pruning stage cuts by it instead, down to the last of
    ``targets``, and the first weights to reach each target are tuned.
    """

    model: Annotated[
        str,
        Help(
            help="lenet300 (dense), lenet5 (20-50-500-10); for CIFAR resnet20, "
            "resnet32, resnet18, mobilenet_v2, vgg16, allcnn_c; or module:function."
        ),
    ] = "lenet300"
    dataset: Annotated[
        str,
        Help(
            help="digits needs no download; mnist, fashion_mnist, cifar10_jpeg75 or "
            "any prepared image set is read through TFDS; or module:function."
        ),
    ] = "digits"
    method: Annotated[
        Method, Help(help="What shrinks the weights before they are cut.")
    ] = "sensitivity-unspecific"
    seeds: Annotated[
        tuple[int, ...],
        Help(help="Which seeds, such as 0 1 2; a network each, in one run."),
    ] = (0,)
    rate: Annotated[
        float, Help(help="Strength lambda of the shrink term, per step.")
    ] = 1e-4
    patience: Annotated[
        int, Help(help="Epochs without a better validation loss before a cut.")
    ] = 5
    margin: Annotated[
        float,
        Help(help="An epoch counts as better below (1 + margin) times the best loss."),
    ] = 0.0
    tolerance: Annotated[
        float, Help(help="Relative rise of the validation loss a cut may cause.")
    ] = 0.05
    dense_epochs: Annotated[int, Help(help="Epochs of the dense stage.")] = 20
    prune_epochs: Annotated[int, Help(help="Epochs of the pruning stage.")] = 100
    tune_epochs: Annotated[int, Help(help="Epochs of the fine-tuning stage.")] = 10
    targets: Annotated[
        tuple[float, ...],
        Help(help="Compressions at which to fine-tune and test an operating point."),
    ] = ()
    keep: Annotated[
        tuple[int, ...],
        Help(help="One-shot: exact numbers of parameters to keep, of all."),
    ] = ()
    accept: Annotated[
        float,
        Help(
            help="Rise of the validation error over dense (a fraction) that the "
            "accepted operating point, the sparsest, may show."
        ),
    ] = 0.005
    batch: Annotated[int, Help(help="Examples per step.")] = 100
    lr: Annotated[float, Help(help="Learning rate, dense stage.")] = 0.1
    lr_drops: Annotated[
        tuple[int, ...],
        Help(help="Epochs of the dense stage after which the rate falls to a tenth."),
    ] = ()
    prune_lr: Annotated[
        float | None,
        Help(help="Learning rate, pruning stage; else that at the dense stage's end."),
    ] = None
    tune_lr: Annotated[float, Help(help="Learning rate, fine-tuning stage.")] = 0.01
    tune_drops: Annotated[
        tuple[int, ...],
        Help(help="Like lr_drops, for the fine-tuning stage."),
    ] = ()
    momentum: Annotated[float, Help(help="Momentum of SGD.")] = 0.0
    weight_decay: Annotated[
        float, Help(help="Multiple of each parameter added to its gradient.")
    ] = 0.0
    augment: Annotated[
        Literal["none", "crop-flip"],
        Help(help="Training images: as they are, or cropped and flipped at random."),
    ] = "none"
    reduction: Annotated[
        Literal["mean_abs", "abs_mean"],
        Help(help="Sensitivity: absolute value before or after the batch mean."),
    ] = "mean_abs"
    output: Annotated[
        Literal["logits", "softmax"], Help(help="Sensitivity of which output.")
    ] = "logits"
    refresh: Annotated[
        int, Help(help="Steps between two computations of the sensitivity.")
    ] = 1
    schedule: Annotated[
        Literal["plateau", "polynomial", "periodic", "one-shot"],
        Help(
            help="What cuts: the plateau rule, or a schedule down to the last target."
        ),
    ] = "plateau"
    begin: Annotated[
        float, Help(help="Schedule: where it begins, a share of the pruning stage.")
    ] = 0.0
    end: Annotated[float, Help(help="Schedule: where it ends, likewise.")] = 0.9
    every: Annotated[int, Help(help="Schedule: epochs between two cuts.")] = 1
    allocation: Annotated[
        Literal["global", "scale", "lamp", "output", "uniform", "erk", "given"],
        Help(
            help="Schedule: how layers share the budget: one ranking by magnitude, by "
            "magnitude over the layer's scale, LAMP, or |w| S; or densities: equal, "
            "Erdos-Renyi, or in proportion to --densities."
        ),
    ] = "global"
    densities: Annotated[
        tuple[float, ...],
        Help(help="Schedule: with --allocation given, of each prunable leaf."),
    ] = ()
    tune_shape: Annotated[
        Literal["steps", "cosine"],
        Help(help="Learning rate, fine-tuning: by tune_drops, or a cosine to 0."),
    ] = "steps"
    tune_hold: Annotated[
        float, Help(help="Share of the fine-tuning stage before the cosine.")
    ] = 0.0
    tune_shrink: Annotated[
        bool, Help(help="Keep the shrink term on while fine-tuning.")
    ] = False
    shrink_scaled: Annotated[
        bool, Help(help="Scale the shrink term with the learning rate: rate at lr.")
    ] = False
    tune_last: Annotated[
        bool,
        Help(help="Take the weights at the end, not those of the best epoch."),
    ] = False
    log_penalty: Annotated[
        bool,
        Help(
            help="Record the regulariser's value after each epoch of the pruning "
            "stage, on as many validation examples as a step has."
        ),
    ] = False
    prunable: Annotated[
        Literal["all", "weights"],
        Help(help="Shrink and cut all parameters, or leave the biases alone."),
    ] = "all"
    rewind_epoch: Annotated[
        int, Help(help="one-shot-rewind: epoch whose weights are taken up again.")
    ] = 1
    center: Annotated[
        bool,
        NotHelp(help="Do not subtract the mean pixel: a black pixel stays 0."),
    ] = True
    validation: Annotated[
        int | None,
        Help(help="Training examples to hold out for choices; else 1 in 12."),
    ] = None
    limit: Annotated[
        int | None, Help(help="Use only the first so many training examples.")
    ] = None
    data_dir: Annotated[
        str | None, Help(help="Folder of prepared TFDS sets (else TFDS_DATA_DIR).")
    ] = None
    checkpoint_every: Annotated[int, Help(help="Epochs between two checkpoints.")] = 10
    seed_axis: Annotated[
        Literal["auto", "map", "vmap"],
        Help(help="How seeds run: one after the other, or at once; auto: by device."),
    ] = "auto"
    mesh: Annotated[
        tuple[int, int],
        Help(help="Devices along the seeds and along the batch."),
    ] = (1, 1)
    distributed: Annotated[
        bool,
        Help(help="Join the other processes of the run first (jax.distributed)."),
    ] = False


def check(config: Config) -> None:
    """Raise unless every field is in its range.

    Args:
        config: the configuration of a run.

    Raises:
        ValueError: naming the field, its value and what was expected.
    """
    check_fields(
        config,
        at_least={
            "patience": 1,
            "dense_epochs": 1,
            "prune_epochs": 0,
            "tune_epochs": 0,
            "batch": 1,
            "refresh": 1,
            "rewind_epoch": 0,
            "checkpoint_every": 1,
            "every": 1,
        },
        finite=(
            *("rate", "lr", "prune_lr", "tune_lr", "weight_decay"),
            *("margin", "tolerance", "accept"),
        ),
        shares=["momentum", "begin", "end", "tune_hold"],
        epochs=["lr_drops", "tune_drops"],
    )
    models.check_name(config.model, "model")
    images.check_name(config.dataset, config.data_dir, "dataset")
    if any(not (math.isfinite(t) and t >= 1) for t in config.targets):
        raise ValueError(f"targets: expected compressions >= 1, got {config.targets}")
    if any(count < 0 for count in config.keep):
        raise ValueError(f"keep: expected numbers >= 0, got {config.keep}")
    if config.keep and not config.method.startswith("one-shot"):
        raise ValueError(f"keep: only for one-shot pruning, not {config.method}")
    if config.validation is not None and config.validation < 1:
        raise ValueError(
            f"validation: expected at least 1 example, got {config.validation}"
        )
    _check_mesh(config)
    _check_schedule(config)
    if config.method.startswith("one-shot"):
        if not config.targets and not config.keep:
            raise ValueError("targets: one-shot pruning needs at least one compression")
        if config.rewind_epoch > config.dense_epochs:
            raise ValueError(
                f"rewind_epoch: expected at most dense_epochs = {config.dense_epochs}, "
                f"got {config.rewind_epoch}"
            )


def _check_schedule(config: Config) -> None:
    """Raise unless what only a schedule uses fits together."""
    if config.schedule == "plateau":
        for name in ("allocation", "densities"):
            if getattr(config, name) not in ("global", ()):
                raise ValueError(f"{name}: only with a schedule, not the plateau rule")
        return
    if config.method.startswith("one-shot"):
        raise ValueError(f"schedule: {config.method} cuts once, after the dense stage")
    if not config.targets or list(config.targets) != sorted(set(config.targets)):
        raise ValueError(
            f"targets: a schedule needs compressions that rise, got {config.targets}"
        )
    if config.end <= config.begin or config.prune_epochs < 1:
        raise ValueError(
            f"end: expected more than begin = {config.begin} and prune_epochs >= 1, "
            f"got {config.end} and {config.prune_epochs}"
        )
    if (config.allocation == "given") != bool(config.densities):
        raise ValueError("densities: expected them if and only if allocation is given")
    invalid = [d for d in config.densities if not (math.isfinite(d) and d >= 0)]
    if invalid:
        raise ValueError(f"densities: expected finite numbers >= 0, got {invalid[0]}")


def _check_mesh(config: Config) -> None:
    """Raise unless seeds and batch divide evenly over the mesh."""
    if len(config.mesh) != 2:
        raise ValueError(f"mesh: expected two numbers of devices, got {config.mesh}")
    seeds, batch = config.mesh
    if min(seeds, batch) < 1:
        raise ValueError(f"mesh: expected numbers of devices >= 1, got {config.mesh}")
    if len(config.seeds) % seeds or config.batch % batch:
        raise ValueError(
            f"mesh: expected divisors of {len(config.seeds)} (seeds) and "
            f"{config.batch} (batch), got {config.mesh}"
        )
    if seeds > 1 and config.seed_axis == "map":
        raise ValueError("mesh: seeds along devices cannot run one after the other")
