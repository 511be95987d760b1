"""Labels, scores and patients, checked once at the door."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from synaptax import checks

_EXACT = 2**53  # every integer up to here has a float64 of its own


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
    label = array("label", label)
    if label.ndim != 1 or not label.size:
        raise ValueError(f"label: expected shape (N,), N >= 1, got {label.shape}")
    if label.dtype != bool:
        if label.dtype.kind not in "iuf" or not np.isin(label, (0, 1)).all():
            raise ValueError("label: expected only 0 and 1 (drop unknown labels first)")
        label = label.astype(bool)
    return label


def array(name: str, values: Any) -> np.ndarray:
    """Return values as an array; a ValueError names them where they make none."""
    if np.ma.is_masked(values):  # what is masked would count
        raise ValueError(f"{name}: values are masked; leave these images out")
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise ValueError(f"{name}: expected an array: {error}") from error


def finite(name: str, values: Any, count: int) -> np.ndarray:
    """Return (count,) finite float64 numbers, or raise a ValueError naming them."""
    values = array(name, values)
    if values.shape != (count,) or values.dtype.kind not in "iufb":
        raise ValueError(
            f"{name}: expected {count} numbers, got {values.dtype}{values.shape}"
        )
    if values.dtype.kind in "iu" and np.any((values > _EXACT) | (values < -_EXACT)):
        raise ValueError(f"{name}: integers beyond 2^53 are not told apart")
    values = values.astype(np.float64)
    non_finite = int(np.sum(~np.isfinite(values)))
    if non_finite:
        raise ValueError(f"{name}: {non_finite} of {count} values are not finite")
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
    """Return identifiers as integers 0, 1, ... in sorted order: (count,) int64.

    One that is missing (None, NaN, "") is an error: all would be one patient.
    """
    identifiers = array(name, identifiers)
    if identifiers.shape != (count,):
        raise ValueError(
            f"{name}: expected {count} identifiers, got shape {identifiers.shape}"
        )
    try:
        # Integers and booleans have no missing value; NaN alone differs from itself.
        if identifiers.dtype.kind not in "biu":
            listed = identifiers.tolist()
            lost = sum(one in (None, "", b"") or one != one for one in listed)
            if lost:
                raise ValueError(f"{name}: {lost} of {count} identifiers are missing")
        return np.unique(identifiers, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:  # of several kinds, or pandas' NA
        raise ValueError(f"{name}: expected identifiers of one kind") from error


def fraction(name: str, value: Any) -> float:
    """Return a number strictly between 0 and 1, or raise a ValueError naming it."""
    value = number(name, value)
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number in (0, 1), got {value!r}")
    return value


def number(name: str, value: Any) -> float:
    """Return a number, NaN and infinities too, or raise a ValueError naming it."""
    checks.check_number(name, value, "a number", lambda given: True)
    return float(value)


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Return a whole number, or raise a ValueError naming it."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
    number = operator.index(value)
    if least is not None and number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def check_key(key: Any) -> None:
    """Raise a ValueError for what is no PRNG key, a bare seed say."""
    if not hasattr(key, "dtype"):
        raise ValueError(f"key: expected jax.random.key(0) or alike, got {key!r}")
    checks.check_key(key)
