"""Focusing belief propagation: replicas that a growing coupling draws together."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from binary._checks import number
from binary.solvers._amp import AmpState, replies
from binary.solvers._free import check_planes
from binary.solvers.schedules import Schedule, check_schedule, linear
from binary.solvers.types import Clock, Problem, Solver, need_binary
from synaptax.typing import Array

_TOP = 0.9999  # of rho, where y is 10,000


def focusing(
    *, schedule: Schedule = linear, planes: int | None = 12, rate: float = 0.8
) -> Solver:
    r"""Return message passing for y replicas, each drawn to their common centre.

    With a_i the field that patterns send to weight i, as :func:`binary.amp` has it, the
    other replicas, all alike, add a field f_i through the centre:

    .. math::
        f_i = \tanh^{-1}\bigl(\tanh\gamma \tanh((y - 1)
        \tanh^{-1}(\tanh\gamma \tanh a_i))\bigr), \quad
        \tanh^2 \gamma = \rho, \quad y - 1 = \frac1{1 - \rho}, \\
        h_i \leftarrow (1 - \rho) (a_i + f_i) + \rho h_i

    rho rises with the schedule, and coupling and replicas with it. The share rho of
    the old field is ours: where f is small it makes a step that of reinforcement, h <-
    a + rho h, and without it the iteration leaves its fixed point near rho = 0.2 at N =
    1001 and load 0.74.

    Args:
        schedule: progress in (0, 1] to the share in [0, 1] of the largest rho.
        planes: bits that products with the patterns keep; None for float32.
        rate: the largest rho in [0, 1], the default of the knob of the runs.

    Raises:
        ValueError: naming the option that is out of range, no number, or no schedule.

    Reference:
        Baldassi et al., Unreasonable effectiveness of learning neural networks: from
        accessible states and robust ensembles to basic algorithmic schemes, PNAS 113,
        E7655 (2016), for focusing; remembered, not read.

    Example:
        >>> solver = binary.focusing()
        >>> solver.name, solver.rate
        ('focusing AMP', 0.8)
    """
    check_schedule(schedule)
    rate = number("rate", rate, "the largest rho in [0, 1]", lambda x: 0 <= x <= 1)
    return _focusing(schedule, check_planes(planes), rate)


@functools.cache  # one solver an option set, so that solve() compiles once
def _focusing(schedule: Schedule, planes: int | None, rate: float) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> AmpState:
        need_binary(problem, "focusing")
        count, size = problem.given.patterns.shape
        return AmpState(0.01 * jax.random.normal(key, (size,)), jnp.zeros(count))

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> AmpState:
        del key
        a, g = replies(state.h, state.g, problem.batch, planes)
        rho = jnp.clip(rate * schedule(clock.progress), 0, _TOP)
        h = (1 - rho) * (a + through_centre(a, rho)) + rho * state.h
        return AmpState(h, g)

    m = lambda state: jnp.tanh(state.h)
    return Solver("focusing AMP", init, step, m, rate, largest=1.0)


def through_centre(a: Array, rho: Array) -> Array:
    """Return f, the field of the other replicas on a weight that patterns send a."""
    coupling = jnp.sqrt(rho)  # tanh gamma
    # tanh(a) may round to 1; the coupling, below 1, keeps atanh finite.
    others = jnp.arctanh(coupling * jnp.tanh(a)) / (1 - rho)
    return jnp.arctanh(coupling * jnp.tanh(others))
