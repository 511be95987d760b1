"""From a probability map to two clean lungs. NumPy and SciPy, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from synaptax.checks import check_number


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label the 8-connected parts of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) int labels, 0 outside and then the largest part first, and the sizes
        in pixels in that order.
    """
    labelling: Any = ndimage.label(mask, np.ones((3, 3)))
    labels, count = labelling
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    # From SciPy's numbers to ranks by size; 0, outside, stays 0.
    place = np.zeros(count + 1, np.int64)
    place[order + 1] = np.arange(1, count + 1)
    return place[labels], sizes[order]


def largest(mask: np.ndarray, keep: int, *, least: float = 0.1) -> np.ndarray:
    """Keep the largest parts of a mask.

    Args:
        mask: (H, W) bool.
        keep: how many at most.
        least: parts below this fraction of the largest go too.

    Returns:
        (H, W) bool.
    """
    labels, sizes = components(mask)
    if not sizes.size:
        return mask.copy()
    count = int(min(keep, np.sum(sizes >= least * sizes[0])))
    return (labels > 0) & (labels <= count)


def filled(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) without holes."""
    return ndimage.binary_fill_holes(mask)  # pyright: ignore


def clean(probability: Any, *, threshold: float = 0.5) -> np.ndarray:
    """Turn probabilities into masks: largest parts, holes filled.

    Args:
        probability: (C, H, W) in [0, 1]; with C = 1 two parts are kept, with C = 2
            one of each channel, and a pixel belongs to the likelier lung alone.
        threshold: a pixel counts from this on.

    Returns:
        (C, H, W) bool.

    Raises:
        ValueError: for another shape.

    Example:
        >>> probability = np.zeros((1, 12, 12))
        >>> probability[0, 2:10, 1:5], probability[0, 2:10, 7:11] = 0.9, 0.9
        >>> probability[0, 5, 3] = 0.1  # a hole
        >>> int(covid_cxr.segmentation.clean(probability).sum())
        64
    """
    probability = np.asarray(probability)
    if probability.ndim != 3 or probability.shape[0] not in (1, 2):
        raise ValueError(
            f"probability: expected (1 or 2, H, W), got {probability.shape}"
        )
    if (
        probability.dtype.kind not in "biuf"
        or not ((probability >= 0) & (probability <= 1)).all()
    ):
        raise ValueError("probability: expected numbers in [0, 1]")
    check_number("threshold", threshold, "in (0, 1]", lambda given: 0 < given <= 1)
    mask = probability >= threshold
    if len(mask) == 2:
        # Before parts are chosen, so that a pixel is not kept in both lungs.
        right = probability[0] >= probability[1]
        mask = mask & np.stack([right, ~right])
    keep = 2 if len(mask) == 1 else 1
    return np.stack([filled(largest(one, keep)) for one in mask])


def two_lungs(mask: np.ndarray) -> np.ndarray:
    """Split a mask of all lung into right and left.

    Two parts are told apart by where their centres lie; parts that touch are cut at
    the column with the least lung, near the middle of the whole.

    Args:
        mask: (H, W) bool.

    Returns:
        (2, H, W) bool: the lung at the viewer's left (the patient's right), then the
        other. One lung alone is given to its side of the image's middle.

    Example:
        >>> mask = np.zeros((12, 12), bool)
        >>> mask[2:10, 1:5], mask[2:10, 7:11] = True, True
        >>> covid_cxr.segmentation.two_lungs(mask).sum(axis=(1, 2)).tolist()
        [32, 32]
    """
    if np.ndim(mask) != 2 or mask.dtype != bool:
        raise ValueError(f"mask: expected bool (H, W), got shape {np.shape(mask)}")
    labels, sizes = components(mask)
    out = np.zeros((2, *mask.shape), bool)
    if not sizes.size:
        return out
    columns = np.arange(mask.shape[1])
    if sizes.size == 1 or sizes[1] < 0.1 * sizes[0]:
        return _cut(mask, columns)
    middles = [_centre(labels == k + 1, columns) for k in range(sizes.size)]
    middle = (middles[0] + middles[1]) / 2
    for number, centre in enumerate(middles, start=1):
        out[int(centre > middle)] |= labels == number
    return out


def _centre(mask: np.ndarray, columns: np.ndarray) -> float:
    return float(mask.sum(axis=0) @ columns / mask.sum())


def _cut(mask: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Split one part at its waist, if it reaches far over the image's middle."""
    out = np.zeros((2, *mask.shape), bool)
    profile = mask.sum(axis=0)
    lung_columns = np.flatnonzero(profile)
    width = lung_columns[-1] - lung_columns[0] + 1
    # One lung alone is that narrow, and is given to its side.
    if width < 0.45 * mask.shape[1]:
        out[int(_centre(mask, columns) > (mask.shape[1] - 1) / 2)] = mask
        return out
    # In the middle half, for towards its ends the profile falls to 0 in any case.
    inner = lung_columns[0] + width // 4, lung_columns[-1] - width // 4 + 1
    waist = inner[0] + int(np.argmin(profile[slice(*inner)]))
    out[0, :, :waist], out[1, :, waist:] = mask[:, :waist], mask[:, waist:]
    return out
