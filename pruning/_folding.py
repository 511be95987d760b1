"""Push what silent units put out into those who read them, and take them away.

A unit is taken away by zeros, in place, so that shapes stay until the end: then
:func:`cut` leaves the zeros out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pruning._couplings import Flat, Read, Units

STEADY = 3e-6  # of a constant: what float32 makes of it on its way


class _Reading(NamedTuple):
    """A kernel as what reads each unit: (units, repeat, ..., outputs), in float64."""

    value: np.ndarray
    restore: Callable[[np.ndarray], np.ndarray]


def entries_by_unit(owners: np.ndarray) -> np.ndarray:
    """Return the entries that belong to units, unit by unit, each in their order."""
    return np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]


def multiples(pattern: np.ndarray, one: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many times a row each row is, and whether it is."""
    rows = pattern.reshape(len(pattern), -1)
    # Where that row is largest, and the quotient the most exact.
    place = int(np.argmax(np.abs(rows[one])))
    if rows[one, place] == 0:
        return np.zeros(len(rows)), np.asarray(~rows.any(1))
    share = rows[:, place] / rows[one, place]
    error = np.abs(rows - np.outer(share, rows[one])).max(1)
    return share, error <= STEADY * np.abs(rows).max(1)


def takes_up(leaf: tuple[int, ...], kernel: tuple[int, ...], axis: int) -> bool:
    """Say whether a leaf keeps its shape if a vector along the outputs is added.

    Args:
        leaf: its shape.
        kernel: the shape of what reads units along ``axis``.
        axis: the outputs lie along the last of the others; without one it is a number.
    """
    outputs = [size for d, size in enumerate(kernel) if d != axis][-1:]
    try:
        return np.broadcast_shapes(tuple(outputs), leaf) == leaf
    except ValueError:
        return False


def _reading(one: Units, read: Read, kernel: np.ndarray) -> _Reading:
    first = np.moveaxis(kernel, read.axis, 0)
    owners = one.owners(read.kernel, read.axis, len(first))
    order = entries_by_unit(owners)
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
    readings = [_reading(one, reader, flat[reader.kernel]) for reader in one.reads]
    heard = np.zeros(one.count(flat), bool)
    for reading in readings:
        heard |= reading.value.any(axis=tuple(range(1, reading.value.ndim)))
    silent, constants = one.silent(flat)
    if not isinstance(constants, list):  # a unit's repeats share its constant
        constants = [np.asarray(constants)[:, None]] * len(readings)
    # In float64: sums over many units, rounded once, into the leaf that takes them up.
    wide = [
        np.float64(c).reshape(*c.shape, *(1,) * (reading.value.ndim - c.ndim))
        for c, reading in zip(constants, readings, strict=True)
    ]
    size = np.max([np.abs(w).reshape(len(w), -1).max(1) for w in wide], 0)
    mute = silent & heard & (size == 0)  # puts out zeros
    folds = silent & heard & (size > 0)
    if not all(reader.into for reader in one.reads) and folds.any():
        # Someone pads, or has nothing to take the constant up: one unit speaks for all
        # that put out a multiple of what it does.
        speaker = int(np.argmax(np.where(folds, size, -1)))
        shares = [multiples(each, speaker) for each in wide]
        folds &= np.all([same for _, same in shares], 0)
        for reader, reading, (share, _) in zip(
            one.reads, readings, shares, strict=True
        ):
            value = reading.value
            # W_0 <- sum_c (a_c / a_0) W_c, with share_c = a_c / a_0.
            value[speaker] = np.tensordot(np.where(folds, share, 0), value, axes=1)
            flat[reader.kernel] = reading.restore(value)
        folds[speaker] = False
    else:
        for reader, reading, each in zip(one.reads, readings, wide, strict=True):
            # sum_c W_c a_c, over units, repeats and all others but the output axis
            shift = (each * reading.value)[folds]
            shift = shift.sum(axis=tuple(range(max(2, shift.ndim - 1))))
            if reader.into:
                taker = flat[reader.into]
                sign = -1 if reader.subtract else 1
                flat[reader.into] = (taker + sign * shift).astype(taker.dtype)
    alive = heard & ~mute & ~folds
    if not alive.any():  # a layer of no units is no layer: keep one that is not read
        survivor = 0 if left is None else int(np.argmax(left))
        alive[survivor] = True
        for reader, reading in zip(one.reads, readings, strict=True):
            reading.value[survivor] = 0
            flat[reader.kernel] = reading.restore(reading.value)
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
