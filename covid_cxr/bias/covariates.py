"""The same classifier, trained with a covariate ever more tied to the label.

Patients, not images, are drawn, so that nobody is on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from covid_cxr.bias.linear import logistic
from covid_cxr.bias.types import labels_of
from covid_cxr.index import Index, order
from covid_cxr.metrics import Estimate, auc_interval

RATIOS = (0.5, 0.75, 1.0)

#: (rows to train on, rows to score) to scores of the latter.
Classifier = Callable[[np.ndarray, np.ndarray], np.ndarray]


class RatioPoint(NamedTuple):
    """One point of the sweep.

    Attributes:
        ratio: the share of training patients whose covariate is their label.
        radiographs: how many were trained on.
        same: area on radiographs with the training's ratio.
        reversed: area on radiographs with one minus the training's ratio.

    Example:
        >>> of = covid_cxr.metrics.Estimate
        >>> point = covid_cxr.bias.RatioPoint(1.0, 40, same=of(0.99), reversed=of(0.2))
        >>> point.same.value > point.reversed.value  # what was learnt is the covariate
        True
    """

    ratio: float
    radiographs: int
    same: Estimate
    reversed: Estimate


def sweep(
    index: Index,
    label: np.ndarray,
    covariate: np.ndarray,
    features: np.ndarray,
    *,
    ratios: Sequence[float] = RATIOS,
    seed: int = 0,
    classify: Classifier | None = None,
) -> list[RatioPoint]:
    """Train at each ratio, judge at the same and at the reversed one.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        covariate: (n,) bool: a source, a view, a trait. A patient's first radiograph
            decides.
        features: (n, k) for the logistic regression; unused with ``classify``.
        ratios: shares of patients whose covariate equals their label, in [0, 1].
        seed: of the drawing.
        classify: another classifier.

    Returns:
        A point for each ratio. All are trained on equally many patients and judged
        on one half of the patients, so a fall of ``reversed`` with the ratio is the
        covariate's doing.

    Raises:
        ValueError: for a ratio outside [0, 1], or a combination of label and covariate
            that no two patients have.

    Example:
        >>> from covid_cxr import bias, phantom
        >>> cohort = phantom.Cohort(patients=80)
        >>> key = jax.random.key(0)
        >>> index = phantom.roster(key, cohort).index
        >>> label = index.label("covid")
        >>> covariate = np.arange(80) % 2 == 0
        >>> features = covariate[:, None]
        >>> points = bias.sweep(index, label, covariate, features, ratios=(1.0,))
        >>> points[0].same.value > 0.9 > points[0].reversed.value
        True
    """
    label, covariate = labels_of(label, len(index)), np.asarray(covariate)
    if covariate.shape != label.shape or not np.isin(covariate, (0, 1)).all():
        raise ValueError(
            f"covariate: expected {len(index)} booleans, got "
            f"{covariate.dtype}{covariate.shape}"
        )
    covariate = covariate.astype(bool)
    wrong = [ratio for ratio in ratios if not 0 <= ratio <= 1]
    if wrong:
        raise ValueError(f"ratios: expected in [0, 1], got {wrong[0]}")
    if classify is None:
        features = np.asarray(features)
        if features.ndim != 2 or len(features) != len(index):
            raise ValueError(
                f"features: expected ({len(index)}, k), got {features.shape}"
            )
        classify = lambda train, test: logistic(features[train], label[train])(
            features[test]
        )
    people, first = np.unique(index.patient, return_index=True)
    halves = _halves(people, label[first], covariate[first], seed)
    points = []
    for ratio in ratios:
        members = _drawn(halves[0], ratio)
        train = np.flatnonzero(np.isin(index.patient, people[members]))
        areas = []
        for share in (ratio, 1 - ratio):
            judged = people[_drawn(halves[1], share)]
            test = np.flatnonzero(np.isin(index.patient, judged))
            score = np.asarray(classify(train, test))
            areas.append(auc_interval(label[test], score, patient=index.patient[test]))
        points.append(RatioPoint(float(ratio), int(train.size), *areas))
    return points


def _halves(
    people: np.ndarray, label: np.ndarray, covariate: np.ndarray, seed: int
) -> tuple[dict[tuple[int, bool], np.ndarray], dict[tuple[int, bool], np.ndarray]]:
    """Return for each half, (label, covariate) to the patients, in a random order."""
    halves: tuple[dict, dict] = ({}, {})
    for value in (0, 1):
        for present in (False, True):
            own = np.flatnonzero((label == value) & (covariate == present))
            if own.size < 2:
                raise ValueError(
                    f"covariate: expected at least 2 patients with label {value} and "
                    f"covariate {present}, got {own.size}"
                )
            # Every other one of a random order, in each combination of label and
            # covariate.
            own = own[order(people[own].tolist(), seed)]
            halves[0][value, present], halves[1][value, present] = own[::2], own[1::2]
    return halves


def _drawn(cells: dict[tuple[int, bool], np.ndarray], ratio: float) -> np.ndarray:
    """Return patients of whom ``ratio`` have the covariate of their label.

    Each label gets as many patients as the rarest cell has, at any ratio.
    """
    size = min(len(own) for own in cells.values())
    agreeing = round(ratio * size)
    return np.concatenate(
        [
            cells[value, bool(value) == agree][: agreeing if agree else size - agreeing]
            for value in (0, 1)
            for agree in (True, False)
        ]
    )
