"""From stored pixels to what networks take: [0, 1], standardised, and logits of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from covid_cxr.models.chunks import chunked
from covid_cxr.models.networks import Network
from covid_cxr.train.stages import StageConfig
from synaptax.typing import Array


class Scale(NamedTuple):
    """What images are standardised with: no constant of what is compiled.

    Attributes:
        mean: subtracted.
        std: then divided by.
    """

    mean: Any
    std: Any


def scale_of(config: StageConfig) -> Scale:
    """Return a stage's scale, as float32."""
    return Scale(jnp.float32(config.mean), jnp.float32(config.std))


def standardise(image: Array, scale: Scale | StageConfig) -> Array:
    """Return (image - mean) / std in float32, of uint8 or of floats in [0, 1]."""
    return (unit(image) - scale.mean) / scale.std


def unit(image: Array) -> Array:
    """Return images as float32 in [0, 1]; the largest integer of a type is 1."""
    if jnp.issubdtype(image.dtype, jnp.unsignedinteger):
        return image.astype(jnp.float32) / jnp.iinfo(image.dtype).max
    return image.astype(jnp.float32)


def logits_of(net: Network, params: Any, stats: Any, image: Any, scale: Scale) -> Array:
    """Return logits (N, classes) of images or a stream (N, H, W, 1), evaluation."""
    return chunked(
        lambda part: net.apply(params, stats, standardise(part, scale)), image
    )
