"""Draw magnetisations from the measure that replica theory describes, at finite N.

Metropolis steps on the sphere sum m^2 = q* N inside the cube: a rotation of two
magnetisations, an exchange of two, or a change of one sign. All keep the norm, and so
the variance of the fields. Without the sign flips the chain does not equilibrate at
large q*.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import log_ndtr

from binary.instances import Instance, check_instance
from binary.likelihood import is_binary
from binary.projection import rescale
from binary.theory.checks import check_beta, check_q_star
from synaptax.checks import check_integer, check_key
from synaptax.typing import Array

_ANGLE = 0.6


class Samples(NamedTuple):
    """What was measured along chains, one a instance; leaves of shape (B,) or (B, N).

    Attributes:
        loss: mean over time of -log Phi(Delta) per pattern.
        energy_mode: mean training error of sign(m).
        energy_draw: mean training error of one draw W ~ Q_m.
        apart: overlap m . m' / N of the first and last kept states, q if independent.
        accepted: fraction of accepted moves.
        m: the last state.
    """

    loss: Array
    energy_mode: Array
    energy_draw: Array
    apart: Array
    accepted: Array
    m: Array


class _Chain(NamedTuple):
    m: Array
    fields: Array
    log_weight: Array


def _move(
    chain: _Chain,
    key: Array,
    columns: Array,
    root: Array,
    beta: Array,
) -> tuple[_Chain, Array]:
    """Propose one move of a pair and take it or leave it."""
    pick, kind, turn, decide = jax.random.split(key, 4)
    i, j = jax.random.randint(pick, (2,), 0, chain.m.size)
    a, b = chain.m[i], chain.m[j]
    angle = jax.random.uniform(turn, minval=-_ANGLE, maxval=_ANGLE)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    choice = jax.random.randint(kind, (), 0, 4)
    # A sign, an exchange, or (half of the time) a rotation: each is proposed as often
    # as its reverse, so that exp(gain) alone decides.
    new_a = jnp.stack([-a, b, cos * a - sin * b, cos * a - sin * b])[choice]
    new_b = jnp.stack([b, a, sin * a + cos * b, sin * a + cos * b])[choice]
    # Outside the cube the density is 0; a pair of one weight twice is no pair.
    inside = (jnp.abs(new_a) <= 1) & (jnp.abs(new_b) <= 1) & (i != j)
    fields = chain.fields + columns[i] * (new_a - a) + columns[j] * (new_b - b)
    log_weight = beta * jnp.sum(log_ndtr(fields / root))
    gain = log_weight - chain.log_weight
    accepted = inside & (jnp.log(jax.random.uniform(decide)) < gain)
    moved = _Chain(chain.m.at[i].set(new_a).at[j].set(new_b), fields, log_weight)
    state = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), moved, chain)
    return state, accepted


def _sweep(
    chain: _Chain, key: Array, columns: Array, root: Array, beta: Array
) -> tuple[_Chain, Array]:
    """Propose as many moves as there are weights; start from fresh fields."""
    # Fields that are updated move by move add up rounding errors.
    fields = chain.m @ columns
    chain = _Chain(chain.m, fields, beta * jnp.sum(log_ndtr(fields / root)))
    keys = jax.random.split(key, chain.m.size)
    step = functools.partial(_move, columns=columns, root=root, beta=beta)
    chain, accepted = lax.scan(step, chain, keys)
    return chain, jnp.mean(accepted)


def _measure(chain: _Chain, columns: Array, root: Array) -> tuple[Array, ...]:
    delta = chain.fields / root
    wrong = jnp.sign(chain.m) @ columns < 0
    return (
        -jnp.mean(log_ndtr(delta)),
        jnp.mean(wrong),
        jnp.mean(jax.scipy.special.ndtr(-delta)),
    )


@functools.partial(jax.jit, static_argnums=(4, 5))
def _run(
    keys: Array, patterns: Array, q_star: Array, beta: Array, warm: int, kept: int
) -> Samples:
    size = patterns.shape[-1]
    # sqrt(S), the same for all patterns and at all times, as moves keep the norm.
    root = jnp.sqrt(size * (1 - q_star))

    def one(key: Array, rows: Array) -> Samples:
        columns = rows.astype(jnp.float32).T
        first, rest = jax.random.split(key)
        m = rescale(jax.random.uniform(first, (size,), minval=-1, maxval=1), q_star)
        start = _Chain(m, m @ columns, jnp.float32(0))

        def turn(chain: _Chain, key: Array) -> tuple[_Chain, tuple[Array, ...]]:
            chain, accepted = _sweep(chain, key, columns, root, beta)
            return chain, (*_measure(chain, columns, root), accepted)

        keys = jax.random.split(rest, warm + kept)
        middle, _ = lax.scan(turn, start, keys[:warm])
        end, measures = lax.scan(turn, middle, keys[warm:])
        loss, mode, draw, share = (jnp.mean(values) for values in measures)
        return Samples(loss, mode, draw, jnp.mean(middle.m * end.m), share, end.m)

    return jax.vmap(one)(keys, patterns)


def sample(
    key: Array,
    instances: Instance,
    q_star: float,
    beta: float,
    *,
    warm: int = 150,
    kept: int = 150,
) -> Samples:
    """Run one Metropolis chain on each instance.

    Args:
        key: a typed key.
        instances: a batch of +-1 instances of equal load, without margin.
        q_star: mean of m^2, in (0, 1).
        beta: inverse temperature, > 0.
        warm: sweeps (N proposals each) before measuring.
        kept: sweeps measured.

    Raises:
        ValueError: for instances of another kind, or an argument out of range.
    """
    check_key(key)
    check_instance(instances, "instances", (3,))
    plain = is_binary(instances) and not jnp.any(instances.margin != 0)
    if not (plain and jnp.all(instances.valid)):
        raise ValueError("instances: expected +-1 patterns of one load, no margin")
    q_star, beta = check_q_star(q_star), check_beta(beta)
    warm, kept = check_integer("warm", warm, 0), check_integer("kept", kept, 1)
    keys = jax.random.split(key, len(instances.patterns))
    q = jnp.float32(q_star)
    return _run(keys, instances.patterns, q, jnp.float32(beta), warm, kept)
