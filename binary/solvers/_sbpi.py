"""SBPI: integer hidden weights that learn online, as belief propagation suggests."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from binary._checks import number
from binary.solvers.types import Clock, Problem, Solver, need_binary
from synaptax.checks import check_integer
from synaptax.typing import Array


class SbpiState(NamedTuple):
    """The state of SBPI.

    Attributes:
        hidden: (N,) int16, odd, within +-bound; the weights are its sign.
    """

    hidden: Array


def sbpi(*, bound: int = 61, threshold: float = 1, rate: float = 0.3) -> Solver:
    """Return stochastic belief-propagation-inspired learning.

    Patterns are shown one at a time in random order. A wrong one moves every hidden
    weight by 2 towards it; one that is right by no more than ``threshold`` moves, with
    probability p_s, those that already agree with it.

    Args:
        bound: odd, largest hidden magnitude; should grow like sqrt(N).
        threshold: the field W . x at or below which a right pattern is barely so.
        rate: p_s, the default of the knob of the runs.

    Raises:
        ValueError: for a bound that is not odd and positive or does not fit int16, a
            threshold that is no number or a rate that is no probability.

    Reference:
        Baldassi et al., Efficient supervised learning in networks with binary
        synapses, PNAS 104 (2007).

    Example:
        >>> solver = binary.sbpi(bound=21)  # close to 1.93 sqrt(N) at N = 121
        >>> solver.name, solver.rate
        ('SBPI, |h| <= 21', 0.3)
    """
    bound, threshold = check_integer("bound", bound), number("threshold", threshold)
    rate = number("rate", rate, "a probability in [0, 1]", lambda p: 0 <= p <= 1)
    # 32001 + 2 fits int16, before the clip.
    if bound % 2 == 0 or not 0 < bound <= 32001:
        raise ValueError(f"bound: expected an odd number in [1, 32001], got {bound}")
    return _sbpi(bound, threshold, rate)


@functools.cache  # one solver an option set, so that solve() compiles once
def _sbpi(bound: int, threshold: float, rate: float) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> SbpiState:
        need_binary(problem, "sbpi")
        up = jax.random.bernoulli(key, shape=problem.given.patterns.shape[-1:])
        return SbpiState(jnp.where(up, 1, -1).astype(jnp.int16))

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        del clock
        one = problem.given
        count = one.valid.size
        keys = jax.random.split(key)
        order = jax.random.permutation(keys[0], count)
        lucky = jax.random.uniform(keys[1], (count,)) < rate

        def show(hidden: Array, turn: tuple[Array, Array]) -> tuple[Array, None]:
            row = one.patterns[turn[0]]
            # Hidden weights are odd and move by 2: none is 0. W . xi = 2 |agree| - N.
            agree = (hidden > 0) == (row > 0)
            field = 2 * jnp.sum(agree, dtype=jnp.int32) - row.size
            field = field.astype(jnp.float32)  # exact below 2^24 inputs
            wrong = field <= problem.batch.threshold
            barely = ~wrong & (field <= threshold) & turn[1]
            moved = (wrong | (barely & agree)) & one.valid[turn[0]]
            # h <- h + 2 xi: labels are in the patterns, so this is towards the pattern.
            pushed = hidden + jnp.where(moved, 2 * row, 0).astype(jnp.int16)
            return jnp.clip(pushed, -bound, bound), None

        return SbpiState(lax.scan(show, state.hidden, (order, lucky))[0])

    def magnetisations(state: SbpiState) -> Array:
        return state.hidden.astype(jnp.float32) / bound

    name = f"SBPI, |h| <= {bound}"
    return Solver(name, init, step, magnetisations, rate, largest=1.0)
