"""Schedules of the self-overlap q*: progress in (0, 1] to q* in [0, 1]."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from binary._checks import number
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
    expected = "a number > 0"
    exponent = number("exponent", exponent, expected, lambda p: 0 < p < math.inf)
    start = number("start", start, "a self-overlap in [0, 1)", lambda q: 0 <= q < 1)
    expected = f"a self-overlap in ({start}, 1]"
    end = number("end", end, expected, lambda q: start < q <= 1)
    return _power(exponent, start, end)


@functools.cache  # one schedule an option set, so that solve() compiles once
def _power(exponent: float, start: float, end: float) -> Schedule:
    """Return the schedule of checked options."""

    def schedule(progress: Array) -> Array:
        rest = jnp.maximum(1 - progress, 0)
        return start + (end - start) * (1 - rest**exponent)

    return schedule


def check_schedule(schedule: Any, name: str = "schedule") -> None:
    """Raise unless progress gives a scalar; ``power`` uncalled gives a function."""
    try:
        share = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.float32))
        shape, dtype = getattr(share, "shape", None), getattr(share, "dtype", complex)
        real = not jnp.issubdtype(dtype, jnp.complexfloating)
        fits, cause = real and shape == (), None
    except (TypeError, ValueError) as error:
        fits, cause = False, error
    if not fits:
        raise ValueError(
            f"{name}: expected a function of progress that gives a scalar, such as "
            f"binary.power(2.0), got {schedule!r}"
        ) from cause
