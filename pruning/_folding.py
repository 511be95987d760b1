"""Push what silent units put out into those who read them, and take them away.

A unit is taken away by zeros, in place, so that shapes stay until the end: then
:func:`cut` leaves the zeros out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pruning._couplings import Flat, Read, Units


class _Reading(NamedTuple):
    """A kernel as what reads each unit: (units, repeat, ..., outputs), in float64."""

    value: np.ndarray
    restore: Callable[[np.ndarray], np.ndarray]


def _reading(one: Units, read: Read, kernel: np.ndarray) -> _Reading:
    first = np.moveaxis(kernel, read.axis, 0)
    owners = one.owners(read.kernel, read.axis, len(first))
    # Stable: the entries of a unit in their order.
    order = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
    split = first[order].reshape(one.size(owners), -1, *first.shape[1:])

    def restore(value: np.ndarray) -> np.ndarray:
        merged = first.astype(np.float64)
        merged[order] = value.reshape(-1, *first.shape[1:])
        return np.moveaxis(merged, 0, read.axis).astype(kernel.dtype)

    return _Reading(split.astype(np.float64), restore)


def fold(one: Units, flat: Flat, left: np.ndarray | None = None) -> np.ndarray:
    """Push the constants of silent units on; return which units are to stay.

    Args:
        one: the units.
        flat: the parameters; what reads the units is changed in place.
        left: which units are there still; all by default.
    """
    readings = [_reading(one, read, flat[read.kernel]) for read in one.reads]
    heard = np.zeros(one.count(flat), bool)
    for reading in readings:
        heard |= reading.value.any(axis=tuple(range(1, reading.value.ndim)))
    silent, constant = one.silent(flat)
    constant = np.asarray(constant, np.float64)
    speaks = constant.reshape(len(constant), -1).any(1)
    mute = silent & heard & ~speaks  # puts out zeros
    folds = silent & heard & speaks
    if not all(read.into for read in one.reads) and folds.any():
        # Someone pads, or has nothing to take the constant up: one unit speaks for all.
        speaker = int(np.argmax(np.where(folds, np.abs(constant), -1)))
        share = np.where(folds, constant, 0) / constant[speaker]
        for read, reading in zip(one.reads, readings, strict=True):
            value = reading.value
            value[speaker] = np.tensordot(share, value, axes=1)
            flat[read.kernel] = reading.restore(value)
        folds[speaker] = False
    else:
        for read, reading in zip(one.reads, readings, strict=True):
            wide = constant[:, None]  # a unit's repeats share its constant
            wide = wide.reshape(*wide.shape, *(1,) * (reading.value.ndim - wide.ndim))
            # sum_c W_c a_c, over all but the output axis
            pushed = (wide * reading.value)[folds]
            pushed = pushed.sum(axis=tuple(range(pushed.ndim - 1)))
            if read.into:
                taker = flat[read.into]
                sign = -1 if read.subtract else 1
                flat[read.into] = (taker + sign * pushed).astype(taker.dtype)
    alive = heard & ~mute & ~folds
    if not alive.any():  # a layer of no units is no layer: keep one that is not read
        spared = 0 if left is None else int(np.argmax(left))
        alive[spared] = True
        for read, reading in zip(one.reads, readings, strict=True):
            reading.value[spared] = 0
            flat[read.kernel] = reading.restore(reading.value)
    return alive


def erase(one: Units, flat: Flat, alive: np.ndarray) -> None:
    """Set whatever belongs to dead units to zero."""
    for path, axis in one.places():
        entries = gone(one, path, axis, flat[path].shape[axis], alive)
        first = np.moveaxis(flat[path].copy(), axis, 0)
        first[entries] = 0
        flat[path] = np.moveaxis(first, 0, axis)


def deafened(one: Units, flat: Flat, alive: np.ndarray) -> Flat:
    """Return parameters by which nobody who is declared reads dead units."""
    deaf = dict(flat)
    erase(one._replace(ties=()), deaf, alive)
    return deaf


def perturbed(
    one: Units, flat: Flat, alive: np.ndarray, rng: np.random.Generator
) -> Flat:
    """Return parameters in which all that is tied to dead units is another."""
    other = dict(flat)
    for path, axis in one.ties:
        entries = gone(one, path, axis, other[path].shape[axis], alive)
        first = np.moveaxis(other[path].copy(), axis, 0)
        # Positive and near 1 where it was near 0 or 1, so that a variance stays one.
        first[entries] = (first[entries] + 1) * rng.uniform(
            0.5, 1.5, first[entries].shape
        )
        other[path] = np.moveaxis(first, 0, axis)
    return other


def gone(one: Units, path: str, axis: int, size: int, alive: np.ndarray) -> np.ndarray:
    """Say of each entry of an axis whether it belongs to a dead unit."""
    owners = one.owners(path, axis, size)
    return (owners >= 0) & ~alive[owners]


def cut(units: Sequence[Units], flat: Flat, alive: Mapping[str, np.ndarray]) -> Flat:
    """Return the parameters without dead units."""
    rest: dict[tuple[str, int], np.ndarray] = {}
    for one in units:
        for path, axis in one.places():
            size = flat[path].shape[axis]
            stays = ~gone(one, path, axis, size, alive[one.name])
            rest[path, axis] = rest.get((path, axis), np.ones(size, bool)) & stays
    smaller = dict(flat)
    for (path, axis), stays in rest.items():
        smaller[path] = np.compress(stays, smaller[path], axis)
    return smaller
