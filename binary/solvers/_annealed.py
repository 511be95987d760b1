"""Gradient ascent on a sphere of magnetisations whose radius is raised by hand."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp

from binary.likelihood import Batch, ascent_direction
from binary.projection import rescale
from binary.solvers._free import check_options
from binary.solvers._sweep import epoch, initial_magnetisations
from binary.solvers.schedules import Schedule, check_schedule, linear
from binary.solvers.types import Clock, Problem, Solver
from synaptax.typing import Array


class AnnealedState(NamedTuple):
    """The state of annealed ascent.

    Attributes:
        m: (N,) float32 in [-1, 1].
        velocity: (N,) float32, the momentum; None without.
    """

    m: Array
    velocity: Array | None


def annealed(
    *,
    schedule: Schedule = linear,
    batch: int | None = None,
    momentum: float = 0.0,
    planes: int | None = 12,
    rate: float = 0.1,
) -> Solver:
    r"""Return gradient ascent with an imposed self-overlap q*.

    .. math:: m \leftarrow \mathrm{clip}(m + \eta \nabla_m \mathcal L), \qquad
        m \leftarrow \mathrm{clip}(c m) \text{ with } \frac1N \sum_i m_i^2 = q^*(t)

    The gradient through the variance only moves the norm, which is imposed; it is left
    out for +-1 inputs.

    Args:
        schedule: progress in (0, 1] to q* in [0, 1]; a function of traced values.
        batch: patterns an update; None for all. q* is imposed after each update.
        momentum: heavy ball in [0, 1).
        planes: bits of m and of K that full-batch products with +-1 patterns keep, see
            :mod:`binary.bits`; None for float32.
        rate: eta, the default of the knob of the runs.

    Raises:
        ValueError: naming the option out of range.

    Reference:
        Baldassi et al., arXiv 1710.09825.

    Example:
        >>> solver = binary.annealed(schedule=binary.power(4.0), rate=0.5)
        >>> solver.rate, solver is binary.annealed(schedule=binary.power(4.0), rate=0.5)
        (0.5, True)
    """
    check_schedule(schedule)
    batch, planes, momentum, rate = check_options(batch, planes, momentum, rate)
    return _annealed(schedule, batch, momentum, planes, rate)


@functools.cache  # one solver an option set, so that solve() compiles once
def _annealed(
    schedule: Schedule,
    batch: int | None,
    momentum: float,
    planes: int | None,
    rate: float,
) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> AnnealedState:
        m = initial_magnetisations(key, problem.batch.inputs.shape[-1])
        return AnnealedState(m, jnp.zeros_like(m) if momentum else None)

    def move(
        state: AnnealedState, patterns: Batch, rate: Array, overlap: Array
    ) -> AnnealedState:
        # Of real inputs it is m_i times sum_mu K Delta xi_i^2 / S, not parallel to m.
        radial = patterns.squares is not None
        slope = ascent_direction(state.m, patterns, radial=radial, planes=planes)
        velocity = rate * slope
        if state.velocity is not None:
            velocity = velocity + momentum * state.velocity
        # In this order: the scale is found for what the cube leaves of the step.
        m = rescale(jnp.clip(state.m + velocity, -1, 1), overlap)
        return AnnealedState(m, velocity if momentum else None)

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        overlap = jnp.clip(schedule(clock.progress), 0, 1)
        return epoch(
            key,
            state,
            problem.batch,
            batch,
            lambda s, rows: move(s, rows, rate, overlap),
        )

    parts = ["annealed"] + ([f"batch {batch}"] if batch else [])
    parts += [f"momentum {momentum:g}"] if momentum else []
    return Solver(", ".join(parts), init, step, lambda state: state.m, rate)
