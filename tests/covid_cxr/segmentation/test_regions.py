"""Variants of a film, pixel by pixel."""

import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.segmentation import (
    VARIANTS,
    border_only,
    boxed_out,
    framed,
    lungs_only,
    lungs_removed,
    variants,
)
from covid_cxr.segmentation.regions import blurred, box

SIDE = 32
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 1, (SIDE, SIDE)), jnp.float32)
_mask = np.zeros((SIDE, SIDE), bool)
_mask[8:20, 6:12] = _mask[10:24, 18:27] = True
MASK = jnp.asarray(_mask)


def test_sharp_variants():
    inside = np.zeros((SIDE, SIDE), bool)
    inside[8:24, 6:27] = True
    np.testing.assert_array_equal(box(MASK), inside)
    for found, kept in (
        (lungs_only(IMAGE, MASK), _mask),
        (lungs_removed(IMAGE, MASK), ~_mask),
        (framed(IMAGE, MASK), inside),
        (boxed_out(IMAGE, MASK), ~inside),
    ):
        np.testing.assert_array_equal(found, np.where(kept, IMAGE, 0))
    edge = np.asarray(border_only(IMAGE))
    assert (edge[2:-2, 2:-2] == 0).all()  # a sixteenth of 32
    np.testing.assert_array_equal(edge[:2], IMAGE[:2])
    np.testing.assert_array_equal(edge[:, -2:], IMAGE[:, -2:])


def test_only_and_removed_add_up_whatever_the_edge():
    for blur in (0.0, 3.0):
        total = lungs_only(IMAGE, MASK, blur) + lungs_removed(IMAGE, MASK, blur)
        np.testing.assert_allclose(total, IMAGE, rtol=1e-5)


def test_the_blur_is_a_gaussian():
    from scipy.ndimage import gaussian_filter

    wanted = gaussian_filter(_mask.astype(float), 3.0, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blurred(MASK, 3.0), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="radius"):
        blurred(MASK, -1.0)


def test_an_empty_mask_removes_nothing():
    nothing = jnp.zeros((SIDE, SIDE), bool)
    np.testing.assert_array_equal(boxed_out(IMAGE, nothing), IMAGE)
    np.testing.assert_array_equal(framed(IMAGE, nothing), 0 * IMAGE)


def test_all_at_once():
    found = variants(np.asarray(IMAGE)[None], _mask[None])
    assert set(found) == set(VARIANTS)
    np.testing.assert_array_equal(found["boxed_out"][0], boxed_out(IMAGE, MASK))
    with pytest.raises(ValueError, match="masks: expected"):
        variants(np.asarray(IMAGE)[None], _mask)
