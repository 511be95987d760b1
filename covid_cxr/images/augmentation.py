"""Small random motions of a radiograph: mirror, turn, shift up or down, enlarge.

One affine map and one bilinear look-up an image, jitted and vmapped, with a key an
image: the same key gives the same motion, whatever the batch.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from covid_cxr.images.resizing import check_image
from synaptax.checks import check_number, wide_dtype
from synaptax.typing import Array, Float, Key


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far a radiograph may move; the defaults are the paper's second stage's.

    Attributes:
        flip: Probability of a mirror image, left for right.
        degrees: Largest turn, either way.
        shift: Largest shift up or down, as a fraction of the height.
        zoom: Largest enlargement; the smallest is 1.

    Example:
        >>> covid_cxr.images.Augmentation(flip=0.0, degrees=5.0).zoom
        1.1
    """

    flip: float = 0.2
    degrees: float = 1.0
    shift: float = 0.1
    zoom: float = 1.1

    def __post_init__(self) -> None:
        for name, expected, fits in (
            ("flip", "a probability", lambda given: 0 <= given <= 1),
            ("degrees", "degrees >= 0", lambda given: 0 <= given < math.inf),
            ("shift", "a share in [0, 1)", lambda given: 0 <= given < 1),
            ("zoom", "a zoom >= 1", lambda given: 1 <= given < math.inf),
        ):
            check_number(name, getattr(self, name), expected, fits)


PUBLISHED = Augmentation()
#: The pneumonia pre-training of the paper moves radiographs, but neither turns nor
#: mirrors.
PUBLISHED_PRETRAINING = Augmentation(flip=0.0, degrees=0.0)


def matrix(
    *,
    flip: Array,
    degrees: Array,
    shift: Array,
    zoom: Array,
) -> Float[Array, "2 3"]:
    """Return the map from output to input positions, about the image's centre.

    Args:
        flip: scalar bool.
        degrees: turn, counter-clockwise as seen, in degrees.
        shift: fraction of the height that the content moves down.
        zoom: enlargement.

    Returns:
        (2, 3): rows for y and x; columns for y, x (both in pixels from the centre)
        and the fraction of the height.
    """
    # The inverse map, since each output pixel is looked up: with y' = y - shift
    #   y_in = (cos y' + sin x) / zoom, x_in = +-(cos x - sin y') / zoom.
    # The shift goes first, so content moves along the output's height in any turn.
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle) / zoom, jnp.sin(angle) / zoom
    mirror = jnp.where(flip, -1.0, 1.0).astype(cos.dtype)
    turn = jnp.stack([jnp.stack([cos, sin]), mirror * jnp.stack([-sin, cos])])
    move = -turn[:, :1] * shift
    return jnp.concatenate([turn, move], axis=1)


def warp(
    image: Float[Array, "h w"], transform: Float[Array, "2 3"]
) -> Float[Array, "h w"]:
    """Look each output pixel up in the image, bilinearly; outside is 0.

    Args:
        image: values in [0, 1].
        transform: as :func:`matrix` returns it.

    Returns:
        The moved image.

    Example:
        >>> image = jnp.eye(3)
        >>> down = jnp.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> covid_cxr.images.warp(image, down).tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_image(image)
    height, width = image.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    # Half precision knows no place beyond 2048 pixels, and tells few apart before.
    wide = wide_dtype(image.dtype, jnp.float32)
    y = (jnp.arange(height, dtype=wide) - middle_y)[:, None]
    x = (jnp.arange(width, dtype=wide) - middle_x)[None, :]
    transform = transform.astype(wide)
    places = [
        row[0] * y + row[1] * x + row[2] * height + middle
        for row, middle in ((transform[0], middle_y), (transform[1], middle_x))
    ]
    return _bilinear(image.astype(wide), places[0], places[1]).astype(image.dtype)


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    """Return the image between its pixels, fading to 0 within a pixel outside.

    A border of zeros makes every corner of every look-up lie inside, so that each is
    one gather from a flat array.
    """
    height, width = image.shape
    padded = jnp.pad(image, 1)
    # Padded rows are 0 to height + 1: below the last one the corner at + 1 still is
    # inside.
    y = jnp.clip(y + 1, 0, height + 0.999)
    x = jnp.clip(x + 1, 0, width + 0.999)
    top, left = jnp.floor(y), jnp.floor(x)
    dy, dx = y - top, x - left
    first = top.astype(jnp.int32) * (width + 2) + left.astype(jnp.int32)
    flat = padded.ravel()

    def corner(step: int) -> Array:
        return flat.at[first + step].get(mode="promise_in_bounds")

    above = corner(0) * (1 - dx) + corner(1) * dx
    below = corner(width + 2) * (1 - dx) + corner(width + 3) * dx
    return above * (1 - dy) + below * dy


def draw(key: Key[Array, ""], config: Augmentation) -> Float[Array, "2 3"]:
    """Return one random motion, as :func:`matrix` returns it."""
    keys = jax.random.split(key, 4)
    return matrix(
        flip=jax.random.bernoulli(keys[0], config.flip),
        degrees=jax.random.uniform(
            keys[1], (), minval=-config.degrees, maxval=config.degrees
        ),
        shift=jax.random.uniform(
            keys[2], (), minval=-config.shift, maxval=config.shift
        ),
        zoom=jax.random.uniform(keys[3], (), minval=1.0, maxval=config.zoom),
    )


def augment(
    keys: Key[Array, " n"],
    images: Float[Array, "n h w"],
    config: Augmentation = PUBLISHED,
) -> Float[Array, "n h w"]:
    """Move each image of a batch at random.

    Args:
        keys: a key an image. With the same keys a stack of masks (as floats, then
            compared with 1/2) moves with its images.
        images: values in [0, 1].
        config: how far.

    Returns:
        The moved images.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> covid_cxr.images.augment(keys, jnp.zeros((2, 16, 16))).shape
        (2, 16, 16)
    """
    check_image(images, stacked=True)
    if images.ndim != 3 or keys.shape != images.shape[:1]:
        raise ValueError(
            f"images: expected (N, H, W) and N keys, got {images.shape} and "
            f"{keys.shape}"
        )
    return _augment(keys, images, config)


@functools.partial(jax.jit, static_argnames=("config",))
def _augment(keys: Array, images: Array, config: Augmentation) -> Array:
    return jax.vmap(lambda key, image: warp(image, draw(key, config)))(keys, images)
