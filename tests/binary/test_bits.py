"""Products from bits, against integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary import bits

PRODUCT = jax.jit(bits.product, static_argnums=2)
PACK = jax.jit(bits.pack)


@pytest.fixture(scope="module", params=[(33, 64), (40, 101)])
def matrix(request):
    rng = np.random.default_rng(0)
    return rng.choice(np.array([-1, 1], np.int8), request.param)


def test_words_hold_a_bit_of_neighbours_side_by_side():
    whole = np.random.default_rng(4).integers(-4, 4, (2, 70)).astype(np.int32)
    entries = np.pad(whole, ((0, 0), (0, 26)))  # three words
    found = np.asarray(jax.jit(bits.words, static_argnums=1)(jnp.asarray(whole), 3))
    assert found.dtype == np.uint32 and found.shape == (2, 3, 3)
    for row, plane, word in np.ndindex(found.shape):
        column = (entries[row, word::3] >> plane) & 1
        assert found[row, plane, word] == sum(int(b) << i for i, b in enumerate(column))


def test_sign_product_is_exact(matrix):
    up = np.random.default_rng(1).random(matrix.shape[1]) < 0.5
    found = bits.sign_product(PACK(jnp.asarray(matrix)).rows, jnp.asarray(up))
    np.testing.assert_array_equal(found, matrix.astype(int) @ np.where(up, 1, -1))


def test_product_of_integers_is_exact(matrix):
    packed = PACK(jnp.asarray(matrix))
    rng = np.random.default_rng(2)
    for rows, dense in ((packed.rows, matrix), (packed.columns, matrix.T)):
        vector = rng.integers(-127, 128, dense.shape[1]).astype(np.float32)
        vector[0] = 127  # so that the unit is 1
        found = PRODUCT(rows, jnp.asarray(vector), 8)
        np.testing.assert_allclose(found, dense.astype(float) @ vector, rtol=1e-6)


def test_product_of_reals_has_the_error_of_its_rounding(matrix):
    rows = PACK(jnp.asarray(matrix)).rows
    vector = np.random.default_rng(3).normal(size=matrix.shape[1]).astype(np.float32)
    exact = matrix.astype(float) @ vector
    for planes in (8, 12):
        unit = np.abs(vector).max() / (2 ** (planes - 1) - 1)
        found = PRODUCT(rows, jnp.asarray(vector), planes)
        assert np.max(np.abs(found - exact)) <= unit / 2 * len(vector) + 1e-4
    assert np.std(found - exact) < unit * np.sqrt(len(vector) / 12) * 2


def test_product_with_zeros_is_zero(matrix):
    rows = PACK(jnp.asarray(matrix)).rows
    found = PRODUCT(rows, jnp.zeros(matrix.shape[1]), 12)
    np.testing.assert_array_equal(found, 0)


def test_products_under_vmap(matrix):
    rows = PACK(jnp.asarray(matrix)).rows
    vectors = jax.random.normal(jax.random.key(0), (3, matrix.shape[1]))
    found = jax.jit(jax.vmap(lambda v: bits.product(rows, v, 12)))(vectors)
    for one, vector in zip(found, vectors, strict=True):
        np.testing.assert_array_equal(one, PRODUCT(rows, vector, 12))


def test_planes_that_overflow_are_refused():
    with pytest.raises(ValueError, match="planes: expected at least 2 bits"):
        bits.check_planes(1, 100)
    with pytest.raises(ValueError, match="got 20 at size 10001"):
        bits.check_planes(20, 10001)
    bits.check_planes(12, 100_001)
