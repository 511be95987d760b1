"""Augmentation against scikit-image's warp, and what each motion means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.images import PUBLISHED_PRETRAINING, Augmentation, augment, warp
from covid_cxr.images.augmentation import draw, matrix
from tests.covid_cxr.trees import picture

FILM = jnp.asarray(picture(1) / 255, jnp.float32)


def motion(**changes):
    base = {"flip": jnp.array(False), "degrees": 0.0, "shift": 0.0, "zoom": 1.0}
    named = {k: jnp.asarray(v) for k, v in (base | changes).items()}
    return matrix(**named)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("degrees", "shift", "zoom"), [(0.0, 0.0, 1.0), (1.0, -0.1, 1.1), (17.0, 0.2, 1.4)]
)
def test_parity_with_scikit_image(flip, degrees, shift, zoom):
    transform = pytest.importorskip("skimage.transform")
    ours = motion(flip=jnp.array(flip), degrees=degrees, shift=shift, zoom=zoom)
    m = np.asarray(ours, np.float64)
    height, width = FILM.shape
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    inner = [
        [m[1, 1], m[1, 0], m[1, 2] * height],
        [m[0, 1], m[0, 0], m[0, 2] * height],
        [0, 0, 1],
    ]
    whole = centre @ np.array(inner) @ np.linalg.inv(centre)
    theirs = transform.warp(np.asarray(FILM, float), whole, order=1, mode="constant")
    # Its edge fades otherwise; inside, the two are the same.
    found = np.asarray(warp(FILM, ours))
    inside = transform.warp(np.ones(FILM.shape), whole, order=1, mode="constant") == 1
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], theirs[inside], atol=2e-5)


def test_no_motion_and_a_mirror_are_exact():
    np.testing.assert_allclose(warp(FILM, motion()), FILM, atol=1e-6)
    mirrored = warp(FILM, motion(flip=jnp.array(True)))
    np.testing.assert_allclose(mirrored, FILM[:, ::-1], atol=1e-6)


def test_a_positive_shift_moves_down_and_leaves_black():
    moved = warp(FILM, motion(shift=0.25))  # 12 of 48 rows
    np.testing.assert_allclose(moved[12:], FILM[:-12], atol=1e-5)
    assert float(jnp.abs(moved[:11]).max()) == 0


def test_zoom_enlarges_about_the_centre_and_turns_are_counter_clockwise():
    dot = jnp.zeros((41, 41)).at[20, 30].set(1.0)
    where = lambda image: np.unravel_index(int(jnp.argmax(image)), image.shape)
    assert where(warp(dot, motion(zoom=2.0))) == (20, 40)
    assert where(warp(dot, motion(degrees=90.0))) == (10, 20)
    mirrored = motion(flip=jnp.array(True), degrees=90.0)
    assert where(warp(dot, mirrored)) == (30, 20)


def test_draws_stay_within_their_bounds_and_flip_as_often_as_said():
    keys = jax.random.split(jax.random.key(1), 4000)
    config = Augmentation(flip=0.2, degrees=5.0, shift=0.1, zoom=1.1)
    drawn = np.asarray(jax.vmap(lambda key: draw(key, config))(keys))
    mirrored = drawn[:, 1, 1] < 0
    error = np.sqrt(0.2 * 0.8 / 4000)
    assert abs(mirrored.mean() - 0.2) < 4 * error
    zoom = 1 / np.sqrt(drawn[:, 0, 0] ** 2 + drawn[:, 0, 1] ** 2)
    assert 1 - 1e-5 <= zoom.min() < 1.01 and 1.09 < zoom.max() <= 1.1 + 1e-5
    turn = np.degrees(np.arctan2(drawn[:, 0, 1], drawn[:, 0, 0]))
    assert np.abs(turn).max() <= 5.01 and np.abs(turn).max() > 4.9
    shift = np.hypot(drawn[:, 0, 2], drawn[:, 1, 2]) * zoom
    assert 0.09 < shift.max() <= 0.1 + 1e-5


def test_a_film_moves_as_its_key_says_whatever_the_batch():
    keys = jax.random.split(jax.random.key(2), 4)
    films = jnp.stack([FILM] * 4)
    together = augment(keys, films)
    np.testing.assert_array_equal(augment(keys[::-1], films)[::-1], together)
    assert float(jnp.abs(together[0] - together[1]).max()) > 0.01
    masks = augment(keys, jnp.ones_like(films)) >= 0.5
    assert masks.shape == films.shape


def test_pretraining_neither_turns_nor_mirrors():
    keys = jax.random.split(jax.random.key(3), 200)
    drawn = np.asarray(jax.vmap(lambda key: draw(key, PUBLISHED_PRETRAINING))(keys))
    assert (drawn[:, 1, 1] > 0).all() and (drawn[:, 0, 1] == 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flip": 1.5}, "flip: expected a probability"),
        ({"zoom": 0.9}, "zoom: expected a zoom >= 1"),
        ({"shift": -0.1}, "shift: expected a share"),
        ({"degrees": float("nan")}, "degrees: expected degrees >= 0"),
    ],
)
def test_bad_configs(options, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**options)
