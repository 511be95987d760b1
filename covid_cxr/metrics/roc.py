"""The ROC curve and the area under it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from covid_cxr.metrics.inputs import Scored, scored
from synaptax.typing import Array, Float, Int


class Curve(NamedTuple):
    """An ROC curve; a point an operating point, the strictest first.

    Attributes:
        threshold: (K,) float64; positive means score >= threshold. The first is inf.
        sensitivity: (K,) float64, from 0 to 1.
        false_positive_rate: (K,) float64, from 0 to 1.

    Example:
        >>> curve = covid_cxr.metrics.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.threshold.tolist()
        [inf, 0.8, 0.4, 0.35, 0.1]
    """

    threshold: np.ndarray
    sensitivity: np.ndarray
    false_positive_rate: np.ndarray


def auc(label: Any, score: Any) -> float:
    r"""Return the area under the ROC curve, by midranks, in O(N log N).

    .. math:: P(s_+ > s_-) + \tfrac12 P(s_+ = s_-)

    Args:
        label: (N,) of 0 and 1.
        score: (N,) finite numbers.

    Returns:
        The area in [0, 1]; NaN if one class is absent.

    Raises:
        ValueError: for labels or scores that :func:`covid_cxr.metrics.inputs.scored`
            refuses.

    Example:
        >>> covid_cxr.metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    data = scored(label, score)
    m, n = data.positives, data.negatives
    if not m or not n:
        return float("nan")
    # Mann and Whitney: the positives' midranks sum to m (m + 1) / 2, which they have
    # among themselves, plus the pairs won, ties one half.
    ranks = rankdata(data.score)[data.label].sum()
    return float((ranks - m * (m + 1) / 2) / (m * n))


def dense_ranks(values: np.ndarray) -> np.ndarray:
    """Return the place of each value among the distinct ones: (N,) int32 from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int32)


def weighted_auc(
    label: Float[Array, " N"], rank: Int[Array, " N"], weight: Float[Array, " N"]
) -> Array:
    """Return the area when image i counts ``weight[i]`` times; traceable.

    Args:
        label: (N,) of 0.0 and 1.0.
        rank: (N,) integers in [0, N), the scores' order (:func:`dense_ranks`).
        weight: (N,) numbers >= 0; exact for integer weights of sum below 2^24.

    Returns:
        A scalar; NaN if a class has no weight.

    Example:
        >>> label, rank = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0, 2, 1, 3])
        >>> float(covid_cxr.metrics.weighted_auc(label, rank, jnp.ones(4)))
        0.75
    """
    label, rank, weight = map(jnp.asarray, (label, rank, weight))
    if label.ndim != 1 or not label.shape == rank.shape == weight.shape:
        shapes = f"{label.shape}, {rank.shape}, {weight.shape}"
        raise ValueError(f"label: expected (N,), as rank and weight, got {shapes}")
    if not jnp.issubdtype(rank.dtype, jnp.integer):
        raise ValueError(f"rank: expected integers, got {rank.dtype}")
    # By distinct score r, with P_r and N_r the weights of the two classes there:
    #   A = sum_r P_r (sum_{s < r} N_s + N_r / 2) / (sum_r P_r sum_r N_r).
    sums = partial(jax.ops.segment_sum, segment_ids=rank, num_segments=rank.size)
    positive, negative = sums(weight * label), sums(weight * (1 - label))
    beaten = jnp.cumsum(negative) - negative / 2
    pairs = positive.sum() * negative.sum()
    won = (positive * beaten).sum()
    return jnp.where(pairs > 0, won / jnp.where(pairs > 0, pairs, 1), jnp.nan)


def roc_curve(label: Any, score: Any) -> Curve:
    """Return the ROC curve with one point for each distinct score.

    Args:
        label: (N,) of 0 and 1, both present.
        score: (N,) finite numbers.

    Returns:
        The curve, from (0, 0) to (1, 1).

    Raises:
        ValueError: if a class is absent, or for what
            :func:`covid_cxr.metrics.inputs.scored` refuses.

    Example:
        >>> curve = covid_cxr.metrics.roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.sensitivity.tolist(), curve.false_positive_rate.tolist()
        ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    data = both_classes(scored(label, score))
    order = np.argsort(-data.score, kind="stable")
    ordered = data.score[order]
    # The last image of each run of equal scores: a threshold takes all of a run or
    # none.
    last = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)
    hits = np.cumsum(data.label[order])[last]
    alarms = last + 1 - hits
    return Curve(
        np.concatenate([[np.inf], ordered[last]]),
        np.concatenate([[0.0], hits / data.positives]),
        np.concatenate([[0.0], alarms / data.negatives]),
    )


def both_classes(data: Scored) -> Scored:
    """Return the data, or raise a ValueError if a class is absent."""
    if not data.positives or not data.negatives:
        raise ValueError(
            f"label: expected both classes, got {data.positives} positive and "
            f"{data.negatives} negative images"
        )
    return data
