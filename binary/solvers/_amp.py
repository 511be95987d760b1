"""Reinforced approximate message passing."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from binary._checks import number
from binary.instances import random_signs
from binary.likelihood import Batch, fields, inverse_mills, pulls
from binary.solvers._free import check_planes
from binary.solvers.types import Clock, Problem, Solver, check_rate, need_binary
from synaptax.checks import check_integer
from synaptax.typing import Array

_FLOOR = 1e-6  # of the mean variance
_FADED = 0.6  # the reinforcement where a restart's random field is gone


class AmpState(NamedTuple):
    """The state of reinforced AMP.

    Attributes:
        h: (N,) float32, the local fields; m = tanh h.
        g: (M,) float32, what each pattern said last.
        key: of the random fields of restarts; None without.
    """

    h: Array
    g: Array
    key: Array | None = None


def replies(
    h: Array, g: Array, batch: Batch, planes: int | None
) -> tuple[Array, Array]:
    """Return the fields that patterns send to the weights, and what each pattern says.

    Args:
        h: (N,) local fields of the weights.
        g: (M,) what each pattern said last.
        batch: the patterns.
        planes: bits that products with the patterns keep; None for float32.
    """
    # V = sum_i (1 - m_i^2) / N; omega_mu = m . xi_mu / sqrt(N) - kappa - V g_mu, with
    # the g of the last pass (the Onsager term); both (M,), m (N,).
    m = jnp.tanh(h)
    root = jnp.sqrt(jnp.float32(m.size))
    spread = jnp.maximum(jnp.mean((1 - m) * (1 + m)), _FLOOR)
    field = (fields(m, batch, planes) - batch.threshold) / root
    omega = field - spread * g
    g = inverse_mills(omega / jnp.sqrt(spread)) / jnp.sqrt(spread)
    g = jnp.where(batch.valid, g, 0)
    # -d g_mu / d omega_mu = g_mu (g_mu + omega_mu / V), as dK(x) / dx = -K (K + x)
    reaction = jnp.sum(g * (g + omega / spread)) / m.size
    return pulls(g, batch, planes) / root + m * reaction, g


def amp(
    *,
    planes: int | None = 16,
    rate: float = 1e-3,
    cycle: int | None = None,
    start: float = 0.1,
    field: float = 0.1,
) -> Solver:
    r"""Return approximate message passing with reinforcement.

    .. math::
        V = \frac1N \sum_i (1 - m_i^2), \quad
        \omega_\mu = \frac{m \cdot \xi_\mu}{\sqrt N} - V g_\mu, \quad
        g_\mu \leftarrow \frac{K(\omega_\mu / \sqrt V)}{\sqrt V}, \\
        h_i \leftarrow \frac{1}{\sqrt N} \sum_\mu \xi_{\mu i} g_\mu
        + m_i \frac1N \sum_\mu g_\mu (g_\mu + \omega_\mu / V) + r_t h_i,
        \quad r_t = \min(1, \lambda t)

    It forgets where it starts: runs on one instance with other keys nearly always end
    alike. With ``cycle`` a run that has not solved by then starts anew,
    under another field that the key draws,

    .. math:: r_t = \min(1, r_0 + \lambda t), \qquad
        h_i \leftarrow \dots + \epsilon \max(0, 1 - r_t / 0.6) z_i, \quad z_i = \pm 1

    Args:
        planes: bits that products with the patterns keep; None for float32.
        rate: lambda >= 0, the default of the knob of the runs.
        cycle: passes of one attempt; None for a single one, with r_0 and epsilon 0.
        start: r_0 in [0, 1), of each attempt; of no effect without ``cycle``.
        field: epsilon >= 0; of no effect without ``cycle``.

    Raises:
        ValueError: naming the option that is out of range or no number.

    Reference:
        Braunstein and Zecchina, Learning by message passing in networks of discrete
        synapses, PRL 96, 030201 (2006), for reinforcement; the restarts are ours.

    Example:
        >>> solver = binary.amp(rate=0.01)
        >>> solver.name, solver.rate
        ('reinforced AMP', 0.01)
    """
    cycle = None if cycle is None else check_integer("cycle", cycle, 1)
    start = number("start", start, "a reinforcement in [0, 1)", lambda r: 0 <= r < 1)
    expected = "a finite number >= 0"
    field = number("field", field, expected, lambda x: 0 <= x < math.inf)
    return _amp(check_planes(planes), check_rate(rate), cycle, start, field)


@functools.cache  # one solver an option set, so that solve() compiles once
def _amp(
    planes: int | None, rate: float, cycle: int | None, start: float, field: float
) -> Solver:
    """Return the solver of checked options: 1 and True are one key to a cache."""

    def init(key: Array, problem: Problem) -> AmpState:
        need_binary(problem, "amp")
        count, size = problem.given.patterns.shape
        h = 0.01 * jax.random.normal(key, (size,))
        return AmpState(h, jnp.zeros(count), None if cycle is None else key)

    def once(state: AmpState, batch: Batch, rate: Array, epoch: Array) -> AmpState:
        pull, g = replies(state.h, state.g, batch, planes)
        reinforcement = jnp.minimum(1, rate * epoch.astype(jnp.float32))
        return AmpState(pull + reinforcement * state.h, g)

    def again(
        state: AmpState, batch: Batch, rate: Array, epoch: Array, cycle: int
    ) -> AmpState:
        attempt, turn = epoch // cycle, epoch % cycle
        key = jax.random.fold_in(cast(Array, state.key), attempt)
        # Another field and not another start: five starts solved the same 3 of 20
        # instances at load 0.76 (notes-hard.md).
        lean = field * random_signs(key, state.h.shape).astype(jnp.float32)
        # An attempt starts from its random field alone, and from silent patterns.
        h = jnp.where(turn == 0, lean, state.h)
        pull, g = replies(h, jnp.where(turn == 0, 0, state.g), batch, planes)
        # r_t = r_0 + lambda t
        reinforcement = jnp.minimum(1, start + rate * turn.astype(jnp.float32))
        share = jnp.maximum(0, 1 - reinforcement / _FADED)
        return AmpState(pull + reinforcement * h + share * lean, g, state.key)

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> AmpState:
        del key
        if cycle is None:
            return once(state, problem.batch, rate, clock.epoch)
        return again(state, problem.batch, rate, clock.epoch, cycle)

    name = "reinforced AMP" + ("" if cycle is None else f", attempts of {cycle}")
    return Solver(name, init, step, lambda state: jnp.tanh(state.h), rate)
