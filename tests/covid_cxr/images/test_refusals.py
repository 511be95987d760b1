"""Images of another kind or range are refused by name, and half precision is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from covid_cxr import images
from covid_cxr.hashes import perceptual_hashes
from tests import unchecked
from tests.covid_cxr.trees import dicom, write

GREY = np.random.default_rng(0).random((24, 20)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), 1)
STILL = jnp.eye(2, 3)
BYTES = (GREY * 255).astype(np.uint8)
MARKED = GREY > 0.5

FLOATS = {
    "equalise": images.equalise,
    "clahe": lambda image: images.clahe(image, tiles=2),
    "resize": lambda image: images.resize(image, (8, 8)),
    "resize_short": lambda image: images.resize_short(image, 8),
    "published_crop": lambda image: images.published_crop(image, 8),
    "square": lambda image: images.square(image, 8),
    "warp": lambda image: images.warp(image, STILL),
    "augment": lambda image: images.augment(KEYS, image[None]),
}
MASKS = {
    "resize_mask": lambda mask: images.resize_mask(mask, (8, 8)),
    "square_mask": lambda mask: images.square_mask(mask, 8),
    "equalise": lambda mask: images.equalise(GREY, mask),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(
    "image",
    [BYTES, jnp.asarray(BYTES), MARKED, GREY + 1j, np.ma.array(GREY, mask=MARKED)],
    ids=["uint8", "uint8 of JAX", "bool", "complex", "masked"],
)
def test_floats_alone_are_images(name, image):
    with unchecked(), pytest.raises(ValueError, match="image: expected floats"):
        FLOATS[name](image)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_booleans_alone_are_masks(name, kind):
    with unchecked(), pytest.raises(ValueError, match="mask: expected bool"):
        MASKS[name](MARKED.astype(kind) * kind(255))


@pytest.mark.parametrize("name", ["equalise", "clahe"])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (GREY * 255, r"image: expected values in \[0, 1\], got 0"),
        (np.where(MARKED, np.nan, GREY), "image: expected values in"),
        (GREY.astype(">f4"), "image: expected the machine's byte order"),
        (GREY.tolist(), "image: expected an array, got list"),
    ],
    ids=["255", "nan", "bytes", "list"],
)
def test_what_would_be_counted_as_black_or_white(name, image, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        FLOATS[name](image)


@pytest.mark.parametrize("name", ["equalise", "clahe", "warp", "augment"])
def test_half_precision_counts_and_finds_its_way(name):
    # More pixels than the largest half-precision number, and more than 2048 across.
    image = jnp.asarray(np.tile(GREY[:, :16], (1, 180))[:, :2850], jnp.float16)
    half = FLOATS[name](image)
    full = np.asarray(FLOATS[name](image.astype(jnp.float32)))
    assert half.dtype == jnp.float16
    # A level of 256 where a half is rounded up here and down there.
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=5e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: images.equalise(GREY, MARKED[:, :1]), "mask: expected .24, 20."),
        (lambda: images.clahe(GREY, tiles=2, clip=-1), "clip: expected a number > 0"),
        (lambda: images.resize(GREY, 8), "shape: expected .height, width."),
        (lambda: images.resize(GREY, (8.0, 8)), "side: expected an integer"),
        (lambda: images.centre_crop(GREY, -3), "side: expected at least 1"),
        (lambda: images.augment(KEYS, GREY), "images: expected .N, H, W. and N keys"),
        (lambda: images.pooled([GREY, GREY * np.nan]), "images: expected finite"),
        (lambda: images.as_published([GREY[:0]]), "images: expected finite pixels"),
        (lambda: perceptual_hashes(GREY[None] * np.nan), "images: expected finite"),
        (lambda: images.read("a.png", max_pixels=np.nan), "max_pixels: expected an"),
        (lambda: images.read("a.png", window="no"), "window: expected True or False"),
        (lambda: images.read_raw("a", bits=17), "bits: expected an integer from 1"),
        (lambda: images.read_raw("a", shape=(2, 2, 1)), "shape: expected .H, W."),
        (lambda: images.read_raw("a", spacing=-1), "spacing: expected millimetres"),
        (lambda: images.read_raw("a", invert="no"), "invert: expected True or False"),
    ],
)
def test_refused_by_name(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("grey", [0.1, 1 / 3, 0.7])
def test_pixels_that_are_all_alike_have_no_deviation(grey):
    # By the difference of two sums rounding was one, and normalised images noise.
    with pytest.raises(ValueError, match="images: expected pixels that differ"):
        images.pooled([np.full((11, 7), grey), np.full((5, 9), grey)])
    both = [GREY, GREY[:5] + 1]
    pixels = np.concatenate([one.ravel() for one in both]).astype(np.float64)
    found = images.pooled(both)
    np.testing.assert_allclose(found, (pixels.mean(), pixels.std()), rtol=1e-12)


def test_a_mask_of_0_and_1_of_255_is_not_empty(tmp_path):
    Image.fromarray(MARKED.astype(np.uint8)).save(tmp_path / "lungs.png")
    with pytest.raises(images.ImageError, match="1 of 255, say, is to be stored"):
        images.read_mask(tmp_path / "lungs.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "none.png")
    assert not images.read_mask(tmp_path / "none.png").any()


def test_colour_that_calls_itself_grey(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    said = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsStored": 8}
    with pytest.raises(images.ImageError, match="MONOCHROME1: expected one sample"):
        kind = {"PhotometricInterpretation": "MONOCHROME1"}
        images.read(write(tmp_path / "a.dcm", dicom(colour, **kind, **said)))
