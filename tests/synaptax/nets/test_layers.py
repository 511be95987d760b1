"""Padded convolutions against a slow reference; batch-norm's two modes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import sensitivity, unspecific
from synaptax.nets import layers
from tests.synaptax.nets.convolutions import reference_convolve, reference_depthwise


@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(x, kernel, stride, method):
    return layers.convolve(x, kernel, stride=stride, method=method)


@pytest.mark.parametrize("method", ["patches", "lax"])
@pytest.mark.parametrize(
    ("shape", "size", "stride"),
    [((5, 6, 3), 3, 1), ((6, 7, 2), 3, 2), ((4, 4, 3), 1, 2), ((5, 4, 1), 5, 1)],
)
def test_convolution(key, method, shape, size, stride):
    x = jax.random.normal(key, (2, *shape))
    kernel = jax.random.normal(jax.random.key(1), (size, size, shape[-1], 4))
    expected = reference_convolve(
        np.asarray(x), np.asarray(kernel), stride=stride, pad=size // 2
    )
    given = convolve(x, kernel, stride, method)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["patches", "lax"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolution(key, method, stride):
    x = jax.random.normal(key, (2, 5, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 3))
    expected = reference_depthwise(
        np.asarray(x), np.asarray(kernel), stride=stride, pad=1
    )
    given = convolve(x, kernel, stride, method)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


# --- a few images at a time ---------------------------------------------------------


def bent(x, kernel, stride):
    """A scalar whose second derivatives are not zero."""
    return jnp.sin(layers.convolve(x, kernel, stride=stride, method="patches")).sum()


def derivatives(x, kernel, stride):
    """Value, both gradients, and both Hessians' products, forward over reverse."""
    gradient = jax.grad(bent, argnums=(0, 1))
    along = (jnp.cos(x), jnp.sin(kernel))
    value = layers.convolve(x, kernel, stride=stride, method="patches")
    slope = jax.jvp(lambda *a: bent(*a, stride), (x, kernel), along)[1]
    return value, slope, jax.jvp(lambda *a: gradient(*a, stride), (x, kernel), along)


@pytest.mark.parametrize("filters", [None, 4])  # None: depthwise
@pytest.mark.parametrize("stride", [1, 2])
def test_chunks_change_nothing(key, monkeypatch, filters, stride):
    with jax.enable_x64(True):
        x = jax.random.normal(key, (6, 5, 6, 3), "float64")
        shape = (3, 3, 1, 3) if filters is None else (3, 3, 3, filters)
        kernel = jax.random.normal(jax.random.key(1), shape, "float64")
        expected = derivatives(x, kernel, stride)
        monkeypatch.setattr(layers, "CACHE", 2 * 5 * 6 * 3 * 9 * 8)
        assert layers.chunk_size(x.shape, 3, 8) == 2
        assert "scan" in str(jax.make_jaxpr(bent, static_argnums=2)(x, kernel, stride))
        given = jax.jit(derivatives, static_argnums=2)(x, kernel, stride)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
            given,
            expected,
        )


def test_chunks_are_the_largest_that_fit(monkeypatch):
    monkeypatch.setattr(layers, "CACHE", 1000 * 9 * 4)  # 1,000 numbers of an image
    sizes = {
        (100, 10, 10, 1): 10,
        (100, 10, 15, 2): 2,
        (99, 10, 10, 1): 9,
        (100, 100, 100, 1): 1,  # a single image is too large
        (9, 10, 10, 1): 9,
        (23, 10, 10, 1): 23,  # a prime number
        (1, 100, 100, 1): 1,
    }
    assert {shape: layers.chunk_size(shape, 3) for shape in sizes} == sizes


def test_a_network_in_chunks_is_still_checked_for_mixing(key, monkeypatch):
    monkeypatch.setattr(layers, "CACHE", 1)
    x = jax.random.normal(key, (4, 4, 4, 2))
    kernel = jax.random.normal(key, (3, 3, 2, 2))

    def apart(params, x):
        return layers.convolve(x, params, method="patches").mean((1, 2))

    def mixing(params, x):
        y = apart(params, x)
        return y - y.mean(0, keepdims=True)

    alpha = unspecific(2)
    assert sensitivity(apart, kernel, x, alpha).shape == kernel.shape
    with pytest.raises(ValueError, match="mixes the examples"):
        sensitivity(mixing, kernel, x, alpha)


def test_the_device_chooses_the_form():
    assert jax.default_backend() == "cpu"
    assert layers.resolve_convolution("auto") == "patches"
    assert layers.resolve_convolution("lax") == "lax"


@pytest.mark.parametrize(
    ("shape", "method", "message"),
    [
        ((2, 2, 3, 4), "auto", r"kernel: expected \(k, k, 3, O\)"),
        ((3, 3, 2, 4), "auto", r"kernel: expected .* got \(3, 3, 2, 4\)"),
        ((3, 3, 3, 4), "fft", "conv: expected one of auto, patches, lax"),
    ],
)
def test_a_bad_kernel_or_method_is_named(shape, method, message):
    with pytest.raises(ValueError, match=message):
        layers.convolve(jnp.ones((1, 6, 6, 3)), jnp.ones(shape), method=method)


def test_initial_kernels_have_he_variance_and_no_bias(key):
    layer = layers.Convolve(64, bias=True)
    params = layer.init(key, jnp.zeros((1, 4, 4, 64)))["params"]
    # 36,864 draws: the standard error of the variance is 0.7 %.
    np.testing.assert_allclose(params["kernel"].var(), 2 / (9 * 64), rtol=0.03)
    np.testing.assert_array_equal(params["bias"], 0)


def test_batch_norm_by_the_batch_and_by_the_running_moments(key):
    x = 2 + 3 * jax.random.normal(key, (50, 4))
    norm = layers.batch_norm(True, "n")
    variables = norm.init(key, x)
    y, moved = norm.apply(variables, x, mutable=["batch_stats"])
    data = np.asarray(x)
    np.testing.assert_allclose(
        y, (data - data.mean(0)) / np.sqrt(data.var(0) + 1e-5), rtol=1e-4, atol=1e-5
    )
    stats = moved["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * data.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * data.var(0), rtol=1e-4)
    running = {"mean": jnp.full(4, 2.0), "var": jnp.full(4, 9.0)}
    still = layers.batch_norm(False, "n").apply(
        {"params": variables["params"], "batch_stats": running}, x
    )
    np.testing.assert_allclose(still, (data - 2) / np.sqrt(9 + 1e-5), rtol=1e-5)
