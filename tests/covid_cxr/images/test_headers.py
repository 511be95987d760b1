"""Whatever a DICOM header holds, the answer is pixels in [0, 1] or one kind of error.

No message, log or traceback repeats what a file says: any tag may hold a name.
"""

import io
import logging
import pathlib
import re
import struct
import traceback
import warnings
import zlib

import numpy as np
import pytest

from covid_cxr.images import ImageError, read
from covid_cxr.images import dicom as ours
from tests.covid_cxr.trees import dicom, picture, write

pydicom = pytest.importorskip("pydicom")
FILES = pathlib.Path(pydicom.__file__).parent / "data"


def put(data, keyword, value, kind=None):
    """Return a file with raw bytes under a tag, whether or not they fit it."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = pydicom.dcmread(io.BytesIO(data))
    tag = Tag(tag_for_keyword(keyword))
    value += b" " * (len(value) % 2)
    raw = RawDataElement(
        tag, kind or dictionary_VR(tag), len(value), value, 0, False, True
    )
    dataset._dict[tag] = raw
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


TAGS = (
    "NumberOfFrames",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PatientAge",
    "PatientSex",
    "ViewPosition",
    "PhotometricInterpretation",
)
VALUES = (
    b"Doe^Jane",
    b"nan",
    b"inf",
    b"1e400",
    b"1e308",
    b"1A",
    b"\xff\xfe",
    b"1\\2\\3",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("value", VALUES)
def test_odd_values_give_pixels_or_one_error_and_stay_unsaid(
    tmp_path, capsys, caplog, tag, value
):
    data = put(put(dicom(), "WindowCenter", b"100"), "WindowWidth", b"90")
    path = write(tmp_path / "a.dcm", put(data, tag, value))
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (read, ours.attributes):
            try:
                seen = call(path)
            except ImageError as error:
                said += traceback.format_exception(error)
                continue
            if call is read:
                assert np.isfinite(seen.pixels).all()
                assert 0 <= seen.pixels.min() <= seen.pixels.max() <= 1
    said += [*capsys.readouterr(), caplog.text]
    assert "jane" not in " ".join(said).lower()
    assert logging.getLogger("pydicom").level <= logging.CRITICAL


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("RescaleSlope", b"nan", "RescaleSlope: expected a finite number"),
        ("RescaleSlope", b"0", "RescaleSlope: 0 leaves a single value"),
        ("RescaleSlope", b"1e308", "not finite"),
        ("RescaleIntercept", b"x", "RescaleIntercept: expected a number"),
        ("WindowCenter", b"inf", "WindowCenter: expected a finite number"),
        ("NumberOfFrames", b"1A", "NumberOfFrames: expected a number"),
        ("PixelSpacing", b"0.1", "PixelSpacing: expected two numbers"),
        ("VOILUTFunction", b"DOE", "VOILUTFunction: expected one of LINEAR"),
        ("PhotometricInterpretation", b"DOE JANE", "pixels cannot be decoded"),
    ],
)
def test_the_tag_that_is_wrong_is_named(tmp_path, tag, value, words):
    data = put(put(dicom(), "WindowCenter", b"100"), "WindowWidth", b"90")
    with pytest.raises(ImageError, match=words):
        read(write(tmp_path / "a.dcm", put(data, tag, value)))


def test_a_size_given_twice_is_no_size(tmp_path):
    data = put(dicom(), "Rows", struct.pack("<HH", 48, 48), "US")
    with pytest.raises(ImageError, match="Rows: expected one number"):
        read(write(tmp_path / "a.dcm", data))


def bare(data, *, meta):
    """Return a file without its preamble, with or without its meta header."""
    length = struct.unpack_from("<I", data, 140)[0]
    return data[132:] if meta else data[144 + length :]


@pytest.mark.parametrize("meta", [True, False])
def test_without_a_preamble_it_is_still_dicom(tmp_path, meta):
    whole = read(write(tmp_path / "a.dcm", dicom()))
    image = read(write(tmp_path / "b", bare(dicom(), meta=meta)))
    np.testing.assert_array_equal(image.pixels, whole.pixels)
    assert image.flags == {"no preamble"}
    assert ours.attributes(tmp_path / "b") == ours.attributes(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRBigEndian"])
def test_without_a_meta_header_the_order_of_bytes_is_the_data_sets(tmp_path, syntax):
    deep = picture(1).astype(np.uint16) * 16
    whole = dicom(deep, bits=12)
    dataset = pydicom.dcmread(io.BytesIO(whole))
    if syntax == "ExplicitVRBigEndian":
        dataset.PixelData = deep.astype(">u2").tobytes()
    file = io.BytesIO()
    kinds = {
        "implicit_vr": syntax.startswith("Impl"),
        "little_endian": "Little" in syntax,
    }
    del dataset.file_meta
    pydicom.dcmwrite(file, dataset, **kinds)
    image = read(write(tmp_path / "b", file.getvalue()))
    np.testing.assert_array_equal(
        image.pixels, read(write(tmp_path / "a", whole)).pixels
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00" * 9,
        b"\x02\x00\x10\x00UI",
        b"\x00\x08\x00\x05CS\x00\x0a" * 9,
        b"\x08",
    ],
)
def test_what_only_begins_like_a_data_set_is_refused(tmp_path, data):
    with pytest.raises(ImageError):
        read(write(tmp_path / "a", data))


def deflated(data, *, extra=0):
    """Return a file with its data set deflated, behind ``extra`` bytes of a tag."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    data = file.getvalue()
    end = 144 + struct.unpack_from("<I", data, 140)[0]
    if not extra:
        return data
    body = zlib.decompress(data[end:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(struct.pack("<HH2sHI", 8, 0x9999, b"OB", 0, extra))
    for _ in range(extra // 2**20):
        packed += packer.compress(bytes(2**20))
    return data[:end] + packed + packer.compress(body) + packer.flush()


def test_a_deflated_data_set_is_read_and_a_bomb_is_not(tmp_path, monkeypatch):
    whole = read(write(tmp_path / "a.dcm", dicom()))
    image = read(write(tmp_path / "b.dcm", deflated(dicom())))
    np.testing.assert_array_equal(image.pixels, whole.pixels)
    monkeypatch.setattr(ours, "MAX_INFLATED", 2**21)
    path = write(tmp_path / "c.dcm", deflated(dicom(), extra=2**22))
    for call in (read, ours.attributes):
        with pytest.raises(ImageError, match="inflates to more than 2097152 bytes"):
            call(path)
    broken = write(tmp_path / "d.dcm", deflated(dicom())[:-300])
    with pytest.raises(ImageError):
        read(broken)


def test_a_stream_larger_than_the_header_says_is_not_decoded(tmp_path):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    file = io.BytesIO()
    from PIL import Image

    Image.fromarray(np.zeros((600, 700), np.uint8)).save(file, "JPEG")
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    path = write(tmp_path / "a.dcm", out.getvalue())
    with pytest.raises(ImageError, match="600x700 pixels, over the limit of 2000"):
        read(path, max_pixels=2000)


# Files of pydicom without pixels, of several frames, or broken on purpose.
REFUSED = (
    "without pixels|pixels cannot be decoded|expected one frame|needs pip install|"
    "header says|expected a number|not a whole PNG|got PALETTE COLOR"
)


def pydicoms_files():
    suffixes = (".py", ".pyc", ".json", ".txt", ".md", ".icc")
    listed = [p for p in sorted(FILES.rglob("*")) if p.is_file()]
    return [p for p in listed if p.suffix not in suffixes]


def theirs(path):
    """Return what pydicom makes of a file: its stored values by its own LUTs."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = pydicom.dcmread(path, force=True)
    stored = dataset.pixel_array
    if stored.ndim == 3:
        return stored @ np.array([0.299, 0.587, 0.114])
    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(float)
    padding = dataset.get("PixelPaddingValue")
    return values, None if padding is None else stored == padding


def test_every_file_that_comes_with_pydicom_agrees_or_is_refused_by_name():
    counts = {"same": 0, "refused": 0}
    for path in pydicoms_files():
        try:
            image = read(path)
        except ImageError as error:
            assert re.search(REFUSED, error.reason), (path, error.reason)
            counts["refused"] += 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = theirs(path)
        values, padding = other if isinstance(other, tuple) else (other, None)
        shown = np.ones(values.shape, bool) if padding is None else ~padding
        x, y = values[shown], image.pixels[shown].astype(float)
        # Their range of display differs from [0, 1] by a linear map alone.
        slope, shift = np.polyfit(x, y, 1) if np.ptp(x) else (0.0, y.mean())
        gap = np.abs(slope * x + shift - y).max()
        assert gap < 2e-4, (path.name, gap)
        counts["same"] += 1
    assert counts["same"] >= 80 and sum(counts.values()) >= 190, counts


@pytest.mark.parametrize(
    ("packed", "plain", "gap"),
    [
        ("MR_small_jp2klossless", "MR_small", 0),
        ("MR_small_jpeg_ls_lossless", "MR_small", 0),
        ("MR_small_RLE", "MR_small", 0),
        ("SC_rgb_jpeg_gdcm", "SC_rgb_rle", 0),  # JPEG Lossless, Process 14
        ("SC_rgb_jls_lossy_line", "SC_rgb_rle", 3 / 255),
    ],
)
def test_a_compressed_file_is_its_plain_twin(packed, plain, gap):
    from pydicom.pixels import get_decoder

    coding = pydicom.dcmread(FILES / "test_files" / f"{packed}.dcm").file_meta
    if not get_decoder(coding.TransferSyntaxUID).is_available:
        pytest.skip(f"{packed}: needs pip install 'synaptax[cxr-codecs]'")
    twins = [read(FILES / "test_files" / f"{name}.dcm") for name in (packed, plain)]
    np.testing.assert_allclose(*(image.pixels for image in twins), atol=gap, rtol=0)
