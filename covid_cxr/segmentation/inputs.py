"""How a U-Net is trained and on what: the config, and radiographs with lung masks."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from covid_cxr.images.augmentation import Augmentation
from covid_cxr.images.resizing import check_pixels
from covid_cxr.segmentation.unet import UNetConfig
from synaptax.checks import check_flags, check_integer, check_number
from synaptax.cli.fields import NotHelp
from synaptax.typing import Array

_NET = UNetConfig()
# No flip: it would swap right and left.
_MOVES = Augmentation(flip=0.0, degrees=5.0, shift=0.05, zoom=1.15)


@dataclasses.dataclass(frozen=True)
class SegmentConfig:
    """How to train.

    Attributes:
        net: What network.
        side: Pixels a side of the radiographs.
        epochs: Passes over the radiographs.
        batch: Radiographs a step.
        rate: Learning rate of AdamW at the start; it falls as half a cosine.
        weight_decay: Of AdamW.
        dice_weight: Of the soft Dice term beside the cross-entropy.
        augmentation: How radiographs move, masks with them; None for not at all.
        exposure: Whether to change exposures at random (a power of the brightness).
        select: The weights kept: of the last epoch, or best by validation Dice.
        seed: Of initial weights, order and augmentation.
        checkpoint_every: Epochs between checkpoints.

    Example:
        >>> covid_cxr.segmentation.SegmentConfig(epochs=5).side
        64
    """

    net: UNetConfig = _NET
    side: int = 64
    epochs: int = 40
    batch: int = 8
    rate: float = 3e-3
    weight_decay: float = 1e-4
    dice_weight: float = 1.0
    augmentation: Augmentation | None = _MOVES
    exposure: Annotated[bool, NotHelp(help="Do not change exposures at random.")] = True
    select: str = "last"
    seed: int = 0
    checkpoint_every: int = 10


class Radiographs(NamedTuple):
    """Radiographs with their masks.

    Attributes:
        image: (N, H, W) float32 in [0, 1].
        mask: (N, C, H, W) bool; C = 2: right lung (at the viewer's left), then left.

    Example:
        >>> image = np.zeros((4, 64, 64), np.float32)
        >>> mask = np.zeros((4, 1, 64, 64), bool)
        >>> covid_cxr.segmentation.Radiographs(image, mask).mask.shape
        (4, 1, 64, 64)
    """

    image: Any
    mask: Any


def prepared(
    config: SegmentConfig, train: Radiographs, validation: Radiographs | None
) -> tuple[Radiographs, Radiographs]:
    """Return the radiographs to train on and those to watch, or raise a ValueError."""
    check(config)
    train = _checked(config.net, train, "train")
    if train.image.shape[1:] != (config.side, config.side):
        raise ValueError(
            f"side: radiographs are {train.image.shape[1:]}, not {config.side} a side"
        )
    if train.image.shape[0] < config.batch:
        raise ValueError(
            f"batch: {config.batch} is more than the {train.image.shape[0]} radiographs"
        )
    if validation is None:
        if config.select == "best":
            raise ValueError("select: 'best' needs validation radiographs")
        return train, train
    return train, _checked(config.net, validation, "validation")


def check(config: SegmentConfig) -> None:
    """Raise a ValueError that names the first field that makes no sense."""
    for name in ("side", "epochs", "batch", "checkpoint_every"):
        check_integer(name, getattr(config, name), 1, expected="at least 1")
    check_number("rate", config.rate, "> 0", lambda given: 0 < given < math.inf)
    for name in ("weight_decay", "dice_weight"):
        fits = lambda given: 0 <= given < math.inf
        check_number(name, getattr(config, name), ">= 0", fits)
    check_integer("seed", config.seed)
    check_flags(exposure=config.exposure)
    if not isinstance(config.augmentation, Augmentation | None):
        raise ValueError(
            f"augmentation: expected an Augmentation, got {config.augmentation!r}"
        )
    if config.select not in ("last", "best"):
        raise ValueError(f"select: expected last or best, got {config.select!r}")


def _checked(net: UNetConfig, radiographs: Radiographs, name: str) -> Radiographs:
    """Return radiographs as device arrays; a ValueError names what is wrong."""
    image = checked_images(net, radiographs.image, f"{name}.image")
    shape = (image.shape[0], net.outputs, *image.shape[1:])
    mask = np.asarray(radiographs.mask)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(
            f"{name}.mask: expected bool{shape}, got {mask.dtype}{mask.shape}"
        )
    return Radiographs(image, jnp.asarray(mask))


def checked_images(net: UNetConfig, image: Any, name: str) -> Array:
    """Return images on the device, or raise a ValueError naming what is wrong."""
    if np.ndim(image) != 3 or not image.shape[0] or image.dtype != np.float32:
        kind = f"{getattr(image, 'dtype', type(image).__name__)}{np.shape(image)}"
        raise ValueError(f"{name}: expected float32 (N, H, W), N >= 1, got {kind}")
    check_pixels(image, stacked=True, name=name)
    net.check_side(*image.shape[1:])
    return jnp.asarray(image)
