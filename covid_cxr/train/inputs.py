"""What a stage of training is given, checked, and the order of balanced batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.images.resizing import check_pixels
from covid_cxr.models.networks import Network
from covid_cxr.train.losses import loss_function
from covid_cxr.train.stages import StageConfig
from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed
from synaptax.typing import Array


def checked(
    net: Network, config: StageConfig, train: Batch, validation: Batch
) -> tuple[Batch, Batch]:
    """Return both sets on the device, or raise a ValueError naming what is wrong."""
    loss_function(config.loss, net.config.classes)
    out = []
    top = max(net.config.classes, 2)
    for name, data in (("train", train), ("validation", validation)):
        image, label = images(f"{name}.image", data.image), np.asarray(data.label)
        if label.shape != image.shape[:1] or label.dtype.kind not in "iub":
            raise ValueError(
                f"{name}.label: expected {image.shape[0]} integers, got "
                f"{label.dtype}{label.shape}"
            )
        if label.min() < 0 or label.max() >= top:
            raise ValueError(f"{name}.label: expected in [0, {top})")
        out.append(Batch(image, jnp.asarray(label.astype(np.int32))))
    count = out[0].label.shape[0]
    if count < config.batch:
        raise ValueError(f"batch: {config.batch} is more than the {count} images")
    if net.config.classes == 1 and len(np.unique(np.asarray(out[1].label))) < 2:
        raise ValueError("validation.label: expected both classes")
    if config.sampling == "balanced":
        kinds = np.unique(np.asarray(out[0].label)).size
        if kinds < top:
            raise ValueError(f"train.label: expected all {top} classes, got {kinds}")
        if config.batch % top:
            raise ValueError(
                f"batch: expected a multiple of {top} (the classes), got {config.batch}"
            )
    return out[0], out[1]


def images(name: str, image: Any) -> Any:
    """Return images as an array on the device, or as the stream that they are."""
    if np.ndim(image) != 4 or image.shape[-1] != 1 or not image.shape[0]:
        raise ValueError(f"{name}: expected (N, H, W, 1), got {np.shape(image)}")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(
            f"{name}: expected uint8, uint16 or float32, got {image.dtype}"
        )
    if isinstance(image, Streamed):
        return image
    if image.dtype == np.float32:
        check_pixels(image, stacked=True, name=name)
    return jnp.asarray(image)


def classes_of(config: StageConfig, label: Array) -> list[Array]:
    """Return the indices of each class, for balanced batches."""
    if config.sampling != "balanced":
        return []
    values = np.asarray(label)
    return [
        jnp.asarray(np.flatnonzero(values == value).astype(np.int32))
        for value in np.unique(values)
    ]


def balanced_order(key: Array, classes: list[Array], steps: int, batch: int) -> Array:
    """Return indices of an epoch with equally many of each class in a batch.

    Args:
        key: typed PRNG key.
        classes: for each class, the indices of its images.
        steps: how many batches.
        batch: images each, a multiple of the classes.

    Returns:
        (steps, batch) int32; a class's images are shuffled and used up before any is
        used again.
    """
    each = batch // len(classes)
    columns = []
    for k, own in zip(jax.random.split(key, len(classes)), classes, strict=True):
        rounds = -(-steps * each // own.shape[0])
        shuffled = jax.vmap(lambda one, own=own: jax.random.permutation(one, own))(
            jax.random.split(k, rounds)
        )
        columns.append(shuffled.reshape(-1)[: steps * each].reshape(steps, each))
    return jnp.concatenate(columns, axis=1)
