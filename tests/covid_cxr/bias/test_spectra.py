"""Texture is seen where block means see nothing, and power is said where it lacks."""

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from covid_cxr.bias import spectra
from covid_cxr.bias.linear import pixels, probe, scored
from covid_cxr.bias.types import Probe, smallest_area
from covid_cxr.metrics import Estimate
from tests.covid_cxr.bias.cohorts import table

COUNT, SIDE = 120, 64


def scenes(seed=0):
    """Return uint8 images (n, 192, 192) of smooth forms and finer grain."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(COUNT):
        total = 20.0
        for cells, share in ((7, 0.6), (48, 0.25)):
            coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
            total = total + share * np.asarray(coarse.resize((192, 192), 3), float)
        out.append(Image.fromarray(np.clip(total, 0, 255).astype(np.uint8)))
    return out


def stored(image, change):
    """Return an image as a machine would store it, at the study's size, in [0, 1]."""
    small = change(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def noisy(image):
    rng = np.random.default_rng(int(np.asarray(image).sum()) % 2**32)
    grain = rng.normal(0, 20, (192, 192))
    values = np.asarray(image) + grain
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


CHANGES = {
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(3, 150, 0)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(4)),
    "noisy": noisy,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_machine_that_treats_detail_otherwise_is_seen_at_the_border(name):
    index, label = table(range(COUNT), np.arange(COUNT) % 2, ["one"] * COUNT)
    images = np.stack(
        [
            stored(image, CHANGES[name] if ill else lambda same: same)
            for image, ill in zip(scenes(), label, strict=True)
        ]
    )
    whole, border = spectra.texture(index, label, images)
    assert border.fires and whole.found.value > 0.9 and not whole.fires
    assert not probe("blocks", index, pixels(images), label).fires


def test_random_classes_raise_no_alarm():
    index, label = table(range(COUNT), np.arange(COUNT) % 2, ["one"] * COUNT)
    images = np.stack([stored(image, lambda same: same) for image in scenes(1)])
    assert not any(one.fires for one in spectra.texture(index, label, images))


def test_the_spectrum_of_a_wave_is_in_its_ring_and_exposure_leaves_no_trace():
    place = np.arange(16)
    wave = np.cos(2 * np.pi * 3 * place / 16) * np.ones((16, 1))
    found = spectra.spectrum(wave[None, None])
    assert found.shape == (1, 8) and found.argmax() == 2
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5, 1, 16, 16))
    np.testing.assert_allclose(
        spectra.spectrum(noise), spectra.spectrum(0.5 * noise), atol=1e-6
    )


def test_the_border_is_its_28_tiles():
    images = np.arange(2 * 17 * 17.0).reshape(2, 17, 17)  # one row and column spare
    found = spectra.border_patches(images)
    assert found.shape == (2, 28, 2, 2)
    inner = images[:, 2:14, 2:14]
    assert not np.isin(inner, found).any()
    assert np.isin(images[:, :2, :16], found).all()


@pytest.mark.parametrize(("each", "least", "most"), [(30, 0.7, 0.8), (500, 0.58, 0.62)])
def test_what_could_be_seen_is_seen_four_times_of_five(each, least, most):
    """Normal scores with that very area fire in 80 % of draws, about."""
    area = smallest_area(each, each)
    assert least < area < most
    from scipy.special import ndtri

    shift = math.sqrt(2) * float(ndtri(area))
    rng = np.random.default_rng(0)
    label = np.arange(2 * each) % 2
    index, _ = table(range(2 * each), label, ["one"] * 2 * each)
    draws = [
        scored("x", index, label, rng.normal(size=2 * each) + shift * label).fires
        for _ in range(100)
    ]
    assert 0.65 < np.mean(draws) < 0.95


def test_a_verdict_says_what_could_not_be_seen():
    area = Estimate(0.5, 0.3, 0.7)
    assert math.isnan(smallest_area(0, 9)) and smallest_area(1, 1) > 0.9
    few = Probe("x", area, 10, 10, smallest=smallest_area(5, 5))
    many = Probe("x", area, 900, 900, smallest=smallest_area(450, 450))
    assert few.verdict.startswith("a leak below ") and "silent" not in few.verdict
    assert many.verdict.startswith("silent; a leak of 0.")
    assert many._replace(alarm=False).verdict == "no alarm"
    assert many._replace(found=Estimate(0.9, 0.8, 1.0)).verdict == "ALARM"
    assert many._replace(found=Estimate(math.nan)).verdict == "undefined"
    assert Probe("gain", area, 9, 9, silence=0.0, alarm=False).verdict == "no alarm"
