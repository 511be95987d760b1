"""The signal of an initial network, against wide random networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary.network import initial, model, moments


def test_the_signal_is_that_of_a_wide_network():
    width, second = 4000, 0.6
    keys = jax.random.split(jax.random.key(3), 3)
    a = jax.random.normal(keys[2], (20, width))
    for depth in (1, 2):
        m = initial.magnetisations(keys[depth - 1], (width, width), second)
        a = moments.sign_mean(moments.dense(m, a, signs=depth > 1))
        each = jnp.square(a).mean(axis=1)
        error = float(each.std() / np.sqrt(len(each))) + 2e-3  # width is finite
        assert abs(float(each.mean()) - initial.signal(second, depth)) < 4 * error


@pytest.mark.parametrize("depth", [1, 3])
def test_the_second_moment_gives_the_signal_wanted(depth):
    found = initial.second_moment(depth, 0.05)
    np.testing.assert_allclose(initial.signal(found, depth), 0.05, rtol=1e-9)


@pytest.mark.parametrize("second", [0.1, 1 / 3, 0.6, 1.0])
def test_magnetisations_have_their_second_moment(second):
    m = np.asarray(initial.magnetisations(jax.random.key(0), (50_000,), second))
    assert np.abs(m).max() <= 1
    error = np.square(m).std() / np.sqrt(m.size) + 1e-6
    assert abs(np.square(m).mean() - second) < 4 * error
    assert abs(m.mean()) < 4 * m.std() / np.sqrt(m.size)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="depth: expected at least 1"):
        initial.second_moment(0, 0.1)
    with pytest.raises(ValueError, match="wanted: expected a signal"):
        initial.second_moment(2, 1.0)
    with pytest.raises(ValueError, match="second_moment: expected"):
        initial.magnetisations(jax.random.key(0), (2,), 0.0)
    with pytest.raises(ValueError, match="layers: expected at least two"):
        model.init(jax.random.key(0), (model.Dense(2),), (3,))
