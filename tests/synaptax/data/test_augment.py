"""Crops and flips against NumPy, and their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax.data import augment


def reference(image, corner, flip, fill, pad):
    out = []
    for picture, (row, column), turned in zip(image, corner, flip, strict=True):
        height, width, _ = picture.shape
        padded = np.tile(fill, (height + 2 * pad, width + 2 * pad, 1))
        padded[pad : pad + height, pad : pad + width] = picture
        cut = padded[row : row + height, column : column + width]
        out.append(cut[:, ::-1] if turned else cut)
    return np.stack(out)


@pytest.mark.parametrize("pad", [0, 2])
def test_a_batch_equals_the_numpy_reference(key, pad):
    image = jax.random.normal(key, (16, 5, 7, 3))
    fill = jnp.array([-1.0, -2.0, 5.0])
    moves = augment.draw_moves(jax.random.key(1), 16, pad)
    expected = reference(
        np.asarray(image), np.asarray(moves.corner), moves.flip, np.asarray(fill), pad
    )
    given = jax.jit(lambda k: augment.crop_flip(k, image, fill, pad=pad))(
        jax.random.key(1)
    )
    assert given.dtype == image.dtype
    np.testing.assert_array_equal(given, expected)


def test_the_key_decides():
    image = jnp.arange(4 * 6 * 6, dtype=jnp.float32).reshape(4, 6, 6, 1)
    draw = jax.jit(lambda key: augment.crop_flip(key, image, jnp.zeros(1)))
    np.testing.assert_array_equal(draw(jax.random.key(3)), draw(jax.random.key(3)))
    assert not np.array_equal(draw(jax.random.key(3)), draw(jax.random.key(4)))


def test_crops_are_uniform_and_flips_fair(key):
    count, pad = 20_000, 2
    corner, flip = augment.draw_moves(key, count, pad)
    cells = np.bincount(np.asarray(5 * corner[:, 0] + corner[:, 1]), minlength=25)
    assert cells.size == 25
    error = np.sqrt(count * (1 / 25) * (24 / 25))
    assert (np.abs(cells - count / 25) < 4 * error).all()
    assert abs(float(flip.mean()) - 0.5) < 4 * 0.5 / np.sqrt(count)


def test_a_negative_pad_is_refused(key):
    with pytest.raises(ValueError, match="pad: expected a number of pixels >= 0"):
        augment.crop_flip(key, jnp.zeros((1, 4, 4, 1)), jnp.zeros(1), pad=-1)
