"""What a trained network bears: calibration, noise in its images, one cut of weights.

Everything is measured on the first :data:`EXAMPLES` of the test set, and nothing is
trained again: batch-norm keeps the moments of training.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pruning.masks import apply_mask, magnitude_mask
from synaptax.data.images import Batch
from synaptax.nets.models import Network

EXAMPLES, CHUNK, BINS = 5000, 500, 15
NOISE = (0.25, 0.5)  # deviations, in those of the normalised pixels
DENSITIES = (0.7, 0.5, 0.35, 0.25, 0.15)


def measure(net: Network, params: Any, stats: Any, test: Batch) -> dict[str, Any]:
    """Return a network's calibration error and its errors under noise and cuts.

    Args:
        net: the network, in evaluation mode.
        params: its weights.
        stats: its state.
        test: the test set.

    Returns:
        ``calibration`` (see :func:`calibration_error`), ``error`` (as it is), ``noise``
        (deviation -> error) and ``pruned`` (density of the weights -> error); errors
        are fractions, keys are text.
    """
    image, label = (np.asarray(part[:EXAMPLES]) for part in test)
    apply = jax.jit(net.apply)

    def logits(params: Any, image: np.ndarray) -> np.ndarray:
        parts = np.split(image, range(CHUNK, len(image), CHUNK))
        return np.concatenate([apply(params, stats, part) for part in parts])

    def error(params: Any, image: np.ndarray) -> float:
        return float(np.mean(logits(params, image).argmax(-1) != label))

    # The same noise for every network, so that differences are between networks.
    noise = np.random.RandomState(0).standard_normal(image.shape).astype(np.float32)
    plain = logits(params, image)
    return {
        "calibration": calibration_error(plain, label),
        "error": float(np.mean(plain.argmax(-1) != label)),
        "noise": {
            f"{s:g}": error(params, image + np.float32(s) * noise) for s in NOISE
        },
        "pruned": {
            f"{d:g}": error(apply_mask(params, magnitude_mask(params, d)), image)
            for d in DENSITIES
        },
    }


def calibration_error(logits: np.ndarray, label: np.ndarray) -> float:
    r"""Return the expected calibration error, with 15 bins of equal width.

    .. math:: \sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    Args:
        logits: (N, classes).
        label: (N,) integers.

    Reference:
        Guo et al., On calibration of modern neural networks, arXiv 1706.04599, eq. 3.

    Example:
        >>> calibration_error(np.array([[50.0, 0.0], [50.0, 0.0]]), np.array([0, 1]))
        0.5
    """
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(-1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(-1)  # the largest term of the sum is 1
    correct = shifted.argmax(-1) == label
    bins = np.minimum((BINS * confidence).astype(int), BINS - 1)
    # n_b (accuracy_b - confidence_b), of each bin; all n_b over n at the end.
    gaps = np.bincount(bins, correct - confidence, BINS)
    return float(np.abs(gaps).sum() / len(label))
