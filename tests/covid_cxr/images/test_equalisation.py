"""Equalisation against scikit-image, OpenCV, and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.images import clahe, equalise
from tests.covid_cxr.trees import picture


def floats(stored, bits):
    return jnp.asarray(stored / np.float64(2**bits - 1), jnp.float32)


def film(bits, shape=(48, 40)):
    """Return a stored film with a black border."""
    rng = np.random.default_rng(bits)
    stored = picture(1, shape).astype(np.int64) * (2**bits - 1) // 255
    stored = np.clip(stored + rng.integers(-2, 3, shape), 1, 2**bits - 1)
    stored[:8] = 0
    return stored.astype(np.uint8 if bits == 8 else np.uint16)


def slow_equalise(stored, counted, levels, lowest):
    """Rank each counted pixel by a loop over its levels."""
    out = stored / (levels - 1)
    values = stored[counted]
    start = (values == values.min()).sum() if lowest == "zero" else 0
    for value in np.unique(values):
        rank = ((values <= value).sum() - start) / (values.size - start)
        out[counted & (stored == value)] = rank
    return out


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("lowest", ["zero", "rank"])
def test_by_a_loop_with_and_without_a_mask(bits, lowest):
    stored = film(bits)
    mask = np.zeros(stored.shape, bool)
    mask[10:30, 5:33] = True
    for counted in (np.ones_like(mask), mask):
        found = equalise(
            floats(stored, bits), jnp.asarray(counted), levels=2**bits, lowest=lowest
        )
        wanted = slow_equalise(stored, counted, 2**bits, lowest)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_parity_with_scikit_image(bits):
    exposure = pytest.importorskip("skimage.exposure")
    stored = film(bits)
    found = equalise(floats(stored, bits), levels=2**bits, lowest="rank")
    np.testing.assert_allclose(found, exposure.equalize_hist(stored), atol=1e-6)


def test_parity_with_opencv():
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    stored = film(8)
    found = np.asarray(equalise(floats(stored, 8))) * 255
    theirs = cv2.equalizeHist(stored)
    assert np.abs(found - theirs).max() <= 0.5 + 1e-3  # it rounds


def test_the_border_is_black_with_zero_and_grey_with_rank():
    stored = film(8)
    image = floats(stored, 8)
    assert float(equalise(image)[0, 0]) == 0
    assert float(equalise(image, lowest="rank")[0, 0]) == pytest.approx(
        8 / 48, abs=1e-6
    )


def test_outside_the_mask_nothing_changes():
    image = floats(film(8), 8)
    mask = jnp.zeros(image.shape, bool).at[20:30, 20:30].set(True)
    found = equalise(image, mask)
    np.testing.assert_array_equal(found[~mask], image[~mask])
    # And what is outside does not count.
    other = jnp.where(mask, image, 0.9)
    np.testing.assert_array_equal(equalise(other, mask)[mask], found[mask])
    empty = equalise(image, jnp.zeros_like(mask))
    np.testing.assert_array_equal(empty, image)


def test_a_constant_image_stays_as_it_is():
    image = jnp.full((8, 8), 0.25)
    np.testing.assert_array_equal(equalise(image), image)


def test_it_maps_over_a_stack():
    stack = jnp.stack([floats(film(8), 8), 1 - floats(film(8), 8)])
    many = jax.vmap(equalise)(stack)
    np.testing.assert_array_equal(many[1], equalise(stack[1]))


def slow_clahe(stored, clip, tiles, levels=256):
    """OpenCV's CLAHE by loops, with Python's integers."""
    padding = [(0, -side % tiles) for side in stored.shape]
    padded = np.pad(stored, padding, mode="reflect")
    rows, columns = (side // tiles for side in padded.shape)
    maps = np.zeros((tiles, tiles, levels))
    limit = max(int(clip * rows * columns / levels), 1)
    for i in range(tiles):
        for j in range(tiles):
            tile = padded[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            counts = np.bincount(tile.ravel(), minlength=levels)
            excess = int(np.maximum(counts - limit, 0).sum())
            counts = np.minimum(counts, limit) + excess // levels
            spare = excess % levels
            step = max(levels // spare, 1) if spare else 1
            for level in range(0, levels, step):
                if spare > 0:
                    counts[level] += 1
                    spare -= 1
            maps[i, j] = np.round(np.cumsum(counts) * (levels - 1) / tile.size)
    out = np.zeros(stored.shape)
    for y in range(stored.shape[0]):
        for x in range(stored.shape[1]):
            a, b = (y / rows) - 0.5, (x / columns) - 0.5
            i, j = int(np.floor(a)), int(np.floor(b))
            total = 0.0
            for di in (0, 1):
                for dj in (0, 1):
                    weight = (a - i if di else 1 - a + i) * (b - j if dj else 1 - b + j)
                    one = maps[
                        np.clip(i + di, 0, tiles - 1), np.clip(j + dj, 0, tiles - 1)
                    ]
                    total += weight * one[stored[y, x]]
            out[y, x] = total
    return out


@pytest.mark.parametrize("shape", [(48, 40), (45, 41)])
@pytest.mark.parametrize("clip", [2.0, 40.0])
def test_clahe_by_loops(shape, clip):
    stored = film(8, shape)
    found = np.asarray(clahe(floats(stored, 8), clip=clip, tiles=4)) * 255
    wanted = slow_clahe(stored, clip, 4)
    assert np.abs(found - wanted).max() <= 0.5 + 1e-3  # it rounds


def test_clahe_parity_with_opencv():
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    stored = film(8)
    theirs = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(stored)
    found = np.asarray(clahe(floats(stored, 8), clip=2.0, tiles=4)) * 255
    # A half may be rounded up there and down here.
    assert np.abs(found - theirs).max() <= 1 + 1e-3
    assert (np.abs(found - theirs) > 0.5).mean() < 0.01


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: equalise(x[None]), "image"),
        (lambda x: equalise(x, levels=1), "levels: expected at least 2"),
        (lambda x: equalise(x, lowest="min"), "lowest: expected 'zero' or 'rank'"),
        (lambda x: clahe(x, tiles=20), "tiles: 20 do not fit an image of 8x8"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(Exception, match=words):
        call(jnp.ones((8, 8)))
