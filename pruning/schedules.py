"""When to prune and how much: a target density for each step.

A schedule is a frozen dataclass. ``schedule(step)`` is the target density,
``schedule.update(step)`` says whether the masks are to be chosen anew at that step,
and ``schedule.kept(step, total)`` is the target as a number of weights. The step
counts updates from 0. ``schedule.last(step)`` is the last step at which masks were
chosen, so that a state which comes from another schedule can catch up.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import jax.numpy as jnp
import numpy as np

from pruning._select import LIMIT, target_count
from pruning._transform import density_or_nan, nan_unless
from synaptax.checks import check_number
from synaptax.typing import Array


def _check_step(name: str, value: Any, least: int = 0) -> None:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(value) < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    if int(value) > LIMIT:
        raise ValueError(f"{name}: expected an integer below 2**31, got {value}")


def _check_density(value: Any) -> None:
    check_number("density", value, "a number in [0, 1]", lambda share: 0 <= share <= 1)


def _int32(step: Any) -> Array:
    """Return a step as int32, held at the ends of its range instead of wrapping."""
    if not isinstance(step, Array):
        step = np.clip(np.asarray(step), -LIMIT, LIMIT)
    elif step.dtype.itemsize > 4:
        step = jnp.clip(step, -LIMIT, LIMIT)
    return jnp.asarray(step, jnp.int32)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A schedule that never prunes; the base of the others."""

    def __call__(self, step: Any) -> Array:
        """Return the target density at a step, a float32 scalar."""
        return jnp.ones_like(_int32(step), dtype=jnp.float32)

    def update(self, step: Any) -> Array:
        """Return a bool scalar: are the masks chosen anew at this step?"""
        return jnp.zeros_like(_int32(step), dtype=bool)

    def last(self, step: Any) -> Array:
        """Return the last step up to this one at which masks are chosen; -1 if none.

        A schedule that says no more than :meth:`update` does not look back.
        """
        return jnp.where(self.update(step), _int32(step), -1)

    def kept(self, step: Any, total: int) -> Array:
        """Return the target at a step as a number of weights, an int32 scalar.

        Args:
            step: an integer scalar.
            total: the number of prunable weights the density refers to.
        """
        return _counted(self(step), total)


def _counted(density: Any, total: int) -> Array:
    """Return round(density * total), an int32 scalar."""
    if total > LIMIT:
        raise ValueError(f"total: expected a number below 2**31, got {total}")
    return jnp.asarray(target_count(density, total), jnp.int32)


