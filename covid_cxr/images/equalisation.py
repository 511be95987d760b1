"""Histogram equalisation: global, inside a mask, and contrast-limited by tiles.

All are compiled, take one (H, W) image with values in [0, 1], and vmap over a stack.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from covid_cxr.images.resizing import check_image, check_pixels
from synaptax.checks import check_integer, check_number, wide_dtype
from synaptax.typing import Array, Bool, Float, Int


def equalise(
    image: Float[Array, "h w"],
    mask: Bool[Array, "h w"] | None = None,
    *,
    levels: int = 256,
    lowest: str = "zero",
) -> Float[Array, "h w"]:
    r"""Map each value to its rank among the counted pixels.

    .. math:: y = \frac{F(x) - F_0}{1 - F_0}

    F is the cumulative histogram over ``levels`` equal steps. With ``lowest="zero"``
    F_0 is F at the darkest level, as in OpenCV, so a black border stays black; with
    "rank" F_0 is 0, as in scikit-image.

    Args:
        image: values in [0, 1].
        mask: count these pixels alone; the others are left as they are. An empty
            mask leaves the image as it is.
        levels: 2**bits of the file: 256, 4096 or 65536.
        lowest: "zero" or "rank".

    Returns:
        The equalised image.

    Raises:
        ValueError: for an image that is not two-dimensional, fewer than 2 levels, or
            another ``lowest``.

    Example:
        >>> image = jnp.array([[0.4, 0.5], [0.5, 0.6]])
        >>> covid_cxr.images.equalise(image, lowest="rank").tolist()
        [[0.25, 0.75], [0.75, 1.0]]
    """
    check_pixels(image)
    check_integer("levels", levels, 2, expected="at least 2")
    if lowest not in ("zero", "rank"):
        raise ValueError(f"lowest: expected 'zero' or 'rank', got {lowest!r}")
    if mask is not None:
        check_image(mask, kind="bool", name="mask")
        if mask.shape != image.shape:
            raise ValueError(f"mask: expected {image.shape}, got {mask.shape}")
    return _equalise(image, mask, levels=levels, lowest=lowest)


@functools.partial(jax.jit, static_argnames=("levels", "lowest"))
def _equalise(image: Array, mask: Array | None, *, levels: int, lowest: str) -> Array:
    level = _levels(image, levels)
    counted = jnp.ones_like(image, dtype=bool) if mask is None else mask
    cumulative = jnp.cumsum(_histogram(level, counted, levels))
    total = cumulative[-1]
    # F at the darkest level that a counted pixel has.
    first = jnp.min(jnp.where(cumulative > 0, cumulative, total))
    start = first if lowest == "zero" else jnp.zeros_like(first)
    span = total - start
    wide = _wide(image)  # half precision ends at a count of 65504
    rank = (cumulative - start).astype(wide) / jnp.maximum(span, 1).astype(wide)
    rank = jnp.clip(rank, 0, 1).astype(image.dtype)
    # A single level has no span, and its rank, 0, would paint it black.
    changed = counted & (span > 0)
    return jnp.where(changed, _look_up(rank, level), image)


def clahe(
    image: Float[Array, "h w"],
    *,
    clip: float | Array = 2.0,
    tiles: int = 8,
    levels: int = 256,
) -> Float[Array, "h w"]:
    """Equalise by tiles with a limit to the slope (CLAHE), as OpenCV does.

    The image is mirrored at its lower and right edge to a multiple of the tiles. In
    each tile, counts over ``clip`` times the mean count are cut and shared out
    evenly; each pixel takes the bilinear mean of its four nearest tiles' maps.

    Args:
        image: values in [0, 1].
        clip: limit to a level's count, in mean counts; large enough means no limit.
        tiles: tiles along each side.
        levels: histogram levels.

    Returns:
        The equalised image, on ``levels`` steps in [0, 1].

    Raises:
        ValueError: for an image that is not two-dimensional, or with a side shorter
            than ``tiles``.

    Reference:
        Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems
        IV, 1994.

    Example:
        >>> image = jnp.linspace(0.4, 0.6, 256).reshape(16, 16)
        >>> flat = covid_cxr.images.clahe(image, tiles=2)
        >>> bool(flat.max() - flat.min() > 0.2)  # wider than it was
        True
    """
    check_pixels(image)
    height, width = image.shape
    check_integer("levels", levels, 2, expected="at least 2")
    check_number("clip", clip, "a number > 0", lambda given: given > 0)
    if check_integer("tiles", tiles) < 1 or min(height, width) < tiles:
        raise ValueError(f"tiles: {tiles} do not fit an image of {height}x{width}")
    return _clahe(image, clip, tiles=tiles, levels=levels)


@functools.partial(jax.jit, static_argnames=("tiles", "levels"))
def _clahe(image: Array, clip: float | Array, *, tiles: int, levels: int) -> Array:
    height, width = image.shape
    level = _levels(image, levels)
    padding = [(0, -side % tiles) for side in image.shape]
    # Mirrored without the edge pixel itself, OpenCV's BORDER_REFLECT_101.
    padded = jnp.pad(level, padding, mode="reflect")
    rows, columns = (side // tiles for side in padded.shape)
    tiled = padded.reshape(tiles, rows, tiles, columns).swapaxes(1, 2)
    maps = jax.vmap(lambda tile: _tile_map(tile, clip, levels))(
        tiled.reshape(tiles * tiles, rows * columns)
    ).reshape(tiles, tiles, levels)
    up, down, dy = _neighbours(height, rows, tiles)
    left, right, dx = _neighbours(width, columns, tiles)
    wide = _wide(image)
    dy, dx = dy[:, None].astype(wide), dx[None, :].astype(wide)

    def look(row: Array, column: Array) -> Array:
        return maps[row[:, None], column[None, :], level].astype(wide)

    top = look(up, left) * (1 - dx) + look(up, right) * dx
    bottom = look(down, left) * (1 - dx) + look(down, right) * dx
    # Rounded to a level, as OpenCV's bytes are.
    steps = jnp.round(top * (1 - dy) + bottom * dy)
    return (steps / (levels - 1)).astype(image.dtype)


def _wide(image: Array) -> Any:
    """Return the dtype that counts and levels are exact in."""
    return wide_dtype(image.dtype, jnp.float32)


def _levels(image: Array, levels: int) -> Array:
    """Return each pixel's level, 0 to ``levels`` - 1, in 16 bits where they do."""
    scaled = jnp.round(jnp.clip(image, 0, 1).astype(_wide(image)) * (levels - 1))
    return scaled.astype(jnp.uint16 if levels <= 2**16 else jnp.int32)


