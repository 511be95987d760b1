"""One call for many runs: batches, padding, freezing, recounts."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary import instances, perceptron, solvers
from binary.methods import METHODS
from tests.binary import _exact

module = importlib.import_module("binary.solvers._solve")
SIZE = 101
FREE = solvers.free(planes=6)  # few planes compile faster
LOADS = (0.2, 0.5, 0.35)


@pytest.fixture(scope="module")
def ones():
    keys = jax.random.split(jax.random.key(0), len(LOADS))
    pairs = zip(keys, LOADS, strict=True)
    return [instances.storage(key, SIZE, load) for key, load in pairs]


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(1), (len(LOADS), 2))


@pytest.fixture(scope="module")
def batched(ones, keys):
    """Three loads, two keys each, in one call."""
    both = instances.stack(ones)
    return solvers.solve(FREE, both, keys, epochs=80, trace=True)


def test_solutions_are_solutions(ones, batched):
    assert batched.solved.shape == (3, 2) and batched.weights.shape == (3, 2, SIZE)
    assert np.asarray(batched.solved).sum() >= 5
    for row, one in enumerate(ones):
        for column in range(2):
            weights = np.asarray(batched.weights[row, column])
            wrong = _exact.errors(weights, np.asarray(one.patterns))
            assert wrong == int(batched.errors[row, column])
            assert (wrong == 0) == bool(batched.solved[row, column])
            np.testing.assert_array_equal(
                weights, perceptron.mode(batched.m[row, column])
            )


def test_a_batch_is_its_members_one_by_one(ones, keys, batched):
    for row in (0, 1):
        alone = solvers.solve(FREE, ones[row], keys[row, 1], epochs=80, trace=True)
        assert alone.solved.shape == ()
        assert int(alone.epochs) == int(batched.epochs[row, 1])
        np.testing.assert_allclose(alone.m, batched.m[row, 1], atol=1e-5)


def test_width_changes_nothing(ones, keys, batched):
    wide = solvers.solve(
        FREE, instances.stack(ones), keys, epochs=80, width=None, trace=True
    )
    np.testing.assert_array_equal(wide.epochs, batched.epochs)
    # Two programs: magnetisations agree to rounding, signs where there is one.
    np.testing.assert_allclose(wide.m, batched.m, atol=1e-5)
    clear = np.abs(np.asarray(batched.m)) > 1e-5
    np.testing.assert_array_equal(wide.weights[clear], batched.weights[clear])


def test_the_trace_ends_where_the_run_ended(batched):
    wrong, overlap = (np.asarray(leaf) for leaf in batched.trace)
    assert wrong.shape == overlap.shape == (3, 2, 81)
    assert len(set(np.asarray(batched.epochs).ravel())) > 1  # each froze at its own
    for row, column in np.ndindex(3, 2):
        end = int(batched.epochs[row, column])
        own = wrong[row, column]
        assert np.all(own[: end + 1] >= 0) and np.all(own[end + 1 :] == -1)
        assert np.all(own[:end] > 0) and own[end] == int(batched.errors[row, column])
        assert own[: end + 1].min() == int(batched.best[row, column])
        assert np.isnan(overlap[row, column, end + 1 :]).all()
        np.testing.assert_allclose(
            overlap[row, column, end], batched.overlap[row, column], 1e-6
        )


def test_rates_are_batched_and_nothing_is_compiled_twice(ones, keys):
    before = module._run._cache_size()
    rates = jnp.array([0.1, 0.3])
    for factor in (1.0, 0.5):
        both = solvers.solve(FREE, ones[0], keys[0], rates=factor * rates, epochs=20)
    assert module._run._cache_size() == before + 1
    assert both.solved.shape == (2,)
    assert not np.array_equal(both.m[0], both.m[1])


def test_a_run_that_stands_still_is_ended(ones, keys):
    """The errors fall no more once m does not move, so epochs would be wasted."""

    def halved(key, m, problem, rate, clock):
        return jnp.where(clock.epoch < 3, m / 2, m)

    still = solvers.Solver(
        "still", lambda key, problem: jnp.ones(SIZE), halved, lambda m: m, 0.1, 1e-6
    )
    found = solvers.solve(still, ones[1], keys[0, 0], epochs=50)
    assert not bool(found.solved) and int(found.epochs) == 4
    moving = still._replace(tolerance=0.0)
    assert int(solvers.solve(moving, ones[1], keys[0, 0], epochs=50).epochs) == 50


def test_a_wrong_solution_would_be_caught(ones, batched):
    lie = batched._replace(weights=-batched.weights)
    with pytest.raises(AssertionError, match=r"run 0, 0: .* errors in a solution"):
        module._recount(lie, instances.stack(ones))


def test_wrong_best_weights_would_be_caught(ones, batched):
    lie = batched._replace(best_weights=-batched.best_weights)
    with pytest.raises(AssertionError, match=r"run 0, 0: the best .* as 0"):
        module._recount(lie, instances.stack(ones))


FAMILIES = ("free", "free-h", "free-minibatch", "power-300", "sbpi", "amp")


@pytest.mark.parametrize("name", [*FAMILIES, "straight-through", "annealing"])
def test_every_solver_keeps_its_best_weights(name):
    """Far above the capacity nothing is solved, and the last weights are not the best.

    The instance is that of every method; its plain count is the oracle.
    """
    one = instances.storage(jax.random.key(5), 61, 1.5)
    keys = jax.random.split(jax.random.key(6), 2)
    solver = METHODS[name].solver(61)
    result = solvers.solve(solver, one, keys, epochs=40, trace=True)
    assert not result.solved.any()
    for row in range(2):
        best = np.asarray(result.best_weights[row])
        wrong = np.asarray(result.trace[0][row])[: int(result.epochs[row]) + 1]
        counted = _exact.errors(best, np.asarray(one.patterns))
        assert counted == int(result.best[row]) == wrong.min()
        assert perceptron.verify(best, one).errors == counted


def test_a_margin_on_an_integer_counts_alike_everywhere():
    """kappa sqrt(N) = 5 to rounding: fields of 5 are at the margin, or not, for all."""
    one = instances.storage(jax.random.key(5), 61, 1.0, margin=5 / 61**0.5)
    result = solvers.solve(FREE, one, jax.random.key(6), epochs=20)
    wrong = int(perceptron.errors(result.best_weights, one))
    assert wrong == int(result.best)
    assert wrong == perceptron.verify(result.best_weights, one).errors


def test_bad_calls_are_refused(ones, keys):
    both = instances.stack(ones)
    cases = [
        (both, keys[0], {}, r"keys: expected shape \(3,\) or \(3, R\), got \(2,\)"),
        (ones[0], keys, {}, r"keys: expected shape \(\) or \(R,\)"),
        (ones[0], jnp.zeros(2), {}, "keys: expected typed keys"),
        (ones[0], keys[0], {"epochs": 0}, "epochs: expected at least 1"),
        (ones[0], keys[0], {"slack": -1}, "slack: expected an integer >= 0"),
        (ones[0], keys[0], {"width": 0}, "width: expected at least 1"),
        (ones[0], keys[0], {"rates": jnp.ones(3)}, r"rates: .* \(2,\), got \(3,\)"),
        (ones[0], keys[0], {"rates": jnp.nan}, "rates: expected finite"),
        (
            ones[0]._replace(patterns=jnp.zeros((20, SIZE), jnp.int8)),
            keys[0],
            {},
            "instances: expected only",
        ),
        (
            ones[0]._replace(patterns=ones[0].patterns[0]),
            keys[0],
            {},
            "instances: expected patterns of shape",
        ),
    ]
    for given, key, options, message in cases:
        with pytest.raises(ValueError, match=message):
            solvers.solve(FREE, given, key, **options)
