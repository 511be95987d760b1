"""The reader: every format to floats in [0, 1], broken ones to one error."""

import numpy as np
import pytest
from PIL import Image

from covid_cxr.images import ImageError, read, read_mask, read_raw
from tests.covid_cxr.trees import bomb, dicom, encode, gif, picture, write

GREY = picture(1)


@pytest.mark.parametrize(
    ("pixels", "bits", "flags"),
    [
        (GREY, 8, set()),
        (GREY.astype(np.uint16) * 257, 16, set()),
        (np.stack([GREY] * 3, -1), 8, {"rgb"}),
        (np.stack([GREY] * 4, -1), 8, {"rgb", "alpha"}),
        (np.stack([GREY, GREY], -1), 8, {"alpha"}),
    ],
)
def test_png_of_every_depth_and_channel_count(tmp_path, pixels, bits, flags):
    film = read(write(tmp_path / "a.png", encode(pixels)))
    assert film.pixels.dtype == np.float32
    np.testing.assert_array_equal(film.pixels, GREY / np.float32(255))
    assert (film.bits, film.flags) == (bits, flags)


def test_colour_becomes_luminance(tmp_path):
    colour = np.stack([picture(i) for i in (1, 2, 3)], -1)
    film = read(write(tmp_path / "a.png", encode(colour)))
    wanted = np.asarray(Image.fromarray(colour).convert("L")) / 255
    np.testing.assert_allclose(film.pixels, wanted, atol=0.6 / 255)


def test_palettes_and_single_bits(tmp_path):
    image = Image.fromarray(GREY).quantize(256)
    image.save(tmp_path / "p.png")
    film = read(tmp_path / "p.png")
    assert film.flags == {"palette"}
    np.testing.assert_allclose(film.pixels, GREY / 255, atol=2 / 255)
    Image.fromarray(GREY > 100).save(tmp_path / "b.png")
    film = read(tmp_path / "b.png")
    np.testing.assert_array_equal(film.pixels, (GREY > 100).astype(np.float32))
    assert film.bits == 1


def test_jpeg_and_a_name_that_lies(tmp_path):
    film = read(write(tmp_path / "a.png", encode(GREY, "JPEG", quality=100)))
    np.testing.assert_allclose(film.pixels, GREY / 255, atol=4 / 255)


def test_rows_come_first_and_left_stays_left(tmp_path):
    marked = np.zeros((30, 50), np.uint8)
    marked[2, 40] = 255
    for data in (encode(marked), dicom(marked), gif(marked)):
        film = read(write(tmp_path / "a", data))
        assert film.pixels.shape == (30, 50)
        assert np.argwhere(film.pixels > 0.5).tolist() == [[2, 40]]


def test_masks_count_from_half_up(tmp_path):
    mask = np.array([[0, 127, 128, 255]], np.uint8)
    for data in (encode(mask), gif(mask)):
        found = read_mask(write(tmp_path / "m", data))
        assert found.tolist() == [[False, False, True, True]]


def test_raw_words(tmp_path):
    words = np.array([[0, 1], [4095, 5000]], ">u2")
    path = write(tmp_path / "a.IMG", words.tobytes())
    film = read_raw(path, shape=(2, 2))
    np.testing.assert_allclose(film.pixels, [[1, 4094 / 4095], [0, 0]], rtol=1e-6)
    assert film.flags == {"inverted", "clipped"}
    film = read_raw(path, shape=(1, 4), bits=16, invert=False)
    np.testing.assert_allclose(film.pixels[0] * 65535, [0, 1, 4095, 5000], rtol=1e-6)
    with pytest.raises(ImageError, match="expected 8388608 bytes"):
        read_raw(path)


@pytest.mark.parametrize(
    ("data", "words"),
    ids=range(9),
    argvalues=[
        (b"", "the file is empty"),
        (b"<html>", "not a whole PNG, JPEG or GIF"),
        (bomb(), "over the limit of 100000000 pixels"),
        (bomb(13_000, 9_000), "9000x13000 pixels, over the limit"),
        (encode(GREY)[:-8], "cut short"),
        (encode(GREY)[:200], "cut short"),
        (encode(GREY, "JPEG")[:-200], "not a whole"),
        (encode(GREY, "TIFF"), "not a whole"),
        (b"\x00" * 128 + b"DICM" + b"\xff" * 50, "DICOM|pixels"),
    ],
)
def test_broken_files_give_one_error_that_names_them(tmp_path, data, words):
    path = write(tmp_path / "film.png", data)
    with pytest.raises(ImageError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.path == path


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_a_file_of_several_frames_is_refused(tmp_path, kind):
    first = Image.fromarray(picture(1))
    path = tmp_path / "moving"
    first.save(path, kind, save_all=True, append_images=[Image.new("L", first.size)])
    with pytest.raises(ImageError, match="moving: expected one frame, got 2"):
        read(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: No such file"):
        read(tmp_path / "none.png")


def test_the_limit_is_an_argument(tmp_path):
    path = write(tmp_path / "a.png", encode(GREY))
    with pytest.raises(ImageError, match="48x40 pixels, over the limit of 100"):
        read(path, max_pixels=100)
