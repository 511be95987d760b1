"""Gradient ascent at a sequence of fixed q*, each level converged, errors recorded."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import log_ndtr, ndtr

from binary.instances import Instance
from binary.likelihood import ascent_direction, batch_of, fields, spreads
from binary.projection import rescale
from binary.solvers._sweep import initial_magnetisations
from synaptax.typing import Array

_RATE = 0.1


class Ascent(NamedTuple):
    """What ascent reached; leaves of shape (B, L) for L levels of q*.

    Attributes:
        energy_mode: training error of sign(m).
        energy_draw: mean training error of one draw W ~ Q_m.
        loss: mean of -log Phi(Delta) per pattern.
        shift: largest change of an m in the last step.
        steps: int32, steps taken at the level.
    """

    energy_mode: Array
    energy_draw: Array
    loss: Array
    shift: Array
    steps: Array


@functools.partial(jax.jit, static_argnums=(3, 4))
def ascend(
    keys: Array, instances: Instance, levels: Array, most: int, tolerance: float
) -> Ascent:
    """Ascend the likelihood on the sphere of each q*, from one level to the next.

    Args:
        keys: (B,) typed keys.
        instances: a batch of B instances of +-1 inputs.
        levels: (L,) float32, q* in (0, 1), increasing.
        most: steps at one level, at most.
        tolerance: a level ends when no m moves by more.
    """

    def one(row: tuple[Array, Instance]) -> Ascent:
        key, problem = row
        batch = batch_of(problem)
        # Converted here once, as fields() would at each step; the bits are not used.
        batch = batch._replace(inputs=batch.inputs.astype(jnp.float32), packed=None)

        def level(m: Array, q_star: Array) -> tuple[Array, Ascent]:
            def more(carry: tuple[Array, Array, Array]) -> Array:
                return (carry[1] > tolerance) & (carry[2] < most)

            def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                old, _, count = carry
                move = _RATE * ascent_direction(old, batch, radial=False)
                new = rescale(jnp.clip(old + move, -1, 1), q_star)
                return new, jnp.max(jnp.abs(new - old)), count + 1

            start = (rescale(m, q_star), jnp.float32(jnp.inf), jnp.int32(0))
            m, shift, steps = lax.while_loop(more, step, start)
            # All inputs are +-1, so that S = sum_i (1 - m_i^2) is one number.
            delta = fields(m, batch) / jnp.sqrt(spreads(m, None))
            wrong = fields(jnp.where(m >= 0, 1.0, -1.0), batch) < 0
            return m, Ascent(
                energy_mode=jnp.mean(wrong),
                energy_draw=jnp.mean(ndtr(-delta)),
                loss=-jnp.mean(log_ndtr(delta)),
                shift=shift,
                steps=steps,
            )

        m = initial_magnetisations(key, problem.patterns.shape[-1])
        return lax.scan(level, m, levels)[1]

    # One after the other: a vmapped loop computes all of them until the slowest ends.
    return lax.map(one, (keys, instances))
