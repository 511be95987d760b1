"""What is left of a radiograph without its lungs, and of lungs without the rest.

A network that still tells the label from a radiograph without lungs has not looked at
the disease. All functions are pure, for one radiograph (H, W) and its mask, and vmap.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synaptax.checks import check_number
from synaptax.typing import Array, Bool, Float

VARIANTS = ("lungs_only", "lungs_removed", "boxed_out", "framed", "border_only")
PUBLISHED_BLUR = 3.0  # pixels
BORDER = 1 / 16  # of the shorter side, width of what "border only" leaves


def blurred(mask: Bool[Array, "H W"], radius: float) -> Float[Array, "H W"]:
    """Return a mask as weights in [0, 1], its edge softened by a Gaussian.

    Args:
        mask: (H, W) bool.
        radius: standard deviation in pixels; 0 leaves the edge sharp. Beyond the
            image's edge the mask goes on as it ends.

    Raises:
        ValueError: for a negative radius.
    """
    check_number("radius", radius, ">= 0", lambda given: 0 <= given < math.inf)
    weight = mask.astype(jnp.float32)
    if radius == 0:
        return weight
    # Beyond three deviations lie 0.3 % of a Gaussian.
    reach = math.ceil(3 * radius)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    bell = jnp.asarray(bell / bell.sum(), jnp.float32)
    padded = jnp.pad(weight, reach, mode="edge")
    along = jax.vmap(lambda line: jnp.convolve(line, bell, mode="valid"))
    # A Gaussian of two axes is the product of two of one: rows, then columns.
    return along(along(padded).T).T


def box(mask: Bool[Array, "H W"]) -> Bool[Array, "H W"]:
    """Return the smallest upright rectangle around a mask; empty if the mask is."""
    return _spanned(mask.any(axis=1))[:, None] & _spanned(mask.any(axis=0))[None, :]


def lungs_only(
    image: Float[Array, "H W"], mask: Bool[Array, "H W"], blur: float = 0.0
) -> Float[Array, "H W"]:
    """Return the lungs on black; ``blur=PUBLISHED_BLUR`` as in arXiv 2004.05405.

    Example:
        >>> image = jnp.ones((16, 16))
        >>> mask = jnp.zeros((16, 16), bool).at[4:12, 4:12].set(True)
        >>> float(covid_cxr.segmentation.lungs_only(image, mask).sum())
        64.0
    """
    _check(image, mask)
    return image * blurred(mask, blur)


def lungs_removed(
    image: Float[Array, "H W"], mask: Bool[Array, "H W"], blur: float = 0.0
) -> Float[Array, "H W"]:
    """Return the radiograph with its lungs black; their outline can still be seen.

    Example:
        >>> image = jnp.ones((16, 16))
        >>> mask = jnp.zeros((16, 16), bool).at[4:12, 4:12].set(True)
        >>> float(covid_cxr.segmentation.lungs_removed(image, mask).sum())
        192.0
    """
    _check(image, mask)
    return image * (1 - blurred(mask, blur))


def boxed_out(
    image: Float[Array, "H W"], mask: Bool[Array, "H W"]
) -> Float[Array, "H W"]:
    """Return it with a black box over both lungs: not even their outline.

    Example:
        >>> image = jnp.ones((16, 16))
        >>> mask = jnp.eye(16, dtype=bool)[::-1].at[:4].set(False)
        >>> float(covid_cxr.segmentation.boxed_out(image, mask).sum())
        112.0
    """
    _check(image, mask)
    return jnp.where(box(mask), 0, image)


def framed(image: Float[Array, "H W"], mask: Bool[Array, "H W"]) -> Float[Array, "H W"]:
    """Return what lies in the box around both lungs, on black.

    Example:
        >>> image = jnp.ones((16, 16))
        >>> mask = jnp.eye(16, dtype=bool)[::-1].at[:4].set(False)
        >>> float(covid_cxr.segmentation.framed(image, mask).sum())
        144.0
    """
    _check(image, mask)
    return jnp.where(box(mask), image, 0)


def border_only(
    image: Float[Array, "H W"], mask: Bool[Array, "H W"] | None = None
) -> Float[Array, "H W"]:
    """Return the outermost sixteenth on each side, whatever the mask.

    Example:
        >>> float(covid_cxr.segmentation.border_only(jnp.ones((16, 16))).sum())
        60.0
    """
    del mask
    height, width = image.shape
    edge = max(1, round(BORDER * min(height, width)))
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside = ((rows >= edge) & (rows < height - edge))[:, None] & (
        (columns >= edge) & (columns < width - edge)
    )[None, :]
    return jnp.where(inside, 0, image)


@jax.jit
def _all(images: Array, masks: Array) -> dict[str, Array]:
    functions = (lungs_only, lungs_removed, boxed_out, framed, border_only)
    return {
        name: jax.vmap(function)(images, masks)
        for name, function in zip(VARIANTS, functions, strict=True)
    }


def variants(images: Any, masks: Any) -> dict[str, Float[Array, "N H W"]]:
    """Return the five variants of each radiograph, edges sharp.

    Args:
        images: (N, H, W) float32 in [0, 1].
        masks: (N, H, W) bool, all lung.

    Returns:
        Name, one of :data:`VARIANTS`, to (N, H, W) float32.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> images = np.ones((2, 16, 16), np.float32)
        >>> masks = np.zeros((2, 16, 16), bool)
        >>> masks[:, 4:12, 4:12] = True
        >>> list(covid_cxr.segmentation.variants(images, masks))
        ['border_only', 'boxed_out', 'framed', 'lungs_only', 'lungs_removed']
    """
    if images.ndim != 3 or images.shape != masks.shape:
        raise ValueError(
            f"masks: expected {images.shape}, the images', got {masks.shape}"
        )
    return _all(jnp.asarray(images), jnp.asarray(masks))


def _check(image: Array, mask: Array) -> None:
    """Raise a ValueError unless a mask is its image's: 255 would be a factor of 255."""
    if mask.dtype != bool or mask.shape != image.shape:
        raise ValueError(
            f"mask: expected bool{image.shape}, got {mask.dtype}{mask.shape}"
        )


def _spanned(line: Array) -> Array:
    """Return True from the first True of a line to its last."""
    after = jnp.cumsum(line) > 0
    before = jnp.cumsum(line[::-1])[::-1] > 0
    return after & before
