"""Logistic regression, judged on patients it has not seen: what all cheap probes use.

The scores are out of fold, and folds keep patients whole, so a probe on features
without information has an area near one half, a little below rather than above.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from covid_cxr.bias.types import Probe, smallest_area
from covid_cxr.index import Index
from covid_cxr.metrics import auc_interval
from covid_cxr.splits import folds

FOLDS = 5
SIDE = 16  # pixels a side that a linear probe sees
_HUGE = 1e100
_PENALTY = 0.1  # inverse strength (scikit-learn's C) on standardised features


def logistic(features: np.ndarray, target: np.ndarray) -> Any:
    """Return a fitted ``features -> log-odds`` function.

    Args:
        features: (n, k) finite numbers; standardised inside.
        target: (n,) of 0 and 1. With one class alone the function is constant.

    Returns:
        A function of (m, k) features with (m,) float64 log-odds.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError(
            "bias probes need scikit-learn: pip install 'synaptax[cxr]'"
        ) from error
    target = np.asarray(target).astype(int)
    if target.min() == target.max():
        return lambda other: np.full(len(other), float(2 * target[0] - 1))
    centre, scale = features.mean(axis=0), features.std(axis=0)
    # A feature that hardly varies in training must not be blown up in testing.
    varies = scale > 1e-6 * (1 + np.abs(centre))
    if not varies.any():
        return lambda other: np.zeros(len(other))
    centre, scale = centre[varies], scale[varies]
    # min |w|^2 / 2 + C sum_i c_i log(1 + exp(-y_i (w x_i + b))), y_i = -1 or 1, and
    # c_i inverse to the share of i's class.
    model = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=2000)
    model.fit((features[:, varies] - centre) / scale, target)
    return lambda other: model.decision_function((other[:, varies] - centre) / scale)


def out_of_fold(
    index: Index,
    features: Any,
    target: Any,
    *,
    seed: int = 0,
    count: int = FOLDS,
) -> np.ndarray:
    """Return log-odds of each image by a model that has not seen its patient.

    Args:
        index: the table; its patients and sources make the folds.
        features: (n, k).
        target: (n,) of 0 and 1.
        seed: of the folds.
        count: of folds.

    Returns:
        (n,) float64.

    Raises:
        ValueError: if the lengths differ, a number is not finite, or there are fewer
            patients than folds.
    """
    features = np.asarray(features, np.float64)
    target = np.asarray(target)
    if features.ndim != 2 or len(features) != len(index):
        raise ValueError(f"features: expected ({len(index)}, k), got {features.shape}")
    if target.shape != (len(index),) or not np.isin(target, (0, 1)).all():
        raise ValueError(f"target: expected {len(index)} numbers of 0 and 1")
    target = target.astype(int)
    if not (np.abs(features) < _HUGE).all():  # nor NaN; squares must be finite
        raise ValueError("features: expected finite numbers, and none beyond 1e100")
    people = np.unique(index.patient).size
    if people < count:
        raise ValueError(f"index: {people} patients do not fill {count} folds")
    # Balance the target over the folds, whatever it is called.
    table = dataclasses.replace(index, labels={"target": target.astype(np.int8)})
    part = folds(table, count, seed=seed, labels=("target",))
    scores = np.empty(len(index))
    for fold in np.unique(part):
        test = part == fold
        scores[test] = logistic(features[~test], target[~test])(features[test])
    return scores


def probe(
    name: str,
    index: Index,
    features: Any,
    target: Any,
    *,
    seed: int = 0,
    alarm: bool = True,
    note: str = "",
) -> Probe:
    """Ask what a logistic regression on some features tells of a target.

    Args:
        name: of the probe.
        index: the table.
        features: (n, k).
        target: (n,) of 0 and 1.
        seed: of the folds.
        alarm: whether a high area is a fault.
        note: goes into the answer.

    Returns:
        The area under the out-of-fold ROC curve, with the interval for clustered
        images.

    Raises:
        ValueError: as :func:`out_of_fold`.
    """
    scores = out_of_fold(index, features, target, seed=seed)
    return scored(name, index, target, scores, alarm=alarm, note=note)


def scored(
    name: str,
    index: Index,
    target: Any,
    scores: Any,
    *,
    alarm: bool = True,
    note: str = "",
) -> Probe:
    """Return the probe of scores that are there already."""
    target = np.asarray(target)
    area = auc_interval(target, scores, patient=index.patient)
    people = lambda rows: int(np.unique(index.patient[rows]).size)
    return Probe(
        name,
        area,
        len(index),
        people(slice(None)),
        alarm=alarm,
        note=note,
        smallest=smallest_area(people(target == 1), people(target == 0)),
    )


def check_squares(images: np.ndarray) -> None:
    """Raise a ValueError unless these are square radiographs of one channel."""
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images: expected (n, S, S), got {images.shape}")


def pixels(images: Any, side: int = SIDE) -> np.ndarray:
    """Return radiographs as features: means over blocks, (n, side * side) float64.

    Args:
        images: (n, S, S), S >= side.
        side: blocks a side; the last rows and columns of S are left out if it is no
            multiple of ``side``.

    Raises:
        ValueError: for radiographs smaller than ``side``.
    """
    images = np.asarray(images)
    check_squares(images)
    block = images.shape[1] // side
    if block < 1:
        raise ValueError(f"images: expected at least {side} pixels a side")
    blocks = images[:, : block * side, : block * side].astype(np.float64)
    blocks = blocks.reshape(len(images), side, block, side, block)
    return blocks.mean(axis=(2, 4)).reshape(len(images), -1)
