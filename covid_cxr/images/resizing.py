"""Resizing without aliases, cropping and padding, of (H, W) or (..., H, W) images.

A resize applies one matrix a side: the triangle filter widened by the reduction, as in
Pillow's ``BILINEAR``. The same functions take NumPy arrays, for radiographs whose sizes
all differ (nothing is compiled), and JAX arrays, inside ``jit``.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synaptax.checks import check_integer, is_traced

Shaped = Any  # a NumPy or a JAX array


def check_image(
    image: Shaped, *, stacked: bool = False, kind: str = "floats", name: str = "image"
) -> None:
    """Raise a ValueError unless an image is one: an array of two axes and of floats.

    Args:
        image: what is to be one.
        stacked: whether there may be more than two axes.
        kind: "floats", whole numbers would be cut or counted as white; "bool", half of
            255 would not be the middle of a mask; or "any".
        name: what messages call it.
    """
    if not isinstance(image, np.ndarray | jax.Array):
        raise ValueError(f"{name}: expected an array, got {type(image).__name__}")
    if image.ndim < 2 or (image.ndim > 2 and not stacked) or 0 in image.shape[-2:]:
        axes = "(..., H, W)" if stacked else "(H, W)"
        raise ValueError(f"{name}: expected shape {axes}, got {tuple(image.shape)}")
    # bfloat16 is of NumPy's kind "V".
    fits = {"floats": image.dtype.kind in "fV", "bool": image.dtype == bool}
    if not fits.get(kind, True) or np.ma.is_masked(image):
        actual = "a masked array" if np.ma.is_masked(image) else image.dtype
        raise ValueError(f"{name}: expected {kind}, got {actual}")


def check_pixels(image: Shaped, *, stacked: bool = False, name: str = "image") -> None:
    """Raise a ValueError unless an image has floats in [0, 1]; traced, it may have any.

    A resize may leave the range by rounding, so a thousandth over it is let pass.
    """
    check_image(image, stacked=stacked, name=name)
    if is_traced(image):
        return
    low, high = float(image.min()), float(image.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # nor NaN
        raise ValueError(f"{name}: expected values in [0, 1], got {low:g} to {high:g}")
    if not image.dtype.isnative:  # under jit its bytes would be taken as they are
        raise ValueError(
            f"{name}: expected the machine's byte order, got {image.dtype}"
        )


@functools.cache
def weights(before: int, after: int) -> np.ndarray:
    """Return the (after, before) float32 matrix that resizes one side.

    Row i is the triangle filter centred on output pixel i, as wide as the reduction
    (never narrower than an input pixel), normalised to sum 1.

    Args:
        before: input pixels.
        after: output pixels.

    Returns:
        The matrix; its rows sum to 1.

    Raises:
        ValueError: for a side below 1.
    """
    if before < 1 or after < 1:
        raise ValueError(f"side: expected at least 1, got {before} to {after}")
    # w_ij = max(0, 1 - |j + 1/2 - (i + 1/2) s| / max(s, 1)), s = before / after, over
    # its sum over j; in float64, rounded once.
    scale = before / after
    support = max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    place = np.arange(before) + 0.5
    matrix = np.maximum(1 - np.abs(place - centre[:, None]) / support, 0)
    matrix = (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)
    # Cached: who wrote into it would change every later resize.
    matrix.flags.writeable = False
    return matrix


def resize(image: Shaped, shape: tuple[int, int]) -> Shaped:
    """Resize to exactly ``shape``, whatever the image's proportions.

    Args:
        image: (..., H, W) floats.
        shape: (height, width) to get.

    Returns:
        (..., height, width), of the image's kind (NumPy or JAX).

    Raises:
        ValueError: for fewer than two axes or a side below 1.

    Example:
        >>> from covid_cxr import images
        >>> images.resize(np.ones((40, 60), np.float32), (20, 20)).shape
        (20, 20)
    """
    check_image(image, stacked=True)
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape: expected (height, width), got {shape!r}")
    for side in shape:
        check_integer("side", side, 1, expected="at least 1")
    if isinstance(image, np.ndarray):
        return _along_columns(_along_rows(image, shape[0]), shape[1])
    rows = weights(image.shape[-2], shape[0])
    columns = weights(image.shape[-1], shape[1])
    # The side that shrinks more first, so that the second product is the smaller one.
    if shape[0] * image.shape[-1] <= image.shape[-2] * shape[1]:
        return (rows @ image) @ columns.T
    return rows @ (image @ columns.T)


@functools.cache
def _band(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Return :func:`weights` as (after, taps) first input pixels and weights."""
    matrix = weights(before, after)
    first = (matrix > 0).argmax(1)
    taps = int((matrix > 0).sum(1).max())
    first = np.minimum(first, before - taps)
    place = first[:, None] + np.arange(taps)
    return place, np.take_along_axis(matrix, place, 1)


