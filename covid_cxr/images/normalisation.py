"""Centre and scale a stack of images by one mean and one standard deviation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Statistics(NamedTuple):
    """One mean and one standard deviation for all images.

    Attributes:
        mean: of the pixels.
        std: of the pixels, > 0.

    Example:
        >>> round(covid_cxr.images.Statistics(mean=0.5, std=0.2).std, 3)
        0.2
    """

    mean: float
    std: float


def pooled(images: Iterable[Any]) -> Statistics:
    """Return the mean and standard deviation of all pixels together.

    Args:
        images: training images, of any sizes: an array (N, H, W) or any iterable.

    Returns:
        The statistics, accumulated in float64.

    Raises:
        ValueError: for no image, or if all pixels are the same.

    Example:
        >>> images = np.array([[[0.0, 1.0]], [[0.5, 0.5]]])
        >>> round(covid_cxr.images.pooled(images).std, 4)
        0.3536
    """
    count, mean, square = 0, 0.0, 0.0
    for values in _each(images):
        # Of squares about the mean: the difference of two large sums would be rounding.
        # Two parts joined (Chan, Golub and LeVeque 1979): with d = mean_b - mean_a, M =
        # M_a + M_b + d^2 n_a n_b / (n_a + n_b) and mean = mean_a + d n_b / (n_a + n_b).
        both, step = count + values.size, float(values.mean()) - mean
        square += float(values.var()) * values.size
        square += step**2 * count * values.size / both
        mean += step * values.size / both
        count = both
    return _checked(count, mean, np.sqrt(square / max(count, 1)))


def _each(images: Iterable[Any]) -> Iterator[np.ndarray]:
    """Yield images as float64; a ValueError for one that is empty or not finite."""
    for image in images:
        values = np.asarray(image, np.float64)
        if not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"images: expected finite pixels, got shape {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} that are not"
            )
        yield values


def as_published(images: Iterable[Any]) -> Statistics:
    """Return the means, over the images, of each image's mean and deviation.

    The mean of the deviations is below the deviation of all pixels whenever images
    differ in mean: kept to compare with the published runs, not to be preferred.

    Args:
        images: as :func:`pooled`.

    Returns:
        The statistics.

    Raises:
        ValueError: as :func:`pooled`.

    Reference:
        Tartaglione et al., Unveiling COVID-19 from chest X-ray with deep learning,
        arXiv 2004.05405, as its authors' code does it.

    Example:
        >>> images = np.array([[[0.0, 1.0]], [[0.5, 0.5]]])  # deviations 0.5 and 0
        >>> covid_cxr.images.as_published(images).std
        0.25
    """
    means, deviations = [], []
    for values in _each(images):
        means.append(values.mean())
        deviations.append(values.std())
    count = len(means)
    return _checked(
        count, np.sum(means) / max(count, 1), np.sum(deviations) / max(count, 1)
    )


def _checked(count: int, mean: Any, std: Any) -> Statistics:
    if count == 0:
        raise ValueError("images: expected at least one")
    if not std > 1e-12 * abs(mean):  # what is less is rounding
        raise ValueError(f"images: expected pixels that differ, all are {mean:g}")
    return Statistics(float(mean), float(std))


def normalise(images: Any, statistics: Statistics) -> Any:
    """Return (images - mean) / std, for NumPy and JAX arrays.

    Example:
        >>> images = np.array([[0.5, 0.7]])
        >>> statistics = covid_cxr.images.Statistics(0.5, 0.2)
        >>> covid_cxr.images.normalise(images, statistics).round(3).tolist()
        [[0.0, 1.0]]
    """
    return (images - statistics.mean) / statistics.std
