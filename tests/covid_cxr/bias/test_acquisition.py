"""What the stored file tells: its fine detail, its size, its kind."""

import numpy as np
import pytest

from covid_cxr.benchmarks.shortcuts import PLANTED, planted
from covid_cxr.bias import acquisition
from covid_cxr.images.radiograph import Radiograph
from tests.covid_cxr.bias.cohorts import table
from tests.covid_cxr.trees import picture

SHAPE = (160, 192)


def stored(seed):
    rng = np.random.default_rng(seed)
    return (picture(seed, SHAPE) + rng.normal(0, 3, SHAPE)).clip(0, 255).astype("uint8")


def test_detail_is_the_median_of_each_tiles_spectrum():
    pixels = stored(0) / np.float32(255)
    rings = []
    for top in range(0, 160, 32):
        for left in range(0, 192, 32):
            if 0 < top < 128 and 0 < left < 160:
                continue  # one tile deep
            tile = pixels[top : top + 32, left : left + 32]
            power = np.abs(np.fft.rfft2(tile - tile.mean())) ** 2
            sums = [[] for _ in range(17)]
            for i, line in enumerate(power):
                for j, value in enumerate(line):
                    radius = np.hypot(min(i, 32 - i), j)
                    sums[min(int(radius), 16)].append(value)
            rings.append([np.log(np.mean(one) + 1e-6) for one in sums[1:]])
    expected = np.median(rings, axis=0)
    found = acquisition.detail(pixels)
    np.testing.assert_allclose(found[:-1], expected - expected.mean(), atol=1e-3)
    # The exposure says nothing; a radiograph of no size says that nothing is known.
    np.testing.assert_allclose(acquisition.detail(0.5 * pixels), found, atol=0.02)
    assert np.isnan(acquisition.detail(pixels[:20])).all()


@pytest.mark.parametrize("name", ["noise", "blur", "sharpening", "JPEG"])
def test_texture_of_one_class_is_an_alarm_and_none_is_none(name):
    label = np.arange(60) % 2
    index, label = table(range(60), label, ["s"] * 60)
    images = [
        planted(name, 2, stored(k), k) if y else stored(k) for k, y in enumerate(label)
    ]
    columns = np.stack(
        [
            acquisition.acquired(Radiograph(x / np.float32(255), 8, frozenset()))
            for x in images
        ]
    )
    kind, detail = acquisition.acquisition(index, label, columns)
    assert detail.fires and not kind.fires
    deal = np.random.default_rng(0).permutation(label)
    assert not any(one.fires for one in acquisition.acquisition(index, deal, columns))


def test_a_file_of_another_kind_is_an_alarm_and_unknown_is_silent():
    label = np.arange(60) % 2
    index, label = table(range(60), label, ["s"] * 60)
    columns = np.full((60, acquisition.COLUMNS), np.nan)
    assert acquisition.acquisition(index, label, columns) == []
    columns[:, acquisition.FILE] = 0
    columns[:, 2] = np.where(label == 1, 16, 8)
    (kind,) = acquisition.acquisition(index, label, columns)
    assert kind.fires and kind.name == "size, depth and kind of file"


@pytest.mark.parametrize("name", PLANTED)
def test_shortcuts_are_planted_and_grow(name):
    image = stored(1)
    before = image.copy()
    far = [
        np.abs(planted(name, s, image, 7).astype(int) - image).mean() for s in range(3)
    ]
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(
        planted(name, 1, image, 7), planted(name, 1, image, 7)
    )
    assert 0 < far[0] <= far[1] <= far[2]
