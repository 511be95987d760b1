"""Perceptual hashes: the same picture, resized or compressed anew, is found again.

A hash is 255 bits: which of the 16x16 lowest cosine coefficients of the radiograph at
32x32, the mean left out, lie over their median. On the 1,319 radiographs of two public
sets the five pairs known to be one picture differ in at most 2 bits and all other pairs
in 40 or more, so 20 parts them widely.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from covid_cxr.images.resizing import resize
from synaptax.checks import check_integer

WITHIN = 20
_SIDE, _LOW = 32, 16
_AT_ONCE = 2**21  # pairs compared at once; bounds memory


class Pair(NamedTuple):
    """Two pictures that look the same.

    Attributes:
        first: row of the first stack.
        second: row of the second stack.
        bits: how many of the 255 bits differ.
    """

    first: int
    second: int
    bits: int


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Hash a stack of radiographs.

    Args:
        images: (n, H, W) floats. Radiographs of other proportions must have been
            squashed to one size, not cropped, or a crop hides the match.

    Returns:
        (n, 4) uint64: 255 bits and a zero.

    Raises:
        ValueError: for another number of axes.
    """
    images = np.asarray(images)
    if images.ndim != 3:
        raise ValueError(f"images: expected (n, H, W), got shape {images.shape}")
    if images.dtype.kind not in "buif" or not np.isfinite(images).all():
        raise ValueError(f"images: expected finite numbers, got {images.dtype}")
    small = resize(images.astype(np.float32), (_SIDE, _SIDE))
    basis = _cosines()
    # Z = C X C^T, (16, 32) (32, 32) (32, 16): the lowest coefficients alone.
    spectrum = np.einsum("ki,nij,lj->nkl", basis, small, basis, optimize=True)
    # Without the mean: brightness that is added moves it alone.
    low = spectrum.reshape(len(images), _LOW * _LOW)[:, 1:]
    bits = np.zeros((len(images), _LOW * _LOW), bool)
    # Against their median: about half of the bits are set, whatever the contrast.
    bits[:, 1:] = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)


def near_duplicates(
    first: np.ndarray, second: np.ndarray | None = None, *, within: int = WITHIN
) -> list[Pair]:
    """Return the pairs of hashes that differ in few bits.

    Args:
        first: (n, 4) hashes.
        second: (m, 4) hashes; default: pairs inside ``first``, each once.
        within: largest number of bits that may differ.

    Returns:
        Pairs, in order of the rows.
    """
    check_integer("within", within, 0, 256)
    for name, one in (("first", first), ("second", second)):
        if one is not None and (np.shape(one)[1:] != (4,) or one.dtype != np.uint64):
            raise ValueError(f"{name}: expected uint64 (n, 4), of perceptual_hashes")
    inner = second is None
    other = first if second is None else second
    pairs = []
    step = max(_AT_ONCE // max(len(other), 1), 1)
    for start in range(0, len(first), step):
        block = first[start : start + step, None]
        differ = np.bitwise_count(block ^ other[None]).sum(-1, dtype=np.int32)
        for row, column in np.argwhere(differ <= within):
            if not inner or start + row < column:
                bits = int(differ[row, column])
                pairs.append(Pair(start + int(row), int(column), bits))
    return pairs


def _cosines() -> np.ndarray:
    """Return the (16, 32) lowest rows of the cosine transform, unnormalised."""
    place = np.arange(_SIDE) + 0.5
    return np.cos(np.pi * np.arange(_LOW)[:, None] * place / _SIDE).astype(np.float32)
