"""Curvature by leaf against blocks of dense matrices, and along training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import analysis
from tests.analysis import networks
from tests.analysis.test_operators import cross_entropy, dense, random_mask

X, LABELS = networks.data(count=23)


def of_network(mask_density=None):
    """Return (operator, its matrix, paths, slices): Gauss-Newton of a small network."""
    apply_fn, params = networks.linen()
    mask = None if mask_density is None else random_mask(params, mask_density)[0]
    whole = analysis.gauss_newton(
        apply_fn, cross_entropy, params, (X, LABELS), mask=mask
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    ends = np.cumsum(sizes)
    slices = [slice(e - s, e) for s, e in zip(sizes, ends, strict=True)]
    paths = ["Dense_0/bias", "Dense_0/kernel", "Dense_1/bias", "Dense_1/kernel"]
    return whole, dense(whole), dict(zip(paths, slices, strict=True))


def test_a_block_is_that_of_the_dense_matrix():
    whole, matrix, places = of_network(0.7)
    for path, place in places.items():
        expected = np.zeros_like(matrix)
        expected[place, place] = matrix[place, place]
        found = dense(analysis.block(whole, path))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"path: expected one of Dense_0/bias"):
        analysis.block(whole, "Dense_7/kernel")


def test_layers_have_trace_and_top_value_of_each_block(key):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(40, 16)), jnp.float32)
    params = {"a": jnp.ones((2, 4)), "b": jnp.ones(8)}  # alike, so compiled once
    loss = lambda w, x: 0.5 * jnp.mean((x @ ravel_pytree(w)[0]) ** 2)
    matrix = np.asarray(x.T @ x / 40, np.float64)
    found = analysis.layers(analysis.hessian(loss, params, x), key, probes=6)
    assert list(found.blocks) == ["a", "b"]
    for one, place in zip(found.blocks.values(), (slice(8), slice(8, 16)), strict=True):
        values = np.linalg.eigvalsh(matrix[place, place])
        assert one.weights == 8
        assert one.top == pytest.approx(values[-1], rel=1e-4)
        slack = 5 * one.trace.standard_error + 1e-5 * values.sum()
        assert abs(one.trace.value - values.sum()) < slack
    assert found.diagonal.value["a"].shape == (2, 4)
    ravelled = np.asarray(ravel_pytree(found.diagonal.value)[0])
    error = np.asarray(ravel_pytree(found.diagonal.standard_error)[0])
    assert np.mean(np.abs(ravelled - np.diag(matrix)) < 4 * error) > 0.8
    assert found.matvecs > found.diagonal.matvecs == 8


def test_leaves_without_a_surviving_weight_are_left_out(key):
    apply_fn, params = networks.linen()
    mask = jax.tree.map(lambda w: jnp.zeros(w.shape, bool), params)
    mask["Dense_0"]["bias"] = ~mask["Dense_0"]["bias"]
    whole = analysis.gauss_newton(
        apply_fn, cross_entropy, params, (X, LABELS), mask=mask
    )
    found = analysis.layers(whole, key, probes=2)
    assert list(found.blocks) == ["Dense_0/bias"]
    assert not bool(found.diagonal.value["Dense_0"]["kernel"].any())


def test_the_error_of_the_diagonal_is_the_spread_of_the_probes(key):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(30, 30)).astype(np.float32)
    matrix = matrix + matrix.T
    product = jax.tree_util.Partial(lambda m, v: m @ v, jnp.asarray(matrix))
    whole = analysis.operators.from_matvec(product, 30)
    found = analysis.diagonal(whole, key, probes=400)
    # var(v_i (A v)_i) = sum over j != i of A_ij^2
    spread = np.sqrt((matrix**2).sum(1) - np.diag(matrix) ** 2) / np.sqrt(400)
    np.testing.assert_allclose(found.standard_error, spread, rtol=0.25)
    inside = np.abs(np.asarray(found.value) - np.diag(matrix)) < 2 * spread
    assert inside.mean() > 0.8
    with pytest.raises(ValueError, match="probes: expected at least 2"):
        analysis.diagonal(whole, key, probes=1)


def test_a_hook_measures_along_training_and_compiles_once(key):
    traces = []

    def loss(w, x):
        traces.append(1)
        return 0.5 * jnp.mean((x @ w) ** 2) + jnp.sum(w**4)

    x = jnp.diag(jnp.array([1.0, 2.0]))
    hook = analysis.watch(lambda w: analysis.hessian(loss, w, x), key, every=5)
    assert hook(3, jnp.ones(2)) == {}
    first = hook(5, jnp.ones(2))
    count = len(traces)
    second = hook(10, 2 * jnp.ones(2))
    assert len(traces) == count
    for values, w in ((first, 1.0), (second, 2.0)):
        own = np.array([0.5, 2.0]) + 12 * w**2
        assert values["curvature/top"] == pytest.approx(own.max(), rel=1e-4)
        assert values["curvature/trace"] == pytest.approx(own.sum(), rel=1e-4)
    with pytest.raises(ValueError, match="every: expected at least 1"):
        analysis.watch(lambda w: analysis.hessian(loss, w, x), key, every=0)


def test_a_leaf_of_one_weight_and_two_leaves_of_one_name(key):
    loss = lambda p, x: jnp.mean((x @ p["w"] + p["b"] - 1) ** 2)
    params = {"w": jnp.ones(3), "b": jnp.zeros(1)}
    found = analysis.layers(analysis.hessian(loss, params, jnp.eye(3)), key, probes=2)
    assert found.blocks["b"].top == pytest.approx(2.0)
    assert found.blocks["w"].trace.value == pytest.approx(2.0)
    assert found.seed == (0, 0)
    same = {"a": {"b": jnp.ones(2)}, "a/b": jnp.ones(2)}
    both = lambda p, x: jnp.sum(x) * jnp.sum(p["a"]["b"] ** 2 + p["a/b"] ** 2)
    with pytest.raises(ValueError, match="two leaves are called a/b"):
        analysis.layers(analysis.hessian(both, same, jnp.ones(1)), key)
    with pytest.raises(ValueError, match="probes: expected at least 2"):
        analysis.watch(lambda w: None, key, probes=1)
