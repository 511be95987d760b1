"""Reinforced approximate message passing."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from binary.likelihood import fields, inverse_mills, pulls
from binary.solvers.types import Clock, Problem, Solver, need_binary
from synaptax.typing import Array

_FLOOR = 1e-6  # of the mean variance


class AmpState(NamedTuple):
    """The state of reinforced AMP.

    Attributes:
        h: (N,) float32, the local fields; m = tanh h.
        g: (M,) float32, what each pattern said last.
    """

    h: Array
    g: Array


@functools.cache
def amp(*, planes: int | None = 16, rate: float = 1e-3) -> Solver:
    r"""Return approximate message passing with reinforcement.

    .. math::
        V = \frac1N \sum_i (1 - m_i^2), \quad
        \omega_\mu = \frac{m \cdot \xi_\mu}{\sqrt N} - V g_\mu, \quad
        g_\mu \leftarrow \frac{K(\omega_\mu / \sqrt V)}{\sqrt V}, \\
        h_i \leftarrow \frac{1}{\sqrt N} \sum_\mu \xi_{\mu i} g_\mu
        + m_i \frac1N \sum_\mu g_\mu (g_\mu + \omega_\mu / V) + r_t h_i,
        \quad r_t = \min(1, \lambda t)

    Args:
        planes: bits that products with the patterns keep; None for float32.
        rate: lambda, the default of the knob of the runs.

    Reference:
        Braunstein and Zecchina, Learning by message passing in networks of discrete
        synapses, PRL 96, 030201 (2006), for reinforcement.

    Example:
        >>> solver = binary.amp(rate=0.01)
        >>> solver.name, solver.rate
        ('reinforced AMP', 0.01)
    """

    def init(key: Array, problem: Problem) -> AmpState:
        need_binary(problem, "amp")
        count, size = problem.given.patterns.shape
        return AmpState(0.01 * jax.random.normal(key, (size,)), jnp.zeros(count))

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        del key
        batch = problem.batch
        m = jnp.tanh(state.h)
        root = jnp.sqrt(jnp.float32(m.size))
        spread = jnp.maximum(jnp.mean((1 - m) * (1 + m)), _FLOOR)
        field = (fields(m, batch, planes) - batch.threshold) / root
        omega = field - spread * state.g
        g = inverse_mills(omega / jnp.sqrt(spread)) / jnp.sqrt(spread)
        g = jnp.where(batch.valid, g, 0)
        reaction = jnp.sum(g * (g + omega / spread)) / m.size
        reinforcement = jnp.minimum(1, rate * clock.epoch.astype(jnp.float32))
        h = pulls(g, batch, planes) / root + m * reaction + reinforcement * state.h
        return AmpState(h, g)

    return Solver("reinforced AMP", init, step, lambda state: jnp.tanh(state.h), rate)
