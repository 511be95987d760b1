"""How well masks agree, radiograph by radiograph, with intervals by patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from covid_cxr.metrics.inputs import finite
from covid_cxr.metrics.intervals import Estimate
from covid_cxr.metrics.resampling import Replicates, bootstrap
from covid_cxr.segmentation.inference import predict
from covid_cxr.segmentation.inputs import Radiographs
from covid_cxr.segmentation.postprocess import clean
from covid_cxr.segmentation.train import Segmenter
from synaptax.checks import check_number
from synaptax.typing import Array

MEASURES = ("dice", "iou", "hd95")


class Agreement(NamedTuple):
    """How a set of masks agrees with the truth.

    Attributes:
        radiographs: how many.
        patients: how many they come from.
        per_radiograph: measure to (N,) float64; NaN where it is undefined.
        mean: measure to mean over the radiographs where it is defined, with its
            interval.
        undefined: radiographs without a Hausdorff distance, one mask being empty.
        unit: of the distance, "px" or "mm".

    Example:
        >>> from covid_cxr import segmentation
        >>> masks = np.zeros((3, 8, 8), bool)
        >>> masks[:, 2:6, 2:6] = True
        >>> key = jax.random.key(0)
        >>> agreement = segmentation.agreement(masks, masks, key=key, replicates=20)
        >>> agreement.radiographs, agreement.per_radiograph["dice"].tolist()
        (3, [1.0, 1.0, 1.0])
    """

    radiographs: int
    patients: int
    per_radiograph: dict[str, np.ndarray]
    mean: dict[str, Estimate]
    undefined: int
    unit: str


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two masks; 1 if both are empty.

    Example:
        >>> first, second = np.array([[1, 1, 0], [0, 1, 1]], bool)
        >>> covid_cxr.segmentation.dice(first, second)
        0.5
    """
    _check(predicted, truth)
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return |A and B| / |A or B| of two masks; 1 if both are empty.

    Example:
        >>> first, second = np.array([[1, 1, 0], [0, 1, 1]], bool)
        >>> round(covid_cxr.segmentation.iou(first, second), 3)
        0.333
    """
    _check(predicted, truth)
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def hausdorff95(
    predicted: np.ndarray, truth: np.ndarray, spacing: float = 1.0
) -> float:
    """Return the 95th percentile of the distances between two borders.

    The distances from each border pixel to the nearest one of the other mask, both
    ways together.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) bool.
        spacing: side of a pixel, in the unit wanted.

    Returns:
        The distance; 0 if both are empty, NaN if one is.

    Example:
        >>> first, second = np.zeros((2, 8, 8), bool)
        >>> first[2:4, 2:4], second[2:4, 4:6] = True, True
        >>> covid_cxr.segmentation.hausdorff95(first, second, spacing=0.5)
        1.0
    """
    _check(predicted, truth)
    check_number("spacing", spacing, "a length > 0", lambda given: given > 0)
    if not predicted.any() or not truth.any():
        return 0.0 if not predicted.any() and not truth.any() else float("nan")
    first, second = border(predicted), border(truth)
    away = ndimage.distance_transform_edt
    # A pixel's distance to a border is the transform of all that is not border: min_b
    # |a - b| for each a, min_a |a - b| for each b.
    there, back = away(~second)[first], away(~first)[second]  # pyright: ignore
    return float(np.quantile(np.concatenate([there, back]), 0.95)) * spacing


def _check(predicted: np.ndarray, truth: np.ndarray) -> None:
    """Raise a ValueError unless two masks are booleans of one shape."""
    for name, mask in (("predicted", predicted), ("truth", truth)):
        kind = getattr(mask, "dtype", None)
        if kind != np.dtype(bool) or mask.shape != np.shape(predicted):
            raise ValueError(
                f"{name}: expected bool{np.shape(predicted)}, "
                f"got {kind or type(mask).__name__}{np.shape(mask)}"
            )


def border(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask with a neighbour (of 4) outside or off the image."""
    return mask & ~ndimage.binary_erosion(mask)  # pyright: ignore