def _in_turn(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that ``vmap`` runs image by image on a CPU.

    There XLA's scatter and gather of a whole stack take three times as long, and what
    makes their indices is computed in the same slow loop: outside of a loop over the
    stack it is not.
    """
    return sequential_vmap(function) if jax.default_backend() == "cpu" else function


def _histogram(level: Array, counted: Array, levels: int) -> Int[Array, " levels"]:
    """Return how many counted pixels each level has."""

    def count(level: Array, counted: Array) -> Array:
        # In int32: float32 stops counting at 2^24, and a radiograph of 4096x4096 has as
        # many pixels.
        bins, one = jnp.zeros(levels, jnp.int32), counted.astype(jnp.int32)
        # Levels are clipped to [0, levels - 1] where they are made.
        return bins.at[level].add(one, mode="promise_in_bounds")

    return _in_turn(count)(level.ravel(), counted.ravel())


def _look_up(table: Array, level: Array) -> Array:
    """Return the table's value at each pixel's level."""

    def look(table: Array, level: Array) -> Array:
        return table.at[level].get(mode="promise_in_bounds")

    return _in_turn(look)(table, level.ravel()).reshape(level.shape)


def _tile_map(tile: Array, clip: float | Array, levels: int) -> Int[Array, " levels"]:
    """Return a tile's map from level to level."""
    counts = _histogram(tile, jnp.ones_like(tile, dtype=bool), levels)
    # A whole count of at least 1, cut off and not rounded, as in OpenCV.
    limit = jnp.asarray(clip) * tile.size / levels
    limit = jnp.maximum(limit.astype(jnp.int32), 1)
    excess = jnp.sum(jnp.maximum(counts - limit, 0))
    counts = jnp.minimum(counts, limit) + excess // levels
    # What does not share out evenly goes to every step-th level from 0 on, one count
    # each.
    left_over = excess % levels
    step = jnp.maximum(levels // jnp.maximum(left_over, 1), 1)
    place = jnp.arange(levels, dtype=jnp.int32)
    counts += ((place % step == 0) & (place // step < left_over)).astype(jnp.int32)
    # map(v) = round((L - 1) F(v)), F the cumulative share of the tile's pixels.
    rank = jnp.cumsum(counts).astype(jnp.float32) * ((levels - 1) / tile.size)
    return jnp.clip(jnp.round(rank), 0, levels - 1).astype(jnp.int32)


def _neighbours(side: int, step: int, tiles: int) -> tuple[Array, Array, Array]:
    """Return each position's tile before, tile after, and weight of the latter."""
    # A tile's map holds at its centre, half a tile in. Beyond the outermost centres
    # both neighbours are the same tile.
    place = (jnp.arange(side, dtype=jnp.float32) / step) - 0.5
    before = jnp.floor(place)
    weight = place - before
    first = before.astype(jnp.int32)
    return jnp.clip(first, 0, tiles - 1), jnp.clip(first + 1, 0, tiles - 1), weight
