"""Replicated ascent: several annealed ascents that a growing pull draws together."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from binary._checks import number
from binary.likelihood import Batch, ascent_direction
from binary.projection import rescale
from binary.solvers._free import check_planes
from binary.solvers._sweep import initial_magnetisations
from binary.solvers.schedules import Schedule, check_schedule, linear, power
from binary.solvers.types import Clock, Problem, Solver, check_rate
from synaptax.checks import check_integer
from synaptax.typing import Array


class ReplicatedState(NamedTuple):
    """The state of replicated ascent.

    Attributes:
        m: (y, N) float32 in [-1, 1], a row a replica.
    """

    m: Array


def replicated(
    replicas: int = 3,
    *,
    pull: float = 1.0,
    schedule: Schedule | None = None,
    coupling: Schedule = linear,
    planes: int | None = 12,
    rate: float = 0.3,
) -> Solver:
    r"""Return ascent of y replicas, each drawn to their common centre.

    .. math::
        m^a \leftarrow \mathrm{clip}\Bigl(m^a + \eta \nabla \mathcal L(m^a)
        + \eta \gamma_t (\bar m - m^a), -1, 1\Bigr), \quad
        \bar m = \frac1y \sum_a m^a

    and each replica is brought to the self-overlap q*(t), as :func:`binary.annealed`
    does. The candidate is the sign of the centre. An epoch costs y of one ascent.

    Args:
        replicas: y >= 1; one is annealed ascent.
        pull: gamma >= 0 at the end, with eta gamma <= 1.
        schedule: progress in (0, 1] to q* in [0, 1]; None for ``binary.power(3.0)``.
        coupling: progress to the share of the pull in [0, 1].
        planes: bits that products with +-1 patterns keep, see :mod:`binary.bits`; None
            for float32.
        rate: eta, the default of the knob of the runs.

    Raises:
        ValueError: naming the option that is out of range, no number, or no schedule.

    Reference:
        Baldassi et al., Unreasonable effectiveness of learning neural networks: from
        accessible states and robust ensembles to basic algorithmic schemes, PNAS 113,
        E7655 (2016), for replicas; remembered, not read. Ascent on m is ours.

    Example:
        >>> solver = binary.replicated(5, pull=2.0)
        >>> solver.name, solver.rate
        ('5 replicas, pull 2', 0.3)
    """
    replicas, planes = check_integer("replicas", replicas, 1), check_planes(planes)
    pull, rate = number("pull", pull), check_rate(rate)
    # m + eta gamma (centre - m): with more than 1 a replica passes the centre.
    if pull < 0 or rate * pull > 1:
        raise ValueError(
            f"pull: expected a number >= 0, at most 1 / rate = "
            f"{1 / rate if rate else math.inf:g}, got {pull:g}"
        )
    schedule = power(3.0) if schedule is None else schedule
    check_schedule(schedule)
    check_schedule(coupling, "coupling")
    return _replicated(replicas, pull, schedule, coupling, planes, rate)


@functools.cache  # one solver an option set, so that solve() compiles once
def _replicated(
    replicas: int,
    pull: float,
    schedule: Schedule,
    coupling: Schedule,
    planes: int | None,
    rate: float,
) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> ReplicatedState:
        size = problem.batch.inputs.shape[-1]
        keys = jax.random.split(key, replicas)
        return ReplicatedState(
            jax.vmap(lambda k: initial_magnetisations(k, size))(keys)
        )

    def move(m: Array, centre: Array, batch: Batch, rate: Array, now: Array) -> Array:
        radial = batch.squares is not None  # else it moves the norm, which is imposed
        slope = ascent_direction(m, batch, radial=radial, planes=planes)
        return jnp.clip(m + rate * (slope + now * (centre - m)), -1, 1)

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> ReplicatedState:
        del key
        overlap = jnp.clip(schedule(clock.progress), 0, 1)
        now = pull * jnp.clip(coupling(clock.progress), 0, 1)
        centre = jnp.mean(state.m, axis=0)
        moved = jax.vmap(move, (0, None, None, None, None))(
            state.m, centre, problem.batch, rate, now
        )
        return ReplicatedState(jax.vmap(rescale, (0, None))(moved, overlap))

    name = f"{replicas} replicas, pull {pull:g}"
    m = lambda state: jnp.mean(state.m, axis=0)
    return Solver(name, init, step, m, rate, largest=1 / pull if pull else math.inf)