def agreement(
    predicted: Any,
    truth: Any,
    *,
    key: Array,
    patient: Any = None,
    spacing: Any = None,
    replicates: int = 2000,
    level: float = 0.95,
) -> Agreement:
    """Compare masks with the truth.

    Args:
        predicted: (N, H, W) bool.
        truth: (N, H, W) bool.
        key: typed PRNG key of the bootstrap.
        patient: (N,) identifiers; default: every radiograph has a patient of its own.
        spacing: (N,) millimetres a pixel; default: distances are in pixels.
        replicates: bootstrap resamples.
        level: coverage of the intervals.

    Returns:
        The measures of each radiograph and their means.

    Raises:
        ValueError: for masks of another shape or kind.

    Example:
        >>> from covid_cxr import segmentation
        >>> masks = np.zeros((3, 8, 8), bool)
        >>> masks[:, 2:6, 2:6] = True
        >>> key = jax.random.key(0)
        >>> agreement = segmentation.agreement(masks, masks, key=key, replicates=20)
        >>> agreement.mean["dice"].value, agreement.unit
        (1.0, 'px')
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    for name, masks in (("predicted", predicted), ("truth", truth)):
        if masks.ndim != 3 or not len(masks) or masks.dtype != bool:
            raise ValueError(
                f"{name}: expected bool (N, H, W), got {masks.dtype}{masks.shape}"
            )
    if predicted.shape != truth.shape:
        raise ValueError(f"truth: expected {predicted.shape}, got {truth.shape}")
    count = len(truth)
    sides = np.ones(count) if spacing is None else finite("spacing", spacing, count)
    patient = np.arange(count) if patient is None else np.asarray(patient)
    pairs = list(zip(predicted, truth, sides, strict=True))
    per_radiograph = {
        "dice": np.array([dice(a, b) for a, b, _ in pairs]),
        "iou": np.array([iou(a, b) for a, b, _ in pairs]),
        "hd95": np.array([hausdorff95(a, b, side) for a, b, side in pairs]),
    }
    resamples = _bootstrapped(per_radiograph, patient, key, replicates)
    return Agreement(
        radiographs=count,
        patients=resamples.patients,
        per_radiograph=per_radiograph,
        mean={name: resamples.estimate(name, level=level) for name in MEASURES},
        undefined=int(np.isnan(per_radiograph["hd95"]).sum()),
        unit="px" if spacing is None else "mm",
    )


def evaluate(
    segmenter: Segmenter,
    radiographs: Radiographs,
    *,
    key: Array,
    patient: Any = None,
    spacing: Any = None,
    replicates: int = 2000,
) -> Agreement:
    """Segment radiographs, clean the masks and compare all lung with the truth.

    Args:
        segmenter: a trained U-Net.
        radiographs: with true masks, of one channel or two.
        key: typed PRNG key of the bootstrap.
        patient: (N,) identifiers.
        spacing: (N,) millimetres a pixel; default: distances are in pixels.
        replicates: bootstrap resamples.

    Returns:
        The agreement.

    Raises:
        ValueError: for radiographs that do not fit.

    Example:
        >>> agreement = covid_cxr.segmentation.evaluate(  # doctest: +SKIP
        ...     segmenter, test, key=jax.random.key(0), patient=patient
        ... )
        >>> agreement.mean["dice"]  # doctest: +SKIP
    """
    masks = [clean(one).any(axis=0) for one in predict(segmenter, radiographs.image)]
    truth = np.asarray(radiographs.mask).any(axis=1)
    return agreement(
        np.stack(masks),
        truth,
        key=key,
        patient=patient,
        spacing=spacing,
        replicates=replicates,
    )


def across_sources(
    segmenter: Segmenter, sets: Mapping[str, tuple[Radiographs, Any]], *, key: Array
) -> dict[str, Agreement]:
    """Evaluate one U-Net on radiographs of several sources.

    Args:
        segmenter: a trained U-Net.
        sets: source to (radiographs, (N,) patients).
        key: typed PRNG key of the bootstrap.

    Returns:
        Source to agreement.

    Raises:
        ValueError: for radiographs that do not fit.

    Example:
        >>> by_source = covid_cxr.segmentation.across_sources(  # doctest: +SKIP
        ...     segmenter, {"jsrt": (test, patient)}, key=jax.random.key(0)
        ... )
    """
    return {
        name: evaluate(segmenter, radiographs, key=key, patient=patient)
        for name, (radiographs, patient) in sets.items()
    }


def _means(data: dict[str, Array], weight: Array) -> dict[str, Array]:
    out = {}
    for name, values in data.items():
        valid = (~jnp.isnan(values)).astype(weight.dtype)
        # NaN times a weight of 0 is NaN, hence nan_to_num.
        total = (weight * valid).sum()
        sums = (weight * valid * jnp.nan_to_num(values)).sum()
        out[name] = jnp.where(total > 0, sums / jnp.maximum(total, 1), jnp.nan)
    return out


def _bootstrapped(
    per_radiograph: dict[str, np.ndarray],
    patient: np.ndarray,
    key: Array,
    replicates: int,
) -> Replicates:
    resamples = bootstrap(
        _means, per_radiograph, patient, key=key, replicates=replicates
    )
    # The means of the sample in float64; the bootstrap's are float32.
    exact = {
        name: float(np.mean(v[~np.isnan(v)])) if (~np.isnan(v)).any() else float("nan")
        for name, v in per_radiograph.items()
    }
    return resamples._replace(value=exact)
