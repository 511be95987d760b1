"""Gradient ascent of a committee machine: K units of binary weights, their majority."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from binary.likelihood import Batch, fields, log_phi, pulls
from binary.network.committee import check_units, votes
from binary.network.moments import FLOOR, Moments
from binary.projection import rescale
from binary.solvers._free import check_planes
from binary.solvers._sweep import initial_magnetisations
from binary.solvers.schedules import Schedule, check_schedule
from binary.solvers.types import Clock, Problem, Solver, check_rate
from synaptax.checks import check_integer
from synaptax.typing import Array


class CommitteeState(NamedTuple):
    """The state of a committee's ascent.

    Attributes:
        m: (N, K) float32 in [-1, 1], a column a unit.
    """

    m: Array


def committee(
    units: int = 3,
    *,
    schedule: Schedule | None = None,
    planes: int | None = None,
    rate: float = 0.3,
) -> Solver:
    r"""Return gradient ascent on the magnetisations of all units of a committee.

    .. math:: m \leftarrow \mathrm{clip}\Bigl(m + \eta \nabla_m \sum_\mu \log \Phi
        \Bigl(\frac{\sum_k a_k}{\sqrt{\sum_k (1 - a_k^2)}}\Bigr), -1, 1\Bigr)

    with the mean signs a_k of :mod:`binary.network.committee`; with a schedule, each
    unit is then brought to the self-overlap q*, as :func:`binary.annealed` does.

    The load of an instance is patterns per input, M / N, whatever K.

    Args:
        units: K, odd.
        schedule: progress in (0, 1] to q* in [0, 1]; None leaves q* free.
        planes: bits of m and of its pull that products with +-1 patterns keep, see
            :mod:`binary.bits`; None for float32.
        rate: eta, the default of the knob of the runs.

    Raises:
        ValueError: for an even number of units.

    Reference:
        Baldassi et al., arXiv 1710.09825, for a unit; the vote of units is ours.

    Example:
        >>> solver = binary.committee(3)
        >>> solver.units, solver.rate
        (3, 0.3)
    """
    units = check_integer("units", units)
    check_units(units, "units")
    if schedule is not None:
        check_schedule(schedule)
    return _committee(units, schedule, check_planes(planes), check_rate(rate))


@functools.cache  # one solver an option set, so that solve() compiles once
def _committee(
    units: int, schedule: Schedule | None, planes: int | None, rate: float
) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> CommitteeState:
        size = problem.batch.inputs.shape[-1]
        m = jax.vmap(lambda k: initial_magnetisations(k, size), out_axes=1)(
            jax.random.split(key, units)
        )
        return CommitteeState(m)

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> CommitteeState:
        del key
        slope = ascent_direction(state.m, problem.batch, planes)
        m = jnp.clip(state.m + rate * slope, -1, 1)
        if schedule is not None:
            overlap = jnp.clip(schedule(clock.progress), 0, 1)
            m = jax.vmap(rescale, (1, None), out_axes=1)(m, overlap)
        return CommitteeState(m)

    name = f"committee of {units}, {'free' if schedule is None else 'annealed'}"
    return Solver(name, init, step, lambda state: state.m, rate, units=units)


def ascent_direction(m: Array, batch: Batch, planes: int | None) -> Array:
    """Return the gradient of the likelihood; labels are in the patterns.

    The chain rule stands at the fields, so that products may be those of bits.

    Args:
        m: (N, K) magnetisations.
        batch: the patterns.
        planes: bits that products with packed patterns keep; None for float32.
    """
    single = (1 - m) * (1 + m)
    if batch.squares is None:
        variance = jnp.sum(single, axis=0, keepdims=True)  # (1, K): x^2 = 1
    else:
        variance = batch.squares @ single
    # mu = X m, a column a unit: (M, K)
    mean = jax.vmap(lambda one: fields(one, batch, planes), 1, 1)(m)

    def likelihood(mean: Array, variance: Array) -> Array:
        floored = jnp.maximum(variance, FLOOR * len(m))
        each = log_phi(votes(Moments(mean, floored)))
        return jnp.sum(jnp.where(batch.valid, each, 0))

    pull, widen = jax.grad(likelihood, (0, 1))(mean, variance)
    # dL/dm = xi^T dL/dmu - 2 m (xi^2)^T dL/dv
    align = jax.vmap(lambda one: pulls(one, batch, planes), 1, 1)(pull)
    spread = widen if batch.squares is None else batch.squares.T @ widen
    return align - 2 * m * spread
