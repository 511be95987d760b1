"""Resizing against Pillow, in NumPy and in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from covid_cxr.images import (
    centre_crop,
    published_crop,
    resize,
    resize_mask,
    resize_short,
    square,
    square_mask,
)
from tests.covid_cxr.trees import picture

FILM = picture(1, (61, 90)).astype(np.float32) / 255


@pytest.mark.parametrize("shape", [(20, 31), (122, 200), (20, 200), (61, 90), (1, 1)])
def test_parity_with_pillow(shape):
    theirs = np.asarray(
        Image.fromarray(FILM).resize(shape[::-1], Image.Resampling.BILINEAR)
    )
    np.testing.assert_allclose(resize(FILM, shape), theirs, atol=1e-5)
    np.testing.assert_allclose(resize(jnp.asarray(FILM), shape), theirs, atol=1e-5)


def test_fine_stripes_become_grey_not_broad_stripes():
    stripes = np.tile(np.array([0, 1], np.float32), (64, 32))
    small = resize(stripes, (16, 16))
    assert np.abs(small[:, 1:-1] - 0.5).max() < 0.03


def test_a_constant_stays_and_a_stack_is_resized_film_by_film():
    np.testing.assert_allclose(
        resize(np.ones((7, 5), np.float32), (3, 9)), 1, rtol=1e-6
    )
    stack = np.stack([FILM, 1 - FILM])
    np.testing.assert_array_equal(
        resize(stack, (20, 20))[1], resize(1 - FILM, (20, 20))
    )


def test_it_jits():
    found = jax.jit(lambda x: square(x, 32))(jnp.asarray(FILM))
    np.testing.assert_allclose(found, square(FILM, 32), atol=1e-5)


def test_masks_by_half():
    mask = np.zeros((4, 8), bool)
    mask[:, :3] = True
    assert resize_mask(mask, (2, 4)).tolist() == [[True, True, False, False]] * 2


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (257, 256)])
def test_the_published_crop(shape):
    film = np.zeros(shape, np.float32)
    short = resize_short(film, 256)
    assert min(short.shape) == 256
    assert published_crop(film).shape == (224, 224)


def test_fits_keep_the_centre_or_all_of_it():
    film = np.zeros((60, 90), np.float32)
    film[:, 15:75] = 1  # the largest centred square
    np.testing.assert_allclose(square(film, 30), 1, atol=1e-6)
    padded = square(film, 30, fit="pad")
    assert (padded[:5] == 0).all() and (padded[-5:] == 0).all()
    assert padded[15, 15] == 1 and padded[15, 0] == 0
    np.testing.assert_array_equal(padded, square(jnp.asarray(film), 30, fit="pad"))
    squashed = square(film, 30, fit="squash")
    assert squashed[15, 0] == 0 and squashed[0, 15] == pytest.approx(1)
    assert square(film, 28, fit="published").shape == (28, 28)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_masks_move_with_their_films(fit):
    mask = np.zeros((60, 90), bool)
    mask[20:40, 40:50] = True
    found = square_mask(mask, 30, fit=fit)
    film = square(mask.astype(np.float32), 30, fit=fit)
    np.testing.assert_array_equal(found, film >= 0.5)
    # At another size the mask lands in the same place.
    twice = square_mask(np.kron(mask, np.ones((2, 2), bool)), 30, fit=fit)
    assert (found != twice).mean() < 0.02


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: centre_crop(FILM, 100), "side: 100 does not fit in an image of 61x90"),
        (lambda: square(FILM, 8, fit="stretch"), "fit: expected 'crop'"),
        (lambda: resize(FILM[0], (3, 3)), r"image: expected shape \(\.\.\., H, W\)"),
        (lambda: resize(FILM, (0, 3)), "side: expected at least 1"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call()
