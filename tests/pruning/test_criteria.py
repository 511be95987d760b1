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


def test_lobster_is_the_slope_of_the_mean_loss():
    found = criteria.lobster(loss, PARAMS, parts())["kernel"]
    np.testing.assert_allclose(found, np.abs(A.T @ (A @ W - B) / 2), rtol=1e-6)


def test_neuron_sensitivity_by_autodiff_example_by_example():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        params = {"k": rng.normal(size=(2, 2, 1, 3)), "v": rng.normal(size=(12, 2))}
        x = rng.normal(size=(4, 3, 3, 1))
        alpha = np.array([0.25, 0.75])

        def before(params, x):
            numbers = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(
                x, params["k"], (1, 1), "VALID", dimension_numbers=numbers
            )

        after = lambda z: jax.nn.relu(z).reshape(len(z), -1) @ params["v"]
        found = criteria.neuron_sensitivity(
            lambda p, x: jax.nn.relu(before(p, x)).reshape(len(x), -1) @ p["v"],
            params,
            x,
            alpha,
        )
        z = before(params, x)
        slopes = jnp.stack([jax.jacrev(after)(one[None])[0, :, 0] for one in z])
        expected = jnp.einsum("k,bkhwf->f", alpha, jnp.abs(slopes)) / (4 * 2 * 2)
        np.testing.assert_allclose(found["relu_0"], expected, rtol=1e-10)
        with pytest.raises(ValueError, match="alpha: expected shape"):
            criteria.neuron_sensitivity(
                network, {"first": W, "second": B}, A, alpha[:1]
            )


@pytest.mark.parametrize("of", [criteria.snip, criteria.grasp, criteria.lobster])
def test_batches_of_unequal_size_are_refused(of):
    """Their means would weigh the same: the last of a loader is often smaller."""
    whole = (jnp.asarray(A), jnp.asarray(B))
    with pytest.raises(ValueError, match="batches: expected equal sizes"):
        of(loss, PARAMS, [whole, parts()[0]])


def test_losses_and_leaves_without_a_slope_are_named():
    batch = (jnp.asarray(A), jnp.asarray(B))
    each = lambda p, part: jnp.sum(part[0] @ p["kernel"], axis=1)
    whole = {**PARAMS, "n": jnp.arange(3)}
    for of, data in (
        (criteria.snip, [batch]),
        (criteria.grasp, [batch]),
        (criteria.fisher, batch),
    ):
        with pytest.raises(ValueError, match="loss_fn: expected a real scalar"):
            of(each, PARAMS, data)
        with pytest.raises(ValueError, match="params: leaf n is int32"):
            of(loss, whole, data)
    for of, data in ((criteria.grasp, [batch]), (criteria.fisher, batch)):
        with pytest.raises(ValueError, match="params: leaf kernel is complex"):
            of(loss, {"kernel": PARAMS["kernel"].astype(jnp.complex64)}, data)
    with pytest.raises(ValueError, match="batch: expected one leading axis"):
        criteria.fisher(loss, PARAMS, (batch[0], batch[1][:1]))


def test_fisher_of_halves_is_formed_in_float32():
    """The square of a slope of 1e-4 is 0 in float16."""
    halves = {"w": jnp.full(2, 100.0, jnp.float16)}
    slope = jnp.array([[1e-4, 2e-4]], jnp.float16)
    found = criteria.fisher(lambda p, x: jnp.sum(p["w"] * x[0]), halves, slope)["w"]
    np.testing.assert_allclose(found, [5e-5, 2e-4], rtol=0.01)


def test_neurons_come_in_the_order_of_evaluation_and_alpha_is_checked():
    weights = [0.5 * jnp.eye(2)] * 12

    def deep(params, x):
        for w in params:
            x = jax.nn.relu(x @ w)
        return x

    x = jnp.ones((3, 2))
    found = criteria.neuron_sensitivity(deep, weights, x, pruning.unspecific(2))
    assert list(found) == [f"relu_{i}" for i in range(12)]
    for alpha in (jnp.array([-1.0, 1.0]), jnp.array([jnp.nan, 1.0])):
        with pytest.raises(ValueError, match="alpha: expected finite non-negative"):
            criteria.neuron_sensitivity(deep, weights, x, alpha)


def test_a_flow_that_overflows_is_named():
    deep = {"w": jnp.full((3, 2, 2), 1e15)}
    flow = lambda p, x: x @ p["w"][0] @ p["w"][1] @ p["w"][2]
    for of in (criteria.synflow, lambda *a: criteria.synflow_mask(*a, 0.5, steps=1)):
        with pytest.raises(ValueError, match="synflow: the scores of leaf w are not"):
            of(flow, deep, jnp.ones((1, 2)))
