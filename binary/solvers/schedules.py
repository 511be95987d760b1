"""Schedules of the self-overlap q*: progress in (0, 1] to q* in [0, 1]."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax.numpy as jnp

from synaptax.typing import Array

Schedule = Callable[[Array], Array]


def linear(progress: Array) -> Array:
    """Return q* = t, the ramp from 0 to 1.

    Example:
        >>> float(binary.linear(jnp.array(0.25)))
        0.25
    """
    return progress


@functools.cache
def power(exponent: float, *, start: float = 0.0, end: float = 1.0) -> Schedule:
    r"""Return the schedule q* = start + (end - start) (1 - (1 - t)^p).

    With p > 1 it passes quickly through low q* and lingers near the end.

    Args:
        exponent: p > 0; 1 is a straight line.
        start: q* at the beginning, in [0, 1).
        end: q* at the end, above ``start`` and at most 1.

    Raises:
        ValueError: for an exponent or end points out of range.

    Example:
        >>> schedule = binary.power(2.0)  # steep at first, flat at the end
        >>> [float(schedule(jnp.array(t))) for t in (0.0, 0.5, 1.0)]
        [0.0, 0.75, 1.0]
    """
    if not exponent > 0:
        raise ValueError(f"exponent: expected a number > 0, got {exponent}")
    if not 0 <= start < 1:
        raise ValueError(f"start: expected a self-overlap in [0, 1), got {start}")
    if not start < end <= 1:
        raise ValueError(f"end: expected a self-overlap in ({start}, 1], got {end}")

    def schedule(progress: Array) -> Array:
        left = jnp.maximum(1 - progress, 0)
        return start + (end - start) * (1 - left**exponent)

    return schedule
