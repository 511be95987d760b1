"""When to prune and how much: a target density for each step.

A schedule is a frozen dataclass. ``schedule(step)`` is the target density,
``schedule.update(step)`` says whether the masks are to be chosen anew at that step,
and ``schedule.kept(step, total)`` is the target as a number of weights. The step
counts updates from 0.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import jax.numpy as jnp

from pruning._select import target_count
from synaptax.typing import Array


def _check_step(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}: expected an integer >= 0, got {value!r}")


def _check_every(value: Any) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"every: expected an integer >= 1, got {value!r}")


def _check_density(value: Any) -> None:
    if not 0.0 <= float(value) <= 1.0:
        raise ValueError(f"density: expected a number in [0, 1], got {value}")


def _int32(step: Any) -> Array:
    return jnp.asarray(step).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A schedule that never prunes; the base of the others."""

    def __call__(self, step: Any) -> Array:
        """Return the target density at a step, a float32 scalar."""
        return jnp.ones_like(_int32(step), dtype=jnp.float32)

    def update(self, step: Any) -> Array:
        """Return a bool scalar: are the masks chosen anew at this step?"""
        return jnp.zeros_like(_int32(step), dtype=bool)

    def kept(self, step: Any, total: int) -> Array:
        """Return the target at a step as a number of weights, an int32 scalar.

        Args:
            step: an integer scalar.
            total: the number of prunable weights the density refers to.
        """
        return _counted(self(step), total)


def _counted(density: Array, total: int) -> Array:
    return jnp.asarray(target_count(density, total), jnp.int32)


@dataclasses.dataclass(frozen=True)
class OneShot(Schedule):
    """All at once; see :func:`one_shot`."""

    step: int
    density: float | int

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_step("step", self.step)
        _check_density(self.density)

    def __call__(self, step: Any) -> Array:
        """Return 1 before the step and the target from it on."""
        return jnp.where(_int32(step) < self.step, 1.0, jnp.float32(self.density))

    def update(self, step: Any) -> Array:
        """Return True at the one step."""
        return _int32(step) == self.step

    def kept(self, step: Any, total: int) -> Array:
        """Return round(density * total) from the step on, computed in float64."""
        exact = jnp.int32(target_count(self.density, total))
        return jnp.where(_int32(step) < self.step, jnp.int32(total), exact)


@dataclasses.dataclass(frozen=True)
class Polynomial(Schedule):
    """Gradual pruning; see :func:`polynomial`."""

    begin: int
    end: int
    density: float | int
    power: float | int = 3
    every: int = 1

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_step("begin", self.begin)
        _check_step("end", self.end)
        if self.end <= self.begin:
            raise ValueError(
                f"end: expected more than begin={self.begin}, got {self.end}"
            )
        _check_density(self.density)
        _check_every(self.every)
        if not (math.isfinite(self.power) and self.power > 0):
            raise ValueError(f"power: expected a number > 0, got {self.power}")

    def __call__(self, step: Any) -> Array:
        """Return the polynomial between begin and end, constant outside."""
        gone = (_int32(step) - self.begin).astype(jnp.float32)
        left = 1 - jnp.clip(gone / (self.end - self.begin), 0, 1)
        target = jnp.float32(self.density)
        return jnp.minimum(target + (1 - target) * left ** jnp.float32(self.power), 1)

    def update(self, step: Any) -> Array:
        """Return True every ``every`` steps from begin, and at end."""
        step = _int32(step)
        inside = (step >= self.begin) & (step <= self.end)
        return inside & (((step - self.begin) % self.every == 0) | (step == self.end))

    def kept(self, step: Any, total: int) -> Array:
        """Return the target number; from end on it is exact as for one-shot."""
        exact = jnp.int32(target_count(self.density, total))
        return jnp.where(_int32(step) >= self.end, exact, super().kept(step, total))


@dataclasses.dataclass(frozen=True)
class Periodic(Schedule):
    """A constant share at regular steps; see :func:`periodic`."""

    every: int
    factor: float
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_every(self.every)
        _check_step("begin", self.begin)
        if self.end is not None:
            _check_step("end", self.end)
            if self.end < self.begin:
                raise ValueError(
                    f"end: expected at least begin={self.begin}, got {self.end}"
                )
        if not 0.0 < float(self.factor) < 1.0:
            raise ValueError(f"factor: expected a number in (0, 1), got {self.factor}")

    def __call__(self, step: Any) -> Array:
        """Return factor to the number of prunings done up to this step."""
        step = _int32(step)
        if self.end is not None:
            step = jnp.minimum(step, self.end)
        times = jnp.where(
            step < self.begin, 0, (step - self.begin) // self.every + 1
        ).astype(jnp.float32)
        return jnp.float32(self.factor) ** times

    def update(self, step: Any) -> Array:
        """Return True every ``every`` steps from begin to end."""
        step = _int32(step)
        due = (step >= self.begin) & ((step - self.begin) % self.every == 0)
        return due if self.end is None else due & (step <= self.end)


@dataclasses.dataclass(frozen=True)
class Manual(Schedule):
    """Masks are set from outside; see :func:`manual`."""


def one_shot(step: int, density: float | int) -> OneShot:
    """Return the schedule that prunes once.

    Args:
        step: the update, counted from 0, at which the masks are chosen.
        density: the fraction kept from then on, in [0, 1]; exactly
            round(density * number of prunable weights) are kept.

    Raises:
        ValueError: for a negative step or a density outside [0, 1].
    """
    return OneShot(step, density)


def polynomial(
    begin: int,
    end: int,
    density: float | int,
    *,
    power: float | int = 3,
    every: int = 1,
) -> Polynomial:
    """Return the schedule of gradual pruning, from 1 to ``density``.

    density(t) = d + (1 - d) * (1 - (t - begin) / (end - begin))**power

    Args:
        begin: the first update, counted from 0, at which masks are chosen.
        end: the last one, where the target is reached; more than ``begin``.
        density: the final fraction kept, in [0, 1].
        power: 3 prunes fast at first and slowly at the end; 1 is linear.
        every: updates between two choices of the masks.

    Raises:
        ValueError: for steps out of order, a density outside [0, 1], a power <= 0.

    Reference:
        Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878 (cubic).
    """
    return Polynomial(begin, end, density, power, every)


def periodic(
    every: int, factor: float, *, begin: int = 0, end: int | None = None
) -> Periodic:
    """Return the schedule that multiplies the density by ``factor`` regularly.

    Args:
        every: updates between two prunings.
        factor: the share of the current weights that each pruning keeps, in (0, 1).
        begin: the first pruning's update, counted from 0.
        end: the last update at which to prune; None for no end.

    Raises:
        ValueError: for a factor outside (0, 1), every below 1, end before begin.
    """
    return Periodic(every, factor, begin, end)


def manual() -> Manual:
    """Return the schedule that never chooses masks.

    The masks then come from :func:`pruning.transforms.with_masks`.
    """
    return Manual()
