"""Random crops and flips of a batch, on the device."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from synaptax.typing import Array, Float, Int, Key, Shaped


class Moves(NamedTuple):
    """What happens to each image of a batch.

    Attributes:
        corner: (B, 2) int32, row and column of the crop in the padded image.
        flip: (B,) bool, whether left and right change places after the crop.
    """

    corner: Int[Array, "B 2"]
    flip: Shaped[Array, " B"]


def draw_moves(key: Key[Array, ""], count: int, pad: int) -> Moves:
    """Draw a crop, uniform over (2 pad + 1)^2, and a fair flip for each image."""
    corners, flips = jax.random.split(key)
    return Moves(
        jax.random.randint(corners, (count, 2), 0, 2 * pad + 1, jnp.int32),
        jax.random.bernoulli(flips, 0.5, (count,)),
    )


def move(
    image: Float[Array, "B H W C"], moves: Moves, fill: Float[Array, " C"], pad: int
) -> Float[Array, "B H W C"]:
    """Pad, crop back to the same size, and flip.

    Args:
        image: the batch.
        moves: see :class:`Moves`.
        fill: the value of the padding, per channel; a black pixel is ``-mean / std``
            of normalised images.
        pad: pixels added on each side, >= 0.

    Returns:
        A batch of the same shape and dtype.
    """
    batch, height, width, channels = image.shape
    frame = jnp.broadcast_to(
        fill.astype(image.dtype).reshape(1, 1, 1, channels),
        (batch, height + 2 * pad, width + 2 * pad, channels),
    )
    # jnp.pad fills with one value; here each channel has its own.
    padded = lax.dynamic_update_slice(frame, image, (0, pad, pad, 0))

    def one(padded: Array, corner: Array, flip: Array) -> Array:
        crop = lax.dynamic_slice(
            padded, (corner[0], corner[1], 0), (height, width, channels)
        )
        return jnp.where(flip, crop[:, ::-1], crop)

    return jax.vmap(one)(padded, *moves)


def crop_flip(
    key: Key[Array, ""],
    image: Float[Array, "B H W C"],
    fill: Float[Array, " C"],
    *,
    pad: int = 4,
) -> Float[Array, "B H W C"]:
    """Return each image cropped at random from its padded self, half of them flipped.

    Args:
        key: a typed PRNG key; the same key gives the same batch.
        image: normalised images.
        fill: see :func:`move`.
        pad: pixels added on each side before the crop.

    Returns:
        A batch of the same shape and dtype.

    Raises:
        ValueError: if ``pad`` is negative.

    Example:
        >>> image = jnp.ones((2, 32, 32, 3))
        >>> crop_flip(jax.random.key(0), image, jnp.zeros(3)).shape
        (2, 32, 32, 3)
    """
    if pad < 0:
        raise ValueError(f"pad: expected a number of pixels >= 0, got {pad}")
    return move(image, draw_moves(key, image.shape[0], pad), fill, pad)
