"""Moments against enumeration of every weight, and convolutions against loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from binary.network import moments


def enumerated(m, inputs, signs):
    """Return mean and variance of the field over all weights (and input signs)."""
    size = len(m)
    values, chances = [], []
    states = list(itertools.product([-1, 1], repeat=size))
    for weights in states:
        w = np.array(weights)
        p_w = np.prod((1 + w * m) / 2)
        if not signs:
            values.append(w @ inputs)
            chances.append(p_w)
            continue
        for given in states:
            s = np.array(given)
            values.append(w @ s)
            chances.append(p_w * np.prod((1 + s * inputs) / 2))
    values, chances = np.array(values), np.array(chances)
    mean = chances @ values
    return mean, chances @ np.square(values) - mean**2


@pytest.mark.parametrize("signs", [False, True])
def test_dense_is_the_enumeration(signs):
    rng = np.random.default_rng(0)
    m = rng.uniform(-1, 1, (5, 2))
    inputs = rng.uniform(-1, 1, (3, 5))
    with jax.enable_x64(True):
        found = moments.dense(jnp.asarray(m), jnp.asarray(inputs), signs=signs)
        found = jax.tree.map(np.asarray, found)
    for row in range(3):
        for unit in range(2):
            mean, variance = enumerated(m[:, unit], inputs[row], signs)
            np.testing.assert_allclose(found.mean[row, unit], mean, atol=1e-12)
            np.testing.assert_allclose(found.variance[row, unit], variance, atol=1e-12)


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "VALID")])
def test_a_convolution_is_dense_layers_on_windows(signs, stride, padding):
    rng = np.random.default_rng(1)
    m = rng.uniform(-1, 1, (3, 3, 2, 4)).astype(np.float32)
    x = rng.uniform(-1, 1, (2, 5, 5, 2)).astype(np.float32)
    found = moments.convolution(
        jnp.asarray(m), jnp.asarray(x), signs=signs, stride=stride, padding=padding
    )
    rim = 1 if padding == "SAME" else 0
    wide = np.pad(x, ((0, 0), (rim, rim), (rim, rim), (0, 0)))
    inside = np.pad(np.ones_like(x), ((0, 0), (rim, rim), (rim, rim), (0, 0)))
    size = found.mean.shape[1]
    for i in range(size):
        for j in range(size):
            at = np.s_[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            window = wide[at].reshape(2, -1)
            there = inside[at].reshape(2, -1)
            flat = m.reshape(-1, 4)
            mean = window @ flat
            variance = np.square(window) @ (1 - np.square(flat))
            if signs:
                variance = there.sum(1)[:, None] - np.square(window) @ np.square(flat)
            np.testing.assert_allclose(found.mean[:, i, j], mean, atol=1e-5)
            np.testing.assert_allclose(found.variance[:, i, j], variance, atol=1e-5)


def test_the_mean_of_a_sign_is_two_phi_minus_one():
    mean, variance = np.array([-1.5, 0.0, 0.3]), np.array([0.5, 1.0, 4.0])
    field = moments.Moments(jnp.asarray(mean), jnp.asarray(variance))
    wanted = 2 * norm.cdf(mean / np.sqrt(variance)) - 1
    np.testing.assert_allclose(moments.sign_mean(field), wanted, atol=1e-6)


def test_certain_weights_act_as_exact_signs():
    m = jnp.array([[1.0], [-1.0], [1.0]])
    inputs = jnp.array([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]])
    for signs in (False, True):
        out = moments.sign_mean(moments.dense(m, inputs, signs=signs))
        np.testing.assert_array_equal(out, [[1.0], [-1.0]])