@dataclasses.dataclass(frozen=True)
class _Recurring(Schedule):
    """A schedule that knows the last of its steps; it acts at that step itself."""

    def update(self, step: Any) -> Array:
        """Return True at each of its steps."""
        return self.last(step) == _int32(step)

    def last(self, step: Any) -> Array:
        """Return its last step up to this one; -1 before the first."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class OneShot(_Recurring):
    """All at once; see :func:`one_shot`."""

    step: int
    density: float | int | Array

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_step("step", self.step)
        _check_density(self.density)

    def __call__(self, step: Any) -> Array:
        """Return 1 before the step and the target from it on."""
        return jnp.where(_int32(step) < self.step, 1.0, density_or_nan(self.density))

    def last(self, step: Any) -> Array:
        """Return the one step, from it on."""
        return jnp.where(_int32(step) < self.step, -1, self.step)

    def kept(self, step: Any, total: int) -> Array:
        """Return round(density * total) from the step on, computed in float64."""
        exact = _counted(self.density, total)
        return jnp.where(_int32(step) < self.step, jnp.int32(total), exact)


@dataclasses.dataclass(frozen=True)
class Polynomial(_Recurring):
    """Gradual pruning; see :func:`polynomial`."""

    begin: int
    end: int
    density: float | int | Array
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
        _check_step("every", self.every, 1)
        good = lambda power: math.isfinite(power) and power > 0
        check_number("power", self.power, "a number > 0", good)

    def __call__(self, step: Any) -> Array:
        """Return the polynomial between begin and end, constant outside."""
        # d(t) = d + (1 - d) (1 - (t - begin) / (end - begin))^power
        steps = (_int32(step) - self.begin).astype(jnp.float32)
        remainder = 1 - jnp.clip(steps / (self.end - self.begin), 0, 1)
        target = density_or_nan(self.density)
        # At the beginning d + (1 - d) may round to more than 1, which no density is.
        return jnp.minimum(
            target + (1 - target) * remainder ** jnp.float32(self.power), 1
        )

    def last(self, step: Any) -> Array:
        """Return the last of every ``every`` steps from begin, or end from then on."""
        step = _int32(step)
        regular = step - jnp.maximum(step - self.begin, 0) % self.every
        regular = jnp.where(step >= self.end, self.end, regular)
        return jnp.where(step < self.begin, -1, regular)

    def kept(self, step: Any, total: int) -> Array:
        """Return the target number; from end on it is exact as for one-shot."""
        exact = _counted(self.density, total)
        return jnp.where(_int32(step) >= self.end, exact, super().kept(step, total))


@dataclasses.dataclass(frozen=True)
class Periodic(_Recurring):
    """A constant share at regular steps; see :func:`periodic`."""

    every: int
    factor: float | Array
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_step("every", self.every, 1)
        _check_step("begin", self.begin)
        if self.end is not None:
            _check_step("end", self.end)
            if self.end < self.begin:
                raise ValueError(
                    f"end: expected at least begin={self.begin}, got {self.end}"
                )
        check_number(
            "factor", self.factor, "a number in (0, 1)", lambda share: 0 < share < 1
        )

    def __call__(self, step: Any) -> Array:
        """Return factor to the number of prunings done up to this step."""
        step = self.last(step)
        # + 1 in float32: at the end of int32 the integer would wrap.
        times = ((step - self.begin) // self.every).astype(jnp.float32) + 1
        share = jnp.asarray(self.factor, jnp.float32)
        share = nan_unless((share > 0) & (share < 1), share)
        return jnp.where(step < 0, jnp.float32(1), share**times)

    def last(self, step: Any) -> Array:
        """Return the last of every ``every`` steps from begin to end."""
        step = _int32(step)
        bounded = step if self.end is None else jnp.minimum(step, self.end)
        steps = jnp.maximum(bounded - self.begin, 0)
        return jnp.where(step < self.begin, -1, bounded - steps % self.every)


@dataclasses.dataclass(frozen=True)
class Alternating(_Recurring):
    """Sparse and dense phases in turn; see :func:`alternating`."""

    begin: int
    end: int
    phase: int
    density: float | int | Array

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_step("begin", self.begin)
        _check_step("phase", self.phase, 1)
        _check_step("end", self.end, self.begin)
        _check_density(self.density)

    def __call__(self, step: Any) -> Array:
        """Return the density in sparse phases and from end on; 1 elsewhere."""
        at = self.last(step)
        odd = (at - self.begin) // self.phase % 2 == 1
        dense = (at < 0) | (odd & (at < self.end))
        return jnp.where(dense, 1.0, density_or_nan(self.density))

    def last(self, step: Any) -> Array:
        """Return the beginning of the phase."""
        step = _int32(step)
        steps = jnp.maximum(step - self.begin, 0)
        at = jnp.where(step >= self.end, self.end, step - steps % self.phase)
        return jnp.where(step < self.begin, -1, at)

    def kept(self, step: Any, total: int) -> Array:
        """Return the target number, in sparse phases exact as for one-shot."""
        exact = _counted(self.density, total)
        return jnp.where(self(step) < 1, exact, jnp.int32(total))


@dataclasses.dataclass(frozen=True)
class Manual(Schedule):
    """Masks are set from outside; see :func:`manual`."""


def one_shot(step: int, density: float | int | Array) -> OneShot:
    """Return the schedule that prunes once.

    Args:
        step: the update, counted from 0, at which the masks are chosen.
        density: the fraction kept from then on, in [0, 1]; exactly
            round(density * number of prunable weights) are kept. It may be traced
            (``vmap`` over densities).

    Raises:
        ValueError: for a negative step or a density outside [0, 1].

    Example:
        >>> schedule = pruning.one_shot(100, 0.1)
        >>> [round(float(schedule(step)), 3) for step in (99, 100)]
        [1.0, 0.1]
    """
    return OneShot(step, density)


def polynomial(
    begin: int,
    end: int,
    density: float | int | Array,
    *,
    power: float | int = 3,
    every: int = 1,
) -> Polynomial:
    """Return the schedule of gradual pruning, from 1 to ``density``.

    density(t) = d + (1 - d) * (1 - (t - begin) / (end - begin))**power

    Args:
        begin: the first update, counted from 0, at which masks are chosen.
        end: the last one, where the target is reached; more than ``begin``.
        density: the final fraction kept, in [0, 1]; it may be traced.
        power: 3 prunes fast at first and slowly at the end; 1 is linear.
        every: updates between two choices of the masks.

    Raises:
        ValueError: for steps out of order, a density outside [0, 1], a power <= 0.

    Reference:
        Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878 (cubic).

    Example:
        >>> schedule = pruning.polynomial(begin=0, end=100, density=0.1)
        >>> [round(float(schedule(step)), 3) for step in (0, 50, 100)]
        [1.0, 0.213, 0.1]
    """
    return Polynomial(begin, end, density, power, every)


def periodic(
    every: int, factor: float | Array, *, begin: int = 0, end: int | None = None
) -> Periodic:
    """Return the schedule that multiplies the density by ``factor`` regularly.

    Args:
        every: updates between two prunings.
        factor: the share of the current weights that each pruning keeps, in (0, 1);
            it may be traced.
        begin: the first pruning's update, counted from 0.
        end: the last update at which to prune; None for no end.

    Raises:
        ValueError: for a factor outside (0, 1), every below 1, end before begin.

    Example:
        >>> schedule = pruning.periodic(every=10, factor=0.5)
        >>> [float(schedule(step)) for step in (10, 20)]
        [0.25, 0.125]
    """
    return Periodic(every, factor, begin, end)


def alternating(
    begin: int, end: int, phase: int, density: float | int | Array
) -> Alternating:
    """Return the schedule of AC/DC: sparse and dense phases in turn, sparse at the end.

    It is for ``prune(..., regrow=True)``, better ``pruned``, whose moments of weights
    that return are clean. They start at 0.

    Args:
        begin: the first update of the first sparse phase; before it all is dense.
        end: from this update on sparse, to be chosen well before training ends.
        phase: updates in a phase.
        density: the fraction kept in sparse phases, in [0, 1]; it may be traced.

    Raises:
        ValueError: for steps out of order or a density outside [0, 1].

    Reference:
        Peste et al., arXiv 2106.12379 (AC/DC).

    Example:
        >>> schedule = pruning.alternating(begin=10, end=100, phase=10, density=0.1)
        >>> [round(float(schedule(step)), 3) for step in (0, 10, 20)]
        [1.0, 0.1, 1.0]
    """
    return Alternating(begin, end, phase, density)


def manual() -> Manual:
    """Return the schedule that never chooses masks.

    The masks then come from :func:`pruning.transforms.with_masks`.

    Example:
        >>> tx = pruning.prune(pruning.manual())  # masks come by with_masks alone
        >>> params = {"w": jnp.ones((2, 2))}
        >>> state = pruning.with_masks(tx.init(params), {"w": jnp.eye(2, dtype=bool)})
        >>> updates, state = tx.update({"w": jnp.zeros((2, 2))}, state, params)
        >>> optax.apply_updates(params, updates)["w"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return Manual()
