"""Minimal filtering against the definition of convolution, in float64 and float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax.nets import winograd
from tests.synaptax.nets.convolutions import reference_convolve


@pytest.mark.parametrize("taps", [3, 5])
def test_transforms_filter_a_row(taps):
    output, kernel, data = winograd.transforms(taps)
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(2 * taps - 2), rng.standard_normal(taps)
    expected = np.correlate(d, g, "valid")
    given = output @ ((kernel @ g) * (data @ d))
    assert expected.shape == (taps - 1,)
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)


def in_place(tiles, rows, columns):
    """Put (m, m, B, I, J, O) back in order: (B, rows, columns, O)."""
    side, (batch, down, across, filters) = tiles.shape[0], tiles.shape[2:]
    y = tiles.transpose(2, 3, 0, 4, 1, 5)
    y = y.reshape(batch, down * side, across * side, filters)
    return y[:, :rows, :columns]


@pytest.mark.parametrize(
    ("shape", "taps"),
    [((12, 12, 3), 5), ((5, 6, 2), 5), ((9, 14, 1), 5), ((3, 3, 2), 3), ((8, 7, 4), 3)],
)
def test_tiles_are_the_convolution(key, shape, taps):
    with jax.enable_x64(True):
        x = jax.random.normal(key, (2, *shape), "float64")
        kernel = jax.random.normal(
            jax.random.key(1), (taps, taps, shape[2], 5), "float64"
        )
        expected = reference_convolve(np.asarray(x), np.asarray(kernel))
        tiles = jax.jit(winograd.convolve_tiles)(x, kernel)
        given = in_place(tiles, *expected.shape[1:3])
        assert given.dtype == np.float64
        np.testing.assert_allclose(given, expected, rtol=1e-11, atol=1e-11)


def test_float32_is_off_by_a_few_millionths_of_the_size(key):
    x = jax.nn.relu(jax.random.normal(key, (4, 12, 12, 20)))
    kernel = 0.05 * jax.random.normal(jax.random.key(1), (5, 5, 20, 50))
    exact = reference_convolve(np.asarray(x, np.float64), np.asarray(kernel, float))
    given = in_place(winograd.convolve_tiles(x, kernel), 8, 8)
    off = np.sqrt(np.mean((given - exact) ** 2) / np.mean(exact**2))
    assert off < 1e-5


def test_gradients_are_those_of_the_convolution(key):
    with jax.enable_x64(True):
        x = jax.random.normal(key, (2, 7, 8, 3), "float64")
        kernel = jax.random.normal(jax.random.key(1), (5, 5, 3, 4), "float64")

        def by_definition(x, kernel):
            numbers = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "VALID", dimension_numbers=numbers
            )
            return jnp.sin(y).sum()

        def by_tiles(x, kernel):
            return jnp.sin(in_place(winograd.convolve_tiles(x, kernel), 3, 4)).sum()

        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10),
            jax.jit(jax.grad(by_tiles, argnums=(0, 1)))(x, kernel),
            jax.jit(jax.grad(by_definition, argnums=(0, 1)))(x, kernel),
        )