def _along_rows(image: np.ndarray, after: int) -> np.ndarray:
    """Resize the rows' axis tap by tap: no product, so no threads are woken for it."""
    place, weight = _band(image.shape[-2], after)
    total = np.zeros((*image.shape[:-2], after, image.shape[-1]), image.dtype)
    for tap in range(place.shape[1]):
        total += weight[:, tap, None] * image[..., place[:, tap], :]
    return total


def _along_columns(image: np.ndarray, after: int) -> np.ndarray:
    return _along_rows(image.swapaxes(-1, -2), after).swapaxes(-1, -2)


def resize_mask(mask: Shaped, shape: tuple[int, int]) -> Shaped:
    """Resize a boolean mask: an output pixel is marked if at least half of it is.

    Example:
        >>> covid_cxr.images.resize_mask(np.eye(4, dtype=bool), (2, 2)).tolist()
        [[False, False], [False, False]]
    """
    check_image(mask, stacked=True, kind="bool", name="mask")
    return resize(mask.astype(np.float32), shape) >= 0.5


def resize_short(image: Shaped, side: int) -> Shaped:
    """Resize so that the shorter side has ``side`` pixels, proportions kept.

    Example:
        >>> covid_cxr.images.resize_short(np.zeros((40, 60), np.float32), 20).shape
        (20, 30)
    """
    check_image(image, stacked=True)
    check_integer("side", side, 1, expected="at least 1")
    height, width = image.shape[-2:]
    short = min(height, width)
    # Rounded down, as torchvision's Resize does.
    shape = (max(side * height // short, side), max(side * width // short, side))
    return resize(image, shape)


def centre_crop(image: Shaped, side: int) -> Shaped:
    """Cut the ``side`` x ``side`` centre; a ValueError if the image is smaller.

    Example:
        >>> covid_cxr.images.centre_crop(np.eye(4), 2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    check_image(image, stacked=True, kind="any")
    check_integer("side", side, 1, expected="at least 1")
    height, width = image.shape[-2:]
    if min(height, width) < side:
        raise ValueError(f"side: {side} does not fit in an image of {height}x{width}")
    # Half to even, as torchvision's CenterCrop.
    top, left = round((height - side) / 2), round((width - side) / 2)
    return image[..., top : top + side, left : left + side]


def published_crop(image: Shaped, side: int = 224) -> Shaped:
    """Resize the short side to 8/7 of ``side``, then cut the centre.

    At 224 this is the published input: short side 256, centre crop 224.

    Reference:
        Tartaglione et al., Unveiling COVID-19 from chest X-ray with deep learning,
        arXiv 2004.05405; the sizes are those of its authors' code.

    Example:
        >>> covid_cxr.images.published_crop(np.zeros((300, 400), np.float32)).shape
        (224, 224)
    """
    return centre_crop(resize_short(image, round(side * 8 / 7)), side)


def square(image: Shaped, side: int, *, fit: str = "crop") -> Shaped:
    """Return a ``side`` x ``side`` image.

    An image's proportions give away its collection, so use one ``fit`` for all, and
    "crop" rather than "pad": bars tell the proportions too.

    Args:
        image: (..., H, W) floats.
        side: pixels a side.
        fit: "crop" (largest centred square), "pad" (black bars), "squash"
            (proportions not kept), or "published" (:func:`published_crop`).

    Returns:
        (..., side, side).

    Raises:
        ValueError: for another ``fit``.

    Example:
        >>> from covid_cxr import images
        >>> wide = np.zeros((40, 60), np.float32)
        >>> [images.square(wide, 20, fit=fit).shape for fit in ("crop", "pad")]
        [(20, 20), (20, 20)]
    """
    check_image(image, stacked=True)
    check_integer("side", side, 1, expected="at least 1")
    height, width = image.shape[-2:]
    if fit == "squash":
        return resize(image, (side, side))
    if fit == "crop":
        return resize(centre_crop(image, min(height, width)), (side, side))
    if fit == "published":
        return published_crop(image, side)
    if fit != "pad":
        raise ValueError(
            f"fit: expected 'crop', 'pad', 'squash' or 'published', got {fit!r}"
        )
    longer = max(height, width)
    inner = (
        max(round(side * height / longer), 1),
        max(round(side * width / longer), 1),
    )
    return _pad(resize(image, inner), side)


def square_mask(mask: Shaped, side: int, *, fit: str = "crop") -> Shaped:
    """Return a mask as :func:`square` returns its image.

    Example:
        >>> mask = np.ones((40, 60), bool)
        >>> covid_cxr.images.square_mask(mask, 4, fit="pad").sum(axis=1).tolist()
        [4, 4, 4, 0]
    """
    check_image(mask, stacked=True, kind="bool", name="mask")
    return square(mask.astype(np.float32), side, fit=fit) >= 0.5


def _pad(image: Shaped, side: int) -> Shaped:
    """Put black bars around an image to make it ``side`` x ``side``."""
    spare = [side - n for n in image.shape[-2:]]
    around = [(0, 0)] * (image.ndim - 2) + [(n // 2, n - n // 2) for n in spare]
    if isinstance(image, np.ndarray):
        return np.pad(image, around)
    return jnp.pad(image, around)
