"""Perceptual hashes find the same picture, and only it."""

import io

import numpy as np
import pytest
from PIL import Image

from covid_cxr.hashes import near_duplicates, perceptual_hashes
from covid_cxr.images import resize
from tests.covid_cxr.trees import encode, picture


def films(*pixels):
    small = [resize(one.astype(np.float32) / 255, (64, 64)) for one in pixels]
    return np.stack(small)


def squeezed(pixels, quality):
    return np.asarray(Image.open(io.BytesIO(encode(pixels, "JPEG", quality=quality))))


def test_resized_recompressed_and_re_exposed_copies_are_found():
    film = picture(1, (200, 160))
    copies = (
        picture(1, (100, 80)),
        squeezed(film, 50),
        (film * 0.8 + 20).astype(np.uint8),
    )
    hashes = perceptual_hashes(films(film, *copies, picture(2), picture(3)))
    pairs = near_duplicates(hashes)
    assert {(p.first, p.second) for p in pairs} == {
        (i, j) for i in range(4) for j in range(i + 1, 4)
    }


def test_the_bits_are_those_of_a_slow_cosine_transform():
    small = resize(films(picture(5)), (32, 32))[0].astype(np.float64)
    k, n = np.arange(16)[:, None], np.arange(32)
    basis = np.cos(np.pi * k * (n + 0.5) / 32)
    low = (basis @ small @ basis.T).ravel()[1:]
    wanted = low > np.median(low)
    packed = perceptual_hashes(films(picture(5)))
    bits = np.unpackbits(packed.view(np.uint8), axis=1)[0]
    assert bits[0] == 0
    assert (bits[1:].astype(bool) != wanted).sum() <= 1  # float32 at the median


def test_distances_are_counted_bit_by_bit():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**63, (5, 4)).astype(np.uint64) for _ in "ab")
    found = near_duplicates(first, second, within=256)
    assert len(found) == 25
    for row, column, bits in found:
        pairs = zip(first[row], second[column], strict=True)
        slow = sum(bin(int(a ^ b)).count("1") for a, b in pairs)
        assert bits == slow
    assert near_duplicates(first, second, within=10) == []


def test_many_are_compared_in_blocks(monkeypatch):
    hashes = np.arange(12, dtype=np.uint64).reshape(3, 4).repeat(5, axis=0)
    whole = near_duplicates(hashes, within=0)
    monkeypatch.setattr("covid_cxr.hashes._AT_ONCE", 30)
    assert near_duplicates(hashes, within=0) == whole
    assert len(whole) == 3 * 10


def test_a_stack_is_asked_for_and_may_be_empty():
    assert perceptual_hashes(np.zeros((0, 8, 8), np.float32)).shape == (0, 4)
    with pytest.raises(ValueError, match=r"images: expected \(n, H, W\)"):
        perceptual_hashes(np.zeros((8, 8), np.float32))
