"""Scores of a loss or a network, each by hand and by the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from pruning import criteria

W = np.array([[0.5, -1.0], [2.0, 0.25], [-0.5, 1.0]], np.float32)
A = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]], np.float32)
B = np.array([[1.0, 0.0], [2.0, -1.0]], np.float32)
PARAMS = {"kernel": jnp.asarray(W)}


def loss(params, batch):
    """Return half the mean squared error of a linear map."""
    x, y = batch
    return jnp.mean(jnp.sum((x @ params["kernel"] - y) ** 2, axis=1)) / 2


def parts():
    return [(jnp.asarray(A[i : i + 1]), jnp.asarray(B[i : i + 1])) for i in range(2)]


def test_snip_over_batches_is_that_of_the_mean_loss():
    gradient = A.T @ (A @ W - B) / 2
    found = criteria.snip(loss, PARAMS, parts())["kernel"]
    np.testing.assert_allclose(found, np.abs(W * gradient), rtol=1e-6)
    with pytest.raises(ValueError, match="batches: expected at least one"):
        criteria.snip(loss, PARAMS, [])


def test_grasp_is_what_half_the_squared_norm_of_the_gradient_owes():
    hessian = A.T @ A / 2
    gradient = A.T @ (A @ W - B) / 2
    found = criteria.grasp(loss, PARAMS, parts())["kernel"]
    np.testing.assert_allclose(found, W * (hessian @ gradient), rtol=1e-5)
    half = lambda w: jnp.sum((A.T @ (A @ w - B) / 2) ** 2) / 2
    np.testing.assert_allclose(found, W * jax.grad(half)(jnp.asarray(W)), rtol=1e-5)


def test_fisher_squares_the_gradient_of_each_example():
    each = [np.outer(a, a @ W - b) for a, b in zip(A, B, strict=True)]
    expected = W**2 * (each[0] ** 2 + each[1] ** 2) / 2 / 2
    found = criteria.fisher(loss, PARAMS, (jnp.asarray(A), jnp.asarray(B)))["kernel"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def network(params, x):
    return jax.nn.relu(x @ params["first"]) @ params["second"]


def test_synflow_by_hand_and_its_conservation():
    params = {"first": jnp.asarray(W), "second": jnp.asarray([[-3.0], [0.5]])}
    x = jnp.zeros((1, 3))
    found = criteria.synflow(network, params, x)
    first = np.abs(W) * np.array([3.0, 0.5])
    second = np.abs(W).sum(0)[:, None] * np.array([[3.0], [0.5]])
    np.testing.assert_allclose(found["first"], first, rtol=1e-6)
    np.testing.assert_allclose(found["second"], second, rtol=1e-6)
    np.testing.assert_allclose(found["first"].sum(), found["second"].sum(), rtol=1e-6)
    mask = criteria.synflow_mask(network, params, x, 0.5, steps=4)
    assert pruning.count(mask).kept == 4
    assert all(bool(leaf.any()) for leaf in jax.tree.leaves(mask))
    with pytest.raises(ValueError, match="density, steps: expected"):
        criteria.synflow_mask(network, params, x, 0.0)
