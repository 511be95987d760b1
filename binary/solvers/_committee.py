"""Gradient ascent of a committee machine: K units of binary weights, their majority."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from binary.network.committee import check_units, stabilities
from binary.projection import rescale
from binary.solvers._sweep import initial_magnetisations
from binary.solvers.schedules import Schedule
from binary.solvers.types import Clock, Problem, Solver
from synaptax.typing import Array


class CommitteeState(NamedTuple):
    """The state of a committee's ascent.

    Attributes:
        m: (N, K) float32 in [-1, 1], a column a unit.
    """

    m: Array


@functools.cache  # one solver an option set, so that solve() compiles once
def committee(
    units: int = 3, *, schedule: Schedule | None = None, rate: float = 0.3
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
    check_units(units)

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
        batch = problem.batch
        right = jnp.ones(batch.valid.shape, jnp.float32)  # labels are in the patterns

        def likelihood(m: Array) -> Array:
            each = log_ndtr(stabilities(m, batch.inputs, right))
            return jnp.sum(jnp.where(batch.valid, each, 0))

        m = jnp.clip(state.m + rate * jax.grad(likelihood)(state.m), -1, 1)
        if schedule is not None:
            overlap = jnp.clip(schedule(clock.progress), 0, 1)
            m = jax.vmap(rescale, (1, None), out_axes=1)(m, overlap)
        return CommitteeState(m)

    name = f"committee of {units}, {'free' if schedule is None else 'annealed'}"
    return Solver(name, init, step, lambda state: state.m, rate, units=units)
