"""Simulated annealing of the weights themselves."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from binary.bits import sign_product
from binary.solvers.types import Clock, Problem, Solver, check_rate, need_binary
from synaptax.typing import Array


class AnnealingState(NamedTuple):
    """The state of simulated annealing.

    Attributes:
        up: (N,) boolean, where the weights are +1.
        fields: (M,) int32, W . xi of each pattern.
    """

    up: Array
    fields: Array


def annealing(*, energy: str = "distance", rate: float = 1.0) -> Solver:
    """Return Metropolis dynamics of single flips, its temperature lowered to zero.

    An epoch is N flips tried, in random order; the temperature of a run of T epochs is
    ``rate * (1 - t / T)``.

    Args:
        energy: "distance", the sum over wrong patterns of (1 - W . xi) / 2, how many
            flips each is away from being right; or "errors", their number.
        rate: the temperature at the start, the default of the knob of the runs.

    Raises:
        ValueError: for another energy, or a rate that is no temperature.

    Reference:
        Kirkpatrick et al., Optimization by simulated annealing, Science 220 (1983).

    Example:
        >>> solver = binary.annealing(energy="errors", rate=0.5)
        >>> solver.name, solver.rate
        ('annealing of errors', 0.5)
    """
    if energy not in ("distance", "errors"):
        raise ValueError(f"energy: expected 'distance' or 'errors', got {energy!r}")
    return _annealing(energy, check_rate(rate))


@functools.cache  # one solver an option set, so that solve() compiles once
def _annealing(energy: str, rate: float) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> AnnealingState:
        need_binary(problem, "annealing")
        up = jax.random.bernoulli(key, shape=problem.given.patterns.shape[-1:])
        packed = problem.batch.packed
        assert packed is not None  # as need_binary made sure
        return AnnealingState(up, sign_product(packed.rows, up))

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        one = problem.given
        size = one.patterns.shape[-1]
        columns = one.patterns.T
        # Fields are integers: one is above kappa sqrt(N) where it is above its floor.
        bound = jnp.floor(problem.batch.threshold).astype(jnp.int32)
        keys = jax.random.split(key)
        order = jax.random.permutation(keys[0], size)
        # u < exp(-dE / T) is dE < -T log u, which holds at T = 0 too.
        heat = rate * (1 - clock.progress) * jax.random.exponential(keys[1], (size,))

        def cost(field: Array) -> Array:
            # How far a field is below the least right one; a flip moves it by 2.
            short = jnp.maximum(bound - field, -1) + 1
            each = (short + 1) // 2 if energy == "distance" else jnp.minimum(short, 1)
            return jnp.where(one.valid, each, 0)

        def flip(
            carry: AnnealingState, turn: tuple[Array, Array]
        ) -> tuple[AnnealingState, None]:
            index, room = turn
            up = carry.up[index]
            change = jnp.where(up, -2, 2) * columns[index].astype(jnp.int32)
            flipped = carry.fields + change
            rise = jnp.sum(cost(flipped) - cost(carry.fields))
            accepted = rise.astype(jnp.float32) <= room
            return AnnealingState(
                carry.up.at[index].set(up ^ accepted),
                jnp.where(accepted, flipped, carry.fields),
            ), None

        return lax.scan(flip, state, (order, heat))[0]

    def magnetisations(state: AnnealingState) -> Array:
        return jnp.where(state.up, 1.0, -1.0).astype(jnp.float32)

    return Solver(f"annealing of {energy}", init, step, magnetisations, rate)
