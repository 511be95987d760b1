"""DICOM: depth, sign, LUTs, windows, padding, MONOCHROME1, and no identifiers."""

import math

import numpy as np
import pytest

from covid_cxr.images import ImageError, read
from covid_cxr.images import dicom as ours
from tests.covid_cxr.trees import dicom, picture, write

GREY = picture(1)


def load(tmp_path, pixels=GREY, **tags):
    return read(write(tmp_path / "a.dcm", dicom(pixels, **tags)))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_depths_fill_the_range(tmp_path, bits):
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(kind)
    film = load(tmp_path, pixels, bits=bits)
    np.testing.assert_allclose(film.pixels, pixels / (2**bits - 1), rtol=1e-6)
    assert film.bits == bits and film.flags == set()
    assert film.spacing == pytest.approx(0.168)


def test_monochrome1_is_inverted(tmp_path):
    film = load(tmp_path, photometric="MONOCHROME1")
    np.testing.assert_allclose(film.pixels, 1 - GREY / 255, atol=1e-6)
    assert film.flags == {"inverted"}


def test_signed_pixels(tmp_path):
    pixels = (GREY.astype(np.int16) - 128) * 16
    film = load(tmp_path, pixels, bits=12)
    np.testing.assert_allclose(film.pixels, (pixels + 2048) / 4095, atol=1e-6)


def test_a_negative_slope_turns_grey_over(tmp_path):
    film = load(tmp_path, RescaleSlope="-1", RescaleIntercept="255")
    np.testing.assert_allclose(film.pixels, 1 - GREY / 255, atol=1e-6)
    assert film.flags == {"rescaled"}


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_windows_agree_with_pydicom(tmp_path, function, photometric):
    import pydicom
    from pydicom.pixels.processing import apply_windowing

    pixels = GREY.astype(np.uint16) * 16
    tags = {"WindowCenter": 1800, "WindowWidth": 2500, "RescaleSlope": "1"}
    tags |= {"RescaleIntercept": "-100", "VOILUTFunction": function}
    if function is None:
        del tags["VOILUTFunction"]
    film = load(tmp_path, pixels, bits=12, photometric=photometric, **tags)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    theirs = apply_windowing(data.pixel_array.astype(float) - 100, data)
    low, high = -100, 4095 - 100
    wanted = (theirs - low) / (high - low)
    wanted = 1 - wanted if photometric == "MONOCHROME1" else wanted
    np.testing.assert_allclose(film.pixels, wanted, atol=1e-4)
    assert "windowed" in film.flags


def test_of_several_windows_the_first_counts(tmp_path):
    several = load(tmp_path, WindowCenter=[60, 128], WindowWidth=[21, 256])
    wanted = np.clip((GREY - 59.5) / 20 + 0.5, 0, 1)
    np.testing.assert_allclose(several.pixels, wanted, atol=1e-6)
    path = tmp_path / "a.dcm"
    np.testing.assert_allclose(read(path, window=False).pixels, GREY / 255, atol=1e-6)


def sequence(name, depth, entries, first=0):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [len(entries), first, depth])
    lut.add_new("LUTData", "US", list(entries))
    return {name: Sequence([lut])}


def test_voi_luts(tmp_path):
    table = ((np.arange(256) / 255) ** 2 * 4095).astype(int).tolist()
    film = load(tmp_path, **sequence("VOILUTSequence", 12, table))
    np.testing.assert_allclose(film.pixels, np.array(table)[GREY] / 4095, atol=1e-6)
    assert film.flags == {"windowed"}


def test_modality_luts(tmp_path):
    table = (65535 - np.arange(256) * 257).tolist()
    film = load(tmp_path, **sequence("ModalityLUTSequence", 16, table))
    np.testing.assert_allclose(film.pixels, 1 - GREY / 255, atol=1e-6)
    assert film.flags == {"rescaled"}


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_padding_is_black_either_way(tmp_path, photometric):
    pixels = GREY.copy()
    pixels[:5], pixels[-1] = 7, 9
    tags = {"PixelPaddingValue": 7, "PixelPaddingRangeLimit": 9}
    film = load(tmp_path, pixels, photometric=photometric, **tags)
    assert (film.pixels[:5] == 0).all() and (film.pixels[-1] == 0).all()
    assert film.pixels[5:-1].max() > 0.5
    assert "padding" in film.flags


def test_padding_of_signed_pixels(tmp_path):
    pixels = GREY.astype(np.int16)
    pixels[:5] = -2000
    film = load(tmp_path, pixels, bits=16, PixelPaddingValue=-2000)
    assert (film.pixels[:5] == 0).all() and "padding" in film.flags


def test_colour_becomes_luminance(tmp_path):
    film = load(tmp_path, np.stack([GREY] * 3, -1), photometric="RGB")
    np.testing.assert_allclose(film.pixels, GREY / 255, atol=1e-6)
    assert film.flags == {"rgb"}


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"photometric": "PALETTE COLOR"}, "expected grey pixels, got PALETTE COLOR"),
        ({"NumberOfFrames": 3}, "expected one frame, got 3"),
        ({"Rows": 0}, "the header says 0x40 pixels"),
        ({"Rows": 50_000, "Columns": 50_000}, "over the limit"),
        ({"Rows": 99}, "pixels cannot be decoded"),
        ({"PixelData": None}, "pixels cannot be decoded"),
        ({"BitsStored": 0}, "pixels cannot be decoded"),
    ],
)
def test_broken_headers(tmp_path, tags, words):
    with pytest.raises(ImageError, match=words):
        load(tmp_path, **tags)


def test_attributes_hold_no_identifier(tmp_path):
    path = write(tmp_path / "a.dcm", dicom(view="LL", age="006M", spacing=0.2))
    found = ours.attributes(path)
    assert found == ours.Attributes("L", "F", 0.5, 0.2, 48, 40)
    assert "Doe" not in repr(found) and "SECRET" not in repr(found)
    film = read(path)
    assert "SECRET" not in repr(film._replace(pixels=0))


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("045Y", 45),
        ("006M", 0.5),
        ("45", 45),
        ("365D", 365 / 365.25),
        ("002W", 14 / 365.25),
        ("155", math.nan),
        ("", math.nan),
        ("abc", math.nan),
    ],
)
def test_ages(text, years):
    np.testing.assert_allclose(ours.age_in_years(text), years, equal_nan=True)


def test_a_window_of_one_value_is_a_step():
    found = ours.linear(np.array([9.0, 9.5, 10.0]), 10.0, 1.0)
    assert found.tolist() == [0, 0, 1]
