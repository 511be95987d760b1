"""Replicated ascent: a step by hand, one replica is annealed ascent, and it solves."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr

import binary
from binary import solvers
from binary.likelihood import batch_of

ONE = binary.storage(jax.random.key(0), 101, 0.5)
PROBLEM = solvers.Problem(ONE, batch_of(ONE))
CLOCK = solvers.Clock(jnp.int32(0), jnp.float32(0.4), jnp.int32(7))
REPLICATED = inspect.unwrap(solvers.replicated)


def scaled(m, overlap):
    """Return clip(c m) of the self-overlap asked for, by bisection."""
    low, high = 0.0, 1e9
    for _ in range(100):
        middle = (low + high) / 2
        small = np.mean(np.clip(middle * m, -1, 1) ** 2) < overlap
        low, high = (middle, high) if small else (low, middle)
    return np.clip(low * m, -1, 1)


def test_a_step_is_ascent_and_a_pull_to_the_centre():
    solver = solvers.replicated(3, pull=2.0, planes=None)
    state = solver.init(jax.random.key(1), PROBLEM)
    step = jax.jit(solver.step)
    moved = step(jax.random.key(2), state, PROBLEM, jnp.float32(0.3), CLOCK)
    m, x = np.asarray(state.m, float), np.asarray(ONE.patterns, float)
    assert m.shape == (3, 101) and not np.array_equal(m[0], m[1])
    for before, after in zip(m, np.asarray(moved.m), strict=True):
        root = np.sqrt(np.sum(1 - before**2))
        delta = x @ before / root
        pull = np.exp(-(delta**2) / 2 - log_ndtr(delta)) / np.sqrt(2 * np.pi)
        drawn = 2.0 * 0.4 * (m.mean(axis=0) - before)
        wanted = np.clip(before + 0.3 * (x.T @ pull / root + drawn), -1, 1)
        np.testing.assert_allclose(after, scaled(wanted, 1 - 0.6**3), atol=1e-5)
    np.testing.assert_allclose(solver.magnetisations(moved), moved.m.mean(0), 1e-6)


def test_one_replica_is_annealed_ascent():
    one = solvers.replicated(1, pull=2.0, rate=0.3)
    alone = solvers.annealed(schedule=binary.power(3.0), rate=0.3)
    start = one.init(jax.random.key(1), PROBLEM)
    plain = alone.init(jax.random.key(1), PROBLEM)._replace(m=start.m[0])
    rate, key = jnp.float32(0.3), jax.random.key(2)
    moved = jax.jit(one.step)(key, start, PROBLEM, rate, CLOCK)
    wanted = jax.jit(alone.step)(key, plain, PROBLEM, rate, CLOCK)
    np.testing.assert_allclose(moved.m[0], wanted.m, atol=1e-6)


def test_replicas_meet_and_their_centre_solves():
    solver = solvers.replicated(3)
    result = binary.solve(solver, ONE, jax.random.key(3), epochs=150, trace=True)
    assert bool(result.solved) and binary.verify(result.weights, ONE).errors == 0
    overlap = np.asarray(result.trace[1])[: int(result.epochs) + 1]
    assert overlap[0] < 0.1 and overlap[-1] > 0.5  # of the centre


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("replicas", (0, 2.5, True, "3")),
        ("pull", (-0.1, "1", float("nan"), 4.0)),  # beyond 1 / rate it would overshoot
        ("planes", (1, True)),
        ("rate", (float("inf"), None)),
        ("schedule", ("linear", solvers.power)),
        ("coupling", (0.5,)),
    ],
)
def test_options_are_refused_when_it_is_made(name, values):
    REPLICATED(1, pull=1)
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            REPLICATED(**{name: value})
