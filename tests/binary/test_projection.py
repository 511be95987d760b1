"""The projection on cube and sphere, and the optax transform made of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import binary
from binary import instances, likelihood, projection, solvers

RESCALE = jax.jit(projection.rescale)


def bisected(m, overlap):
    """Return the factor c at which clip(c m) has the self-overlap, by bisection."""
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        small = np.mean(np.clip(middle * m, -1, 1) ** 2) < overlap
        low, high = (middle, high) if small else (low, middle)
    return low


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_rescale_is_the_scaling_found_by_bisection(overlap):
    m = np.clip(np.random.default_rng(0).normal(size=101), -1, 1).astype(np.float32)
    found = np.asarray(RESCALE(jnp.asarray(m), jnp.float32(overlap)))
    factor = bisected(m.astype(float), overlap)
    np.testing.assert_allclose(found, np.clip(factor * m, -1, 1), atol=2e-5)
    np.testing.assert_allclose(np.mean(found**2), overlap, atol=1e-6)


def test_rescale_at_the_corners():
    m = jnp.asarray(np.random.default_rng(1).normal(size=101), jnp.float32).clip(-1, 1)
    np.testing.assert_array_equal(RESCALE(m, jnp.float32(1)), jnp.sign(m))
    zeros = jnp.zeros(101)
    np.testing.assert_array_equal(RESCALE(zeros, jnp.float32(0.5)), zeros)


def test_transform_ends_a_chain_and_keeps_m_in_the_cube():
    one = instances.storage(jax.random.key(0), 51, 0.4)
    tx = optax.chain(optax.scale(0.5), projection.project_magnetisations(0.25))
    params = {"m": 0.3 * jax.random.normal(jax.random.key(1), (51,)).clip(-3, 3)}
    before = float(likelihood.log_likelihood(params["m"].clip(-1, 1), one))

    @jax.jit
    def step(params, state):
        grads = {"m": likelihood.gradient(params["m"], one)}
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(10):
        params, state = step(params, state)
        assert float(jnp.max(jnp.abs(params["m"]))) <= 1 + 1e-6
        np.testing.assert_allclose(likelihood.self_overlap(params["m"]), 0.25, 1e-5)
    assert float(likelihood.log_likelihood(params["m"].clip(-1, 1), one)) > before
    assert int(state[1].project_magnetisations_count) == 10


def test_transform_follows_a_schedule_and_can_only_clip():
    params = jnp.array([0.5, -0.25, 0.1])
    ramp = projection.project_magnetisations(
        lambda count: 0.1 * (count.astype(jnp.float32) + 1)
    )
    state = ramp.init(params)
    for wanted in (0.1, 0.2):
        updates, state = ramp.update(jnp.zeros(3), state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(likelihood.self_overlap(params), wanted, 1e-5)
    only = projection.project_magnetisations()
    params = jnp.array([0.5, -0.25, 0.1])
    updates, _ = only.update(jnp.array([1.0, -1.0, 0.25]), only.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_allclose(moved, [1, -1, 0.35], rtol=1e-6)


def test_bad_arguments_are_refused():
    for overlap in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"overlap: expected a self-overlap in"):
            projection.project_magnetisations(overlap)
    tx = projection.project_magnetisations()
    with pytest.raises(ValueError, match="params is missing"):
        tx.update(jnp.zeros(3), tx.init(jnp.zeros(3)))


SOLVERS = {
    # the solver's step and the chain that it is; eta = 0.3, momentum 0.5
    "free": (
        binary.free(planes=None),
        lambda q: optax.chain(optax.scale(0.3), projection.project_magnetisations()),
        False,
    ),
    "momentum": (
        binary.free(planes=None, momentum=0.5),
        lambda q: optax.chain(
            optax.trace(0.5), optax.scale(0.3), projection.project_magnetisations()
        ),
        False,
    ),
    "annealed": (
        binary.annealed(planes=None, schedule=binary.power(3.0), rate=0.3),
        lambda q: optax.chain(optax.scale(0.3), projection.project_magnetisations(q)),
        True,
    ),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_a_chain(name):
    solver, chain, detach = SOLVERS[name]
    one, steps = instances.storage(jax.random.key(0), 51, 0.6), 30
    ramp = binary.power(3.0)

    def progress(count):
        return (count + 1).astype(jnp.float64) / steps

    tx = chain(lambda count: ramp(progress(count)))
    state = solver.init(
        jax.random.key(1), solvers.Problem(one, likelihood.batch_of(one))
    )
    with jax.enable_x64(True):
        problem = solvers.Problem(one, likelihood.batch_of(one, jnp.float64))
        state = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), state)
        m = solver.magnetisations(state)
        carry = tx.init(m)

        @jax.jit
        def both(m, carry, state, count):
            clock = solvers.Clock(count, progress(count), jnp.int32(7))
            state = solver.step(
                jax.random.key(2), state, problem, jnp.float64(0.3), clock
            )
            slope = likelihood.gradient(m, one, detach=detach)
            updates, carry = tx.update(slope, carry, m)
            return optax.apply_updates(m, updates), carry, state

        for count in range(steps):
            m, carry, state = both(m, carry, state, jnp.int32(count))
        # A chain hands on p - m, and m + (p - m) is p to one rounding, 1e-16 a step;
        # the steps that follow make it larger.
        np.testing.assert_allclose(m, solver.magnetisations(state), atol=1e-12)
        assert m.dtype == jnp.float64 and 0.3 < float(likelihood.self_overlap(m)) <= 1
