"""Free and annealed ascent: one step by hand, and what they can solve."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from binary import instances, likelihood, solvers
from binary.projection import project_magnetisations
from binary.solvers._sweep import epoch

module = importlib.import_module("binary.solvers._solve")
ONE = instances.storage(jax.random.key(0), 101, 0.4)
KEY = jax.random.key(1)
CLOCK = solvers.Clock(jnp.int32(4), jnp.float32(0.25), jnp.int32(7))


@pytest.fixture(scope="module")
def problem():
    return module.problem_of(ONE)


def started(solver, problem):
    return solver.init(KEY, problem)


def test_a_free_step_on_m_is_clipped_ascent(problem):
    solver = solvers.free(planes=None)
    state = started(solver, problem)
    assert abs(float(likelihood.self_overlap(state.params)) * 101 - 1) < 0.6
    moved = jax.jit(solver.step)(KEY, state, problem, jnp.float32(0.3), CLOCK)
    wanted = state.params + 0.3 * likelihood.gradient(state.params, ONE)
    np.testing.assert_allclose(moved.params, jnp.clip(wanted, -1, 1), atol=2e-6)


def test_a_free_step_on_h_is_ascent_of_the_same_function(problem):
    solver = solvers.free(on="h", planes=None)
    state = started(solver, problem)
    moved = jax.jit(solver.step)(KEY, state, problem, jnp.float32(0.3), CLOCK)

    def function(h):
        return likelihood.log_likelihood(jnp.tanh(h), ONE)

    slope = jax.grad(function)(state.params)
    np.testing.assert_allclose(moved.params, state.params + 0.3 * slope, atol=2e-5)
    np.testing.assert_allclose(solver.magnetisations(moved), jnp.tanh(moved.params))


def test_momentum_adds_what_moved_last(problem):
    solver = solvers.free(momentum=0.5, planes=None)
    step = jax.jit(solver.step)
    first = step(KEY, started(solver, problem), problem, jnp.float32(0.1), CLOCK)
    second = step(KEY, first, problem, jnp.float32(0.1), CLOCK)
    slope = likelihood.gradient(first.params, ONE)
    wanted = 0.1 * slope + 0.5 * first.velocity
    np.testing.assert_allclose(second.velocity, wanted, atol=2e-6)


def test_an_annealed_step_lands_on_the_schedule(problem):
    solver = solvers.annealed(schedule=solvers.power(2.0))
    moved = jax.jit(solver.step)(
        KEY, started(solver, problem), problem, jnp.float32(0.1), CLOCK
    )
    np.testing.assert_allclose(likelihood.self_overlap(moved.m), 1 - 0.75**2, rtol=1e-5)


@pytest.mark.parametrize("overlap", [None, 0.4375])
def test_a_solvers_step_is_a_chain_of_optax(problem, overlap):
    """``chain(scale(eta), project_magnetisations(q*))`` on the log-likelihood."""
    if overlap is None:
        solver = solvers.free(planes=None)
    else:  # q* = 1 - (1 - t)^2 at t = 1/4; the gradient through S moves the norm alone
        solver = solvers.annealed(schedule=solvers.power(2.0), planes=None)
    state = started(solver, problem)
    m = solver.magnetisations(state)
    moved = jax.jit(solver.step)(KEY, state, problem, jnp.float32(0.3), CLOCK)
    tx = optax.chain(optax.scale(0.3), project_magnetisations(overlap))
    slope = likelihood.gradient(m, ONE, detach=overlap is not None)
    updates, _ = tx.update(slope, tx.init(m), m)
    np.testing.assert_allclose(
        solver.magnetisations(moved), optax.apply_updates(m, updates), atol=3e-6
    )


@pytest.mark.parametrize("size", [7, 100])
def test_an_epoch_shows_every_pattern_once(problem, size):
    batch = problem.batch

    def body(seen, rows):
        count = seen[0] + jnp.sum(rows.valid, dtype=jnp.int32)
        total = seen[1] + jnp.where(rows.valid[:, None], rows.inputs, 0).sum(
            0, dtype=jnp.int32
        )
        return count, total

    start = (jnp.int32(0), jnp.zeros(101, jnp.int32))
    count, total = jax.jit(lambda k: epoch(k, start, batch, size, body))(KEY)
    assert int(count) == 40
    np.testing.assert_array_equal(total, np.asarray(ONE.patterns, int).sum(0))


@pytest.fixture(scope="module")
def several():
    keys = jax.random.split(jax.random.key(2), 6)
    return instances.stack([instances.storage(key, 201, 0.5) for key in keys])


@pytest.mark.parametrize(
    ("solver", "epochs", "at_least"),
    [
        (solvers.free(), 300, 5),
        (solvers.free(on="h"), 600, 5),
        (solvers.free(batch=25), 300, 5),
        (solvers.annealed(schedule=solvers.power(3.0), rate=0.3), 200, 5),
        (solvers.annealed(schedule=solvers.power(3.0), batch=50), 200, 3),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_half_load_is_solved(several, solver, epochs, at_least):
    keys = jax.random.split(jax.random.key(3), 6)
    found = solvers.solve(solver, several, keys, epochs=epochs)
    assert int(found.solved.sum()) >= at_least


def test_real_inputs_and_a_margin_are_solved_too():
    keys = jax.random.split(jax.random.key(4), 4)
    real = instances.storage(keys[0], 100, 0.3, real=True)
    found = solvers.solve(solvers.free(), real, keys[1], epochs=200)
    fields = np.asarray(real.patterns, float) @ np.asarray(found.weights, float)
    assert bool(found.solved) and np.all(fields > 0)
    hard = instances.storage(keys[2], 101, 0.3, margin=0.3)
    found = solvers.solve(solvers.free(), hard, keys[3], epochs=200)
    fields = np.asarray(hard.patterns, int) @ np.asarray(found.weights, int)
    assert bool(found.solved) and np.all(fields > 0.3 * 101**0.5)


def test_schedules():
    ramp = solvers.power(2.0, start=0.2, end=0.8)
    found = [float(ramp(jnp.float32(t))) for t in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, [0.2, 0.65, 0.8], rtol=1e-6)
    assert float(solvers.linear(jnp.float32(0.3))) == np.float32(0.3)
    assert solvers.power(2.0, start=0.2, end=0.8) is ramp  # one solver, one compilation


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solvers.free(on="w"), "on: expected 'm' or 'h', got 'w'"),
        (
            lambda: solvers.free(batch=0),
            "batch: expected an integer >= 1",
        ),
        (lambda: solvers.free(momentum=1.0), "momentum: expected a number in"),
        (lambda: solvers.free(scale=0.0), "scale: expected a number > 0"),
        (
            lambda: solvers.annealed(batch=0),
            "batch: expected an integer >= 1",
        ),
        (lambda: solvers.power(0.0), "exponent: expected a number > 0"),
        (lambda: solvers.power(1.0, start=1.0), "start: expected a self-overlap"),
        (lambda: solvers.power(1.0, end=1.5), "end: expected a self-overlap"),
    ],
)
def test_bad_options_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
