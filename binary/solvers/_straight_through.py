"""Straight-through gradient descent: real shadows of binary weights."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from binary._checks import number
from binary.likelihood import Batch, fields, pulls
from binary.solvers._sweep import epoch
from binary.solvers.types import Clock, Problem, Solver, check_rate
from synaptax.checks import check_integer
from synaptax.typing import Array


class StraightThroughState(NamedTuple):
    """The state of straight-through descent.

    Attributes:
        shadow: (N,) float32 in [-1, 1]; the weights are its sign.
    """

    shadow: Array


def straight_through(
    *, batch: int | None = 50, sharpness: float = 1.0, rate: float = 0.1
) -> Solver:
    r"""Return descent of a logistic loss at sign(w), its gradient handed on to w.

    .. math:: w \leftarrow \mathrm{clip}\Bigl( w + \frac{\eta}{\sqrt N}
        \sum_\mu \sigma\bigl(- s\, \xi_\mu \cdot \mathrm{sign}(w) / \sqrt N \bigr)
        \xi_\mu, -1, 1 \Bigr)

    Args:
        batch: patterns an update; None for all.
        sharpness: s > 0, the slope of the loss.
        rate: eta, the default of the knob of the runs.

    Raises:
        ValueError: naming the option out of range.

    Reference:
        Courbariaux et al., BinaryConnect, arXiv 1511.00363.

    Example:
        >>> solver = binary.straight_through(batch=None, rate=0.05)
        >>> solver.name, solver.rate
        ('straight-through', 0.05)
    """
    batch = None if batch is None else check_integer("batch", batch, 1)
    expected = "a number > 0"
    sharpness = number("sharpness", sharpness, expected, lambda x: 0 < x < math.inf)
    return _straight_through(batch, sharpness, check_rate(rate))


@functools.cache  # one solver an option set, so that solve() compiles once
def _straight_through(batch: int | None, sharpness: float, rate: float) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> StraightThroughState:
        size = problem.given.patterns.shape[-1]
        return StraightThroughState(jax.random.uniform(key, (size,), minval=-1))

    def move(
        state: StraightThroughState, patterns: Batch, rate: Array
    ) -> StraightThroughState:
        shadow = state.shadow
        # A sum of N signs is of order sqrt(N): fields and steps do not grow with N.
        root = math.sqrt(shadow.size)
        weights = jnp.where(shadow >= 0, 1.0, -1.0).astype(jnp.float32)
        # Two bits hold the weights exactly, twelve the slopes nearly so.
        field = (fields(weights, patterns, 2) - patterns.threshold) / root
        slope = jnp.where(patterns.valid, jax.nn.sigmoid(-sharpness * field), 0)
        moved = shadow + rate / root * pulls(slope, patterns, 12)
        return StraightThroughState(jnp.clip(moved, -1, 1))

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        del clock
        return epoch(
            key, state, problem.batch, batch, lambda s, rows: move(s, rows, rate)
        )

    name = "straight-through" + (f", batch {batch}" if batch else "")
    return Solver(name, init, step, lambda state: state.shadow, rate)
