"""Labels, scores and patients, checked once at the door."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Scored(NamedTuple):
    """Scored images of known truth.

    Attributes:
        label: (N,) bool, True where the condition is present.
        score: (N,) float64, higher means more likely positive.
        patient: (N,) int64 in [0, patients), which patient an image belongs to.
    """

    label: np.ndarray
    score: np.ndarray
    patient: np.ndarray

    @property
    def positives(self) -> int:
        """How many images are positive."""
        return int(self.label.sum())

    @property
    def negatives(self) -> int:
        """How many images are negative."""
        return int(self.label.size - self.label.sum())

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return int(self.patient.max()) + 1


def scored(label: Any, score: Any, patient: Any = None) -> Scored:
    """Check labels and scores and number the patients.

    Args:
        label: (N,) of 0 and 1 or of booleans.
        score: (N,) finite numbers.
        patient: (N,) identifiers of any one sortable kind; default: every image is a
            patient of its own.

    Returns:
        The three columns.

    Raises:
        ValueError: naming the argument, for another shape, no image at all, a label
            that is neither 0 nor 1, or a score that is not finite.
    """
    label = binary(label)
    score = finite("score", score, label.size)
    if patient is None:
        return Scored(label, score, np.arange(label.size))
    return Scored(label, score, numbered("patient", patient, label.size))


def binary(label: Any) -> np.ndarray:
    """Return labels as (N,) booleans; a ValueError says what is wrong with them."""
    label = np.asarray(label)
    if label.ndim != 1 or not label.size:
        raise ValueError(f"label: expected shape (N,), N >= 1, got {label.shape}")
    if label.dtype != bool:
        if label.dtype.kind not in "iuf" or not np.isin(label, (0, 1)).all():
            raise ValueError("label: expected only 0 and 1 (drop unknown labels first)")
        label = label.astype(bool)
    return label


def finite(name: str, values: Any, count: int) -> np.ndarray:
    """Return (count,) finite float64 numbers, or raise a ValueError naming them."""
    values = np.asarray(values)
    if values.shape != (count,) or values.dtype.kind not in "iufb":
        raise ValueError(
            f"{name}: expected {count} numbers, got {values.dtype}{values.shape}"
        )
    values = values.astype(np.float64)
    bad = int(np.sum(~np.isfinite(values)))
    if bad:
        raise ValueError(f"{name}: {bad} of {count} values are not finite")
    return values


def probability(name: str, values: Any, count: int) -> np.ndarray:
    """Return (count,) float64 numbers in [0, 1], or raise a ValueError naming them."""
    values = finite(name, values, count)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"{name}: expected probabilities in [0, 1], got {values.min():g} to "
            f"{values.max():g}"
        )
    return values


def numbered(name: str, identifiers: Any, count: int) -> np.ndarray:
    """Return identifiers as integers 0, 1, ... in sorted order: (count,) int64."""
    identifiers = np.asarray(identifiers)
    if identifiers.shape != (count,):
        raise ValueError(
            f"{name}: expected {count} identifiers, got shape {identifiers.shape}"
        )
    return np.unique(identifiers, return_inverse=True)[1].astype(np.int64)


def fraction(name: str, value: Any) -> float:
    """Return a number strictly between 0 and 1, or raise a ValueError naming it."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected a number, got {value!r}") from error
    if not 0 < number < 1:
        raise ValueError(f"{name}: expected a number in (0, 1), got {value!r}")
    return number
