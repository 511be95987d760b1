"""The committee's solver: a step by hand, solutions recounted, best weights kept."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import binary
from binary import solvers
from binary.network import committee as machine

module = importlib.import_module("binary.solvers._solve")
ONE = binary.storage(jax.random.key(0), 61, 0.8)


def plain_errors(weights, one):
    """Count by loops over patterns and units, in Python's integers."""
    wrong = 0
    for pattern in np.asarray(one.patterns, int).tolist():
        votes = 0
        for column in np.asarray(weights, int).T.tolist():
            field = sum(w * x for w, x in zip(column, pattern, strict=True))
            votes += 1 if field > 0 else -1
        wrong += votes <= 0
    return wrong


def test_a_step_is_clipped_ascent_of_the_committees_likelihood():
    solver = binary.committee(3)
    problem = module.problem_of(ONE)
    state = solver.init(jax.random.key(1), problem)
    clock = solvers.Clock(jnp.int32(0), jnp.float32(0.1), jnp.int32(7))
    with jax.enable_x64(True):  # both ways of the chain rule round, in float32 by 2e-5
        wide = jax.tree.map(lambda m: m.astype(jnp.float64), state)
        step = jax.jit(solver.step)
        moved = step(jax.random.key(2), wide, problem, jnp.float64(0.3), clock)
        x = ONE.patterns.astype(jnp.float64)
        slope = jax.jit(jax.grad(machine.log_likelihood))(wide.m, x, jnp.ones(len(x)))
        wanted = jnp.clip(wide.m + 0.3 * slope, -1, 1)
        np.testing.assert_allclose(moved.m, wanted, 1e-12)
    bits = binary.committee(3, planes=16)
    found = jax.jit(bits.step)(
        jax.random.key(2), state, problem, jnp.float32(0.3), clock
    )
    np.testing.assert_allclose(found.m, moved.m, atol=1e-4)  # 15 bits, 49 patterns
    annealed = binary.committee(3, schedule=binary.power(3.0))
    moved = jax.jit(annealed.step)(
        jax.random.key(2), state, problem, jnp.float32(0.3), clock
    )
    np.testing.assert_allclose(jnp.square(moved.m).mean(axis=0), 1 - 0.9**3, rtol=1e-4)


@pytest.mark.parametrize("units", [3, 5, 9])
def test_committees_are_solved_and_recounted(units):
    solver = binary.committee(units, schedule=binary.power(3.0))
    keys = jax.random.split(jax.random.key(3), 2)
    result = binary.solve(solver, ONE, keys, epochs=150)
    assert result.solved.all()
    assert result.best_weights.shape == result.m.shape == (2, 61, units)
    for weights in result.best_weights:
        assert plain_errors(weights, ONE) == 0
        assert binary.verify(weights, ONE) == (True, 0, 49)
        assert (binary.predict(weights, ONE.patterns) == 1).all()


def test_best_weights_of_an_unsolved_committee_are_those_counted():
    hard = binary.storage(jax.random.key(4), 31, 4.0)
    keys = jax.random.split(jax.random.key(5), 2)
    result = binary.solve(binary.committee(3), hard, keys, epochs=40, trace=True)
    assert not result.solved.any()
    for row in range(2):
        counted = plain_errors(result.best_weights[row], hard)
        assert counted == int(result.best[row])
        assert counted == int(binary.errors(result.best_weights[row], hard))
        assert counted == binary.verify(result.best_weights[row], hard).errors
        wrong = np.asarray(result.trace[0][row])[: int(result.epochs[row]) + 1]
        assert wrong.min() == counted


def test_a_batch_of_padded_instances_counts_its_own_patterns():
    both = binary.stack([ONE, binary.storage(jax.random.key(6), 61, 0.4)])
    keys = jax.random.split(jax.random.key(7), 2)
    result = binary.solve(binary.committee(3), both, keys, epochs=60)
    for row in range(2):
        one = jax.tree.map(lambda leaf, row=row: leaf[row], both)
        verdict = binary.verify(result.best_weights[row], one)
        assert verdict.errors == int(result.best[row])
        assert verdict.patterns == int(one.valid.sum())


def test_real_inputs_are_counted_by_the_majority_of_signs():
    real = binary.storage(jax.random.key(8), 60, 0.5, real=True)
    result = binary.solve(binary.committee(3), real, jax.random.key(9), epochs=150)
    fields = np.asarray(real.patterns, float) @ np.asarray(result.best_weights, float)
    wrong = int((np.sign(fields).sum(axis=1) <= 0).sum())
    assert wrong == int(result.best) == 0


def test_what_a_committee_cannot_do_is_refused():
    with pytest.raises(ValueError, match="odd number of hidden units, got 4"):
        binary.committee(4)
    margin = binary.storage(jax.random.key(0), 61, 0.5, margin=0.1)
    with pytest.raises(ValueError, match="committee of 3, free knows no margin"):
        binary.solve(binary.committee(3), margin, jax.random.key(1))
    with pytest.raises(ValueError, match="expected a committee of odd N and K"):
        binary.verify(jnp.ones((61, 3), jnp.int8), margin)
    with pytest.raises(ValueError, match="expected an odd number of units, got 2"):
        binary.errors(jnp.ones((61, 2), jnp.int8), ONE)
