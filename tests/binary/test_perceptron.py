"""Predictors, and the recount of errors in integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary import instances, perceptron
from tests.binary import _exact

ONE = instances.storage(jax.random.key(0), 41, 0.9)


@pytest.fixture(scope="module")
def weights():
    return perceptron.mode(jax.random.normal(jax.random.key(1), (41,)))


def test_mode_is_the_sign_and_never_zero():
    found = perceptron.mode(jnp.array([-0.5, 0.0, 0.25]))
    np.testing.assert_array_equal(found, np.array([-1, 1, 1], np.int8))
    assert found.dtype == jnp.int8


def test_errors_and_verdict_are_those_of_a_plain_count(weights):
    wanted = _exact.errors(np.asarray(weights), np.asarray(ONE.patterns))
    assert 0 < wanted < 37
    assert int(perceptron.errors(weights, ONE)) == wanted
    assert perceptron.verify(weights, ONE) == (False, wanted, 37)


def test_padding_and_margin_count_as_they_should(weights):
    fields = np.asarray(ONE.patterns, int) @ np.asarray(weights, int)
    hard = ONE._replace(margin=jnp.float32(0.5))
    wanted = int(np.sum(fields <= 0.5 * 41**0.5))
    assert int(perceptron.errors(weights, hard)) == wanted
    assert perceptron.verify(weights, hard).errors == wanted
    few = ONE._replace(valid=jnp.arange(37) < 10)
    assert perceptron.verify(weights, few).patterns == 10
    assert int(perceptron.errors(weights, few)) == int(np.sum(fields[:10] <= 0))


def test_the_teacher_is_a_solution():
    one = instances.teacher_student(jax.random.key(2), 41, 0.9)
    assert perceptron.verify(one.teacher, one).solved
    flipped = one.teacher.at[:20].multiply(-1)
    assert not perceptron.verify(flipped, one).solved


def test_predictions_are_signs_of_the_fields(weights):
    inputs = ONE.patterns
    fields = np.asarray(inputs, int) @ np.asarray(weights, int)
    np.testing.assert_array_equal(perceptron.predict(weights, inputs), np.sign(fields))
    real = inputs.astype(jnp.float32)
    np.testing.assert_array_equal(perceptron.predict(weights, real), np.sign(fields))
    m = 0.5 * weights.astype(jnp.float32)
    np.testing.assert_array_equal(perceptron.mean_predict(m, inputs), np.sign(fields))


def test_draws_have_the_means_asked_for():
    m = jnp.array([-1.0, -0.5, 0.0, 0.8, 1.0])
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = np.asarray(jax.vmap(perceptron.draw, (0, None))(keys, m), float)
    error = np.sqrt((1 - np.asarray(m) ** 2) / 4000)
    assert np.all(np.abs(draws.mean(0) - m) <= 4 * error)
    assert set(np.unique(draws)) == {-1.0, 1.0}


def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights: expected only \+1 and -1, got 0"):
        perceptron.verify(weights.at[3].set(0), ONE)
    with pytest.raises(ValueError, match="weights: expected 41 entries"):
        perceptron.verify(weights[:5], ONE)
    real = instances.storage(jax.random.key(0), 41, 0.5, real=True)
    with pytest.raises(ValueError, match="one: expected an instance with"):
        perceptron.verify(weights, real)
    with pytest.raises(ValueError, match="m: expected magnetisations"):
        perceptron.draw(jax.random.key(0), jnp.array([1.5]))
