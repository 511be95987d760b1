"""Schedules of the self-overlap q*: progress in (0, 1] to q* in [0, 1]."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from binary._checks import finite
from synaptax.typing import Array

Schedule = Callable[[Array], Array]


def linear(progress: Array) -> Array:
    """Return q* = t, the ramp from 0 to 1.

    Example:
        >>> float(binary.linear(jnp.array(0.25)))
        0.25
    """
    return progress


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
    exponent = finite(exponent, "exponent")
    start, end = finite(start, "start"), finite(end, "end")
    if not exponent > 0:
        raise ValueError(f"exponent: expected a number > 0, got {exponent}")
    if not 0 <= start < 1:
        raise ValueError(f"start: expected a self-overlap in [0, 1), got {start}")
    if not start < end <= 1:
        raise ValueError(f"end: expected a self-overlap in ({start}, 1], got {end}")

    return _power(exponent, start, end)


@functools.cache  # one schedule an option set, so that solve() compiles once
def _power(exponent: float, start: float, end: float) -> Schedule:
    """Return the schedule of checked options."""

    def schedule(progress: Array) -> Array:
        left = jnp.maximum(1 - progress, 0)
        return start + (end - start) * (1 - left**exponent)

    return schedule


def check_schedule(schedule: Any) -> None:
    """Raise unless progress gives a scalar; ``power`` uncalled gives a function."""
    try:
        share = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.float32))
        fits, cause = getattr(share, "shape", None) == (), None
    except TypeError as error:
        fits, cause = False, error
    if not fits:
        raise ValueError(
            "schedule: expected a function of progress that gives a scalar, such as "
            f"binary.power(2.0), got {schedule!r}"
        ) from cause
