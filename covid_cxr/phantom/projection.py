"""What the room does to a radiograph: frame, marker, exposure, noise, compression."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.phantom.anatomy import soft
from synaptax.typing import Array, Float, Key

_BLOCK = 8


def frame(y: Array, x: Array, on: Array, wide: Array) -> Float[Array, "h w"]:
    """Return what a collimator lets through: 1 inside, 0 in a frame if ``on``.

    Args:
        y: (H, 1) positions on the radiograph.
        x: (1, W) positions.
        on: scalar in [0, 1].
        wide: scalar, the frame's width.

    Returns:
        (H, W) factors.
    """
    inner = soft(1 - wide - jnp.maximum(jnp.abs(x), jnp.abs(y)), 0.01)
    return 1 - on * (1 - inner)


def marker(y: Array, x: Array, on: Array, left: Array) -> Float[Array, "h w"]:
    """Return the brightness of an "L" in an upper corner, 0 unless ``on``.

    Args:
        y: (H, 1) positions on the radiograph.
        x: (1, W) positions.
        on: scalar in [0, 1].
        left: scalar, where its upright stands: about -0.8 or 0.7.

    Returns:
        (H, W) in [0, 1].
    """

    def bar(top: float, bottom: float, start: Array, end: Array) -> Array:
        inside = jnp.minimum(
            jnp.minimum(y - top, bottom - y), jnp.minimum(x - start, end - x)
        )
        return soft(inside, 0.008)

    upright = bar(-0.88, -0.66, left, left + 0.05)
    foot = bar(-0.71, -0.66, left, left + 0.13)
    return on * jnp.maximum(upright, foot)


def cosine_matrix() -> np.ndarray:
    """Return the orthonormal 8-point cosine transform, float32."""
    # C_kn = sqrt(2 / 8) cos(pi (2 n + 1) k / 16), row 0 over sqrt(2), so that C C^T =
    # 1.
    k, n = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None, :]
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def blocks(image: Float[Array, "h w"], step: float = 0.12) -> Float[Array, "h w"]:
    """Quantise each 8x8 block's cosine coefficients, coarser at high frequencies.

    Args:
        image: values in [0, 1].
        step: quantum of the lowest frequency.

    Returns:
        The image as a strong JPEG compression would leave it; a rim that fills no
        block is left as it is.
    """
    height, width = (side - side % _BLOCK for side in image.shape)
    basis = jnp.asarray(cosine_matrix())
    inner = image[:height, :width]
    tiled = inner.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    tiled = tiled.swapaxes(1, 2)
    # Y = C X C^T of each block X (8, 8); quantised by q_kl = step (1 + k + l), and
    # back.
    spectrum = basis @ tiled @ basis.T
    order = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).astype(np.float32)
    quantum = jnp.asarray(step * (1 + order))[None, None]
    spectrum = jnp.round(spectrum / quantum) * quantum
    back = (basis.T @ spectrum @ basis).swapaxes(1, 2).reshape(height, width)
    return image.at[:height, :width].set(back)


def texture(
    key: Key[Array, ""], size: int, lungs: Array, roughness: Array
) -> Float[Array, "h w"]:
    """Return vessels: smooth noise of two scales inside the lungs."""
    total = jnp.zeros((size, size), jnp.float32)
    for one, cells in zip(jax.random.split(key), (8, 16), strict=True):
        coarse = jax.random.normal(one, (cells, cells))
        total += jax.image.resize(coarse, (size, size), "linear")
    return roughness * total * (lungs[0] + lungs[1])
