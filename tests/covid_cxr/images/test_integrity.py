"""What a file says of its own wholeness is used: checksums, ends, lengths, turns."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from covid_cxr.images import ImageError, read
from covid_cxr.images.integrity import coded_size, inflated_size, jpeg_fault, png_fault
from covid_cxr.images.radiograph import unusable
from tests.covid_cxr.trees import encode, picture, write

GREY = picture(1)


def chunks(data):
    """Yield (start, end of the data, name) of a PNG's chunks."""
    at = 8
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield at, at + 8 + size, name
        at += 12 + size


def chunk(name, data):
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png_of(rows, header=(40, 48, 8, 0, 0, 0, 0)):
    """Return a PNG whose checksums all fit, of packed rows that may be too few."""
    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    parts += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


@pytest.mark.parametrize("shift", [8, 60, 300])
def test_a_changed_byte_of_a_png_is_named(tmp_path, shift):
    whole = encode(GREY)
    start = next(start for start, _, name in chunks(whole) if name == b"IDAT")
    broken = bytearray(whole)
    broken[start + shift] ^= 1
    assert png_fault(whole) == "" and "checksum" in png_fault(bytes(broken))
    with pytest.raises(ImageError, match="a checksum does not fit"):
        read(write(tmp_path / "a.png", bytes(broken)))


@pytest.mark.parametrize("rows", [0, 1, 24, 47])
def test_a_png_with_too_few_rows_is_named_though_its_checksums_fit(tmp_path, rows):
    path = write(tmp_path / "a.png", png_of(ROWS[: 41 * rows]))
    with pytest.raises(ImageError, match="end before its last row"):
        read(path)


@pytest.mark.parametrize(
    "pixels",
    [GREY, GREY > 99, GREY.astype(np.uint16) * 257, np.stack([GREY] * 4, -1)],
)
def test_whole_pngs_of_every_kind_pass(pixels):
    assert png_fault(encode(pixels)) == ""


def test_interlaced_rows_are_counted_by_pass():
    # 5x3 pixels of 8 bits, by hand: 1x1, 1x1, none, 1x1, 3x1, 2x2 and 5x1 pixels,
    # each row with its filter's number before it.
    sizes = [2, 2, 0, 2, 4, 6, 6]
    data = png_of(bytes(sum(sizes)), (5, 3, 8, 0, 0, 0, 1))
    assert png_fault(data) == ""
    assert png_fault(png_of(bytes(sum(sizes) - 1), (5, 3, 8, 0, 0, 0, 1))) != ""


@pytest.mark.parametrize("kept", [2, 20, 200, 700, -2, -1])
def test_a_jpeg_without_its_end_is_named(tmp_path, kept):
    whole = encode(GREY, "JPEG")
    assert jpeg_fault(whole) == "" and jpeg_fault(whole[:kept]) != ""
    with pytest.raises(ImageError, match="not a whole"):
        read(write(tmp_path / "a.jpg", whole[:kept]))


def test_a_thumbnails_end_is_not_the_jpegs(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9" * 8
    whole = encode(GREY, "JPEG", exif=exif)
    segment = b"\xff\xe5" + struct.pack(">H", 2 + 4) + b"\xff\xd9\xff\xd9"
    whole = whole[:2] + segment + whole[2:]
    assert jpeg_fault(whole) == "" and jpeg_fault(whole[:-2]) != ""
    assert read(write(tmp_path / "a.jpg", whole + b"\0" * 9)).pixels.shape == (48, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_orientation_is_as_viewers_show_it(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / "a", encode(GREY, kind, exif=exif))
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path))) / np.float32(255)
    image = read(path)
    np.testing.assert_array_equal(image.pixels, shown)
    assert ("turned" in image.flags) == (orientation > 1)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_of_no_sense_turns_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read(write(tmp_path / "a.jpg", encode(GREY, "JPEG", exif=exif)))
    assert image.pixels.shape == (48, 40) and image.flags == set()


def test_inflated_sizes_are_counted_no_further_than_asked():
    packed = zlib.compress(bytes(2**24))
    assert inflated_size([packed], 2**25, zlib.MAX_WBITS) == 2**24
    assert 2**10 < inflated_size([packed], 2**10, zlib.MAX_WBITS) <= 2**21
    halves = [packed[:500], packed[500:]]
    assert inflated_size(halves, 2**25, zlib.MAX_WBITS) == 2**24


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_streams_own_size_is_read(kind):
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, kind)
    assert coded_size(file.getvalue()) == (48, 40)
    assert coded_size(b"\0" * 99) is None


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a pipe", os.mkfifo),
        ("a folder", os.mkdir),
        ("a link to itself", lambda path: os.symlink(path.name, path)),
        ("a link to nothing", lambda path: os.symlink("absent", path)),
    ],
)
def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path, name, make):
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(ImageError):
        read(path)


def test_a_name_with_a_zero_byte_is_no_name(tmp_path):
    with pytest.raises(ImageError, match="not the name of a file"):
        read(f"{tmp_path}/a\0.png")


DIM = (picture(3).astype(np.uint16) * 16).clip(0, 4095)


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.full((48, 40), 7, np.uint8), "constant"),
        (np.pad(np.zeros((47, 40), np.uint8), ((0, 1), (0, 0)), constant_values=1), ""),
        (np.where(np.arange(1920).reshape(48, 40) < 3, 200, 0).astype(np.uint8), ""),
        (np.where(np.arange(1920).reshape(48, 40) < 3, 20, 255).astype(np.uint8), ""),
        (DIM, ""),
        (DIM // 4, ""),
        (DIM * 4, ""),
        (GREY // 4, None),
        (GREY, None),
        (DIM * 16, None),
    ],
)
def test_what_shows_nothing_is_named(tmp_path, pixels, kind):
    fault = unusable(read(write(tmp_path / "a.png", encode(pixels))))
    assert (fault and fault[0]) == ("contrast" if kind == "" else kind)
