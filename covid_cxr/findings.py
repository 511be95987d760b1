"""Several findings at once: labels with what is not known, a loss, and areas.

A network of F outputs (``ModelConfig(classes=F)``) learns F findings by
:func:`masked_cross_entropy` in a loop of one's own; :func:`areas` judges it, or any
other scores, by finding. A study and :func:`covid_cxr.train.fit` tell one label, and
refuse several by name.

Example:
    >>> label = np.array([[1, 0], [0, -1], [1, 1], [0, 0]], np.int8)
    >>> score = np.array([[0.9, 0.2], [0.2, 0.5], [0.7, 0.8], [0.1, 0.4]])
    >>> areas = covid_cxr.findings.areas(["edema", "mass"], label, score)
    >>> areas["mass"].area.value, areas["mass"].unknown
    (1.0, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from covid_cxr.index import UNKNOWN, Index
from covid_cxr.metrics import Estimate, auc_interval
from covid_cxr.metrics.inputs import array
from synaptax.checks import is_traced
from synaptax.typing import Array, Float, Int


class Finding(NamedTuple):
    """How well one finding is told.

    Attributes:
        area: under the ROC curve, of the images whose label is known; its interval is
            by patient where patients are given.
        images: whose label is known.
        positives: of these.
        unknown: images left out.

    Example:
        >>> covid_cxr.findings.Finding._fields
        ('area', 'images', 'positives', 'unknown')
    """

    area: Estimate
    images: int
    positives: int
    unknown: int


def labels(index: Index, names: Sequence[str]) -> np.ndarray:
    """Return several labels of a table.

    Args:
        index: the table, of N images.
        names: F labels.

    Returns:
        (N, F) int8: 1 present, 0 absent, -1 unknown.

    Raises:
        ValueError: for no name, one that is there twice, or one that no image knows.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(4)
        >>> roster = covid_cxr.phantom.roster(jax.random.key(0), cohort)
        >>> covid_cxr.findings.labels(roster.index, ["covid", "pneumonia"]).shape
        (4, 2)
    """
    if not names or len(set(names)) < len(names):
        raise ValueError(f"names: expected different labels, got {list(names)}")
    for name in names:
        if (index.label(name) == UNKNOWN).all():
            there = ", ".join(sorted(index.labels)) or "none"
            raise ValueError(f"names: no image knows {name!r}; the table has {there}")
    return np.stack([index.label(name) for name in names], axis=1)


def masked_cross_entropy(
    logits: Float[Array, "B F"], label: Int[Array, "B F"]
) -> Float[Array, " B"]:
    r"""Return the mean cross-entropy of each image's known findings, in nats.

    .. math:: \frac{1}{|K_b|} \sum_{f \in K_b} -\log P(y_{bf}), \quad
        K_b = \{f : y_{bf} \ge 0\}

    An unknown label has no part in the value, nor in the gradient; an image without a
    known one has loss 0.

    Args:
        logits: (B, F), of independent findings: each its own sigmoid.
        label: (B, F) of 1, 0 and, unknown, any negative number.

    Returns:
        (B,) losses.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> logits, label = jnp.array([[0.0, 50.0]]), jnp.array([[1, -1]])
        >>> loss = covid_cxr.findings.masked_cross_entropy(logits, label)
        >>> [round(one, 3) for one in loss.tolist()]
        [0.693]
    """
    if logits.ndim != 2 or logits.shape != label.shape:
        raise ValueError(
            f"label: expected the shape of logits, {logits.shape}, got {label.shape}"
        )
    if not is_traced(label):  # -1 of an unsigned kind is 255, a target of 255
        values = np.asarray(label)
        if not ((values < 0) | (values == 0) | (values == 1)).all():
            raise ValueError("label: expected 1, 0, or a negative number for unknown")
    mask = label >= 0
    # A valid target where nothing is known, so that no gradient there is NaN.
    target = jnp.where(mask, label, 0).astype(logits.dtype)
    loss = jnp.where(mask, optax.sigmoid_binary_cross_entropy(logits, target), 0)
    count = jnp.maximum(mask.sum(axis=1), 1).astype(logits.dtype)
    return loss.sum(axis=1) / count


def areas(
    names: Sequence[str],
    label: Any,
    score: Any,
    *,
    patient: Any = None,
    level: float = 0.95,
) -> dict[str, Finding]:
    """Return how well each finding is told, of the images that know it.

    Which labels are known may go with the finding itself: a report names what is seen.
    An area of these images is not that of all.

    Args:
        names: F findings.
        label: (N, F) of 1, 0 and -1 for unknown, as of :func:`labels`.
        score: (N, F) finite numbers.
        patient: (N,) identifiers; default: every image has a patient of its own.
        level: coverage of each interval by itself.

    Returns:
        By name; an area of one class alone is NaN and says why.

    Raises:
        ValueError: naming what has another shape, or labels that are none of the three.

    Example:
        >>> label, score = [[1], [0], [1], [-1]], [[0.9], [0.1], [0.6], [0.5]]
        >>> covid_cxr.findings.areas(["edema"], label, score)["edema"].images
        3
    """
    if isinstance(names, str) or len(set(names)) < len(names):
        raise ValueError(f"names: expected different findings, got {names!r}")
    label, score = array("label", label), array("score", score)
    if label.ndim != 2 or label.shape[1] != len(names):
        raise ValueError(f"label: expected (N, {len(names)}), got {label.shape}")
    if score.shape != label.shape:
        raise ValueError(f"score: expected {label.shape}, got {score.shape}")
    if not np.isin(label, (-1, 0, 1)).all():
        raise ValueError("label: expected 1, 0, or -1 for unknown")
    if score.dtype.kind not in "biuf" or not np.isfinite(score).all():
        raise ValueError(f"score: expected finite numbers, got {score.dtype}")
    # None stays None: auc_interval then takes images for independent.
    who = None if patient is None else np.asarray(patient)
    if who is not None and who.shape != label.shape[:1]:
        raise ValueError(f"patient: expected ({len(label)},), got {who.shape}")
    findings = {}
    for column, name in enumerate(names):
        rows = label[:, column] != UNKNOWN
        one = label[rows, column]
        if one.size:
            area = auc_interval(
                one,
                score[rows, column],
                patient=None if who is None else who[rows],
                level=level,
            )
        else:
            area = Estimate(float("nan"), note="no image knows it")
        sizes = int(rows.sum()), int((one == 1).sum()), int((~rows).sum())
        findings[name] = Finding(area, *sizes)
    return findings
