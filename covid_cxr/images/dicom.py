"""DICOM to floats in [0, 1]: modality LUT, padding, VOI LUT, and the way up of grey.

pydicom decodes; none of its functions inverts MONOCHROME1, and a window's output range
depends there on the stored type, so the windows are ours, each one equation of the
standard (PS3.3, C.11.2), and end in [0, 1]. Only what the study needs leaves this
module: pixels, and the few attributes of :class:`Attributes`; never a name, an id or a
date. A header can hold anything under any tag, so each value is read through
:class:`_Header`, and no message repeats what a file says, nor what pydicom says of it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.images.integrity import coded_size, inflated_size
from covid_cxr.images.radiograph import (
    EXTRA,
    ImageError,
    Radiograph,
    check_size,
    contents,
    finished,
    luminance,
)

MAX_INFLATED = 2**27  # bytes of a deflated data set: 67 million 16-bit pixels

_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1"
_LONG = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()  # 4 bytes of length
_TERMS = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


class Attributes(NamedTuple):
    """What a file says beside its pixels, without identifiers.

    Attributes:
        view: "PA", "AP", "L" or "UNKNOWN".
        sex: "M", "F" or "".
        age: in years, NaN if not said.
        spacing: millimetres a pixel, NaN if not said or not square.
        height: rows.
        width: columns.
    """

    view: str
    sex: str
    age: float
    spacing: float
    height: int
    width: int


def linear(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the window LINEAR: ((x - (c - 1/2)) / (w - 1) + 1/2), in [0, 1]."""
    # At w = 1 the equation is a step at c - 1/2 (PS3.3, C.11.2.1.2.1).
    if width <= 1:
        return (x > centre - 0.5).astype(np.float32)
    return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def linear_exact(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the window LINEAR_EXACT: ((x - c) / w + 1/2), in [0, 1]."""
    return np.clip((x - centre) / width + 0.5, 0, 1)


def sigmoid(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the window SIGMOID: 1 / (1 + exp(-4 (x - c) / w))."""
    # 1 / (1 + exp(-2 t)) = (1 + tanh t) / 2: exp would overflow far below the centre.
    return 0.5 * (1 + np.tanh(2 * (x - centre) / width))


_WINDOWS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


def attributes(path: Path) -> Attributes:
    """Return what a file's header says, without decoding its pixels.

    Args:
        path: a DICOM file.

    Returns:
        View, sex, age, spacing and size.

    Raises:
        ImageError: naming the file, if it is no DICOM file.
    """
    with _guarded(path, "the header cannot be read"):
        return _attributes(_parse(contents(path), path, pixels=False))


def recognised(data: bytes) -> bool:
    """Say whether a file is DICOM: by its preamble, or by a data set that starts it.

    Old modalities and dumps of network transfers lack the preamble; then the first
    element is of group 2 or 8, with its kind of value or a length that fits.
    """
    if data[128:132] == b"DICM":
        return True
    if data[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08") or len(data) < 8:
        return False
    kind = data[4:6]
    return (kind.isalpha() and kind.isupper()) or (
        int.from_bytes(data[4:8], "little") <= len(data) - 8
    )


def decode(data: bytes, path: Path, *, max_pixels: int, window: bool) -> Radiograph:
    """Decode a DICOM file's bytes; see :func:`covid_cxr.images.reader.read`."""
    with _guarded(path, "pixels cannot be decoded"):
        header = _parse(data, path, pixels=True)
        bare = set() if data[128:132] == b"DICM" else {"no preamble"}
        frames = header.integer("NumberOfFrames", 1)
        height, width = header.integer("Rows", 0), header.integer("Columns", 0)
        if not height and not width:  # a plan, a report, a directory
            missing = "preamble, and without pixels" if bare else "pixels"
            raise ImageError(path, f"DICOM without {missing}")
        check_size(path, height, width, max_pixels)
        if frames != 1:
            raise ImageError(path, f"expected one frame, got {frames}")
        _check_coding(header, max_pixels)
        return _convert(header, np.asarray(header.dataset.pixel_array), bare, window)


@contextlib.contextmanager
def _guarded(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a header raises into an ImageError, and keep its text in.

    pydicom warns, logs and raises with the values that it found; these may be names.
    """
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except (ImageError, ImportError):
        raise
    except Exception as error:  # broken bytes raise a dozen kinds
        # "from None": the cause's own message would be in every traceback.
        raise ImageError(path, f"{what} ({type(error).__name__})") from None
    finally:
        log.setLevel(level)


class _Header:
    """A file's header, whose values are of the kind asked for or an ImageError."""

    def __init__(self, dataset: Any, path: Path) -> None:
        self.dataset, self.path = dataset, path

    def values(self, name: str) -> list[Any]:
        """Return a tag's values, none where the tag is absent or empty."""
        try:
            value = self.dataset.get(name)
        except Exception:
            raise ImageError(self.path, f"{name}: not of the tag's kind") from None
        if value is None or value == "":
            return []
        several = hasattr(value, "__iter__") and not isinstance(value, str)
        return list(value) if several else [value]

    def numbers(self, name: str) -> list[float]:
        """Return a tag's values as finite numbers."""
        try:
            numbers = [float(value) for value in self.values(name)]
        except (TypeError, ValueError, OverflowError):
            raise ImageError(self.path, f"{name}: expected a number") from None
        if not all(map(math.isfinite, numbers)):
            raise ImageError(self.path, f"{name}: expected a finite number")
        return numbers

    def number(self, name: str, default: float) -> float:
        """Return a tag's single value, or the default where it is absent."""
        numbers = self.numbers(name)
        if len(numbers) > 1:
            raise ImageError(self.path, f"{name}: expected one number")
        return numbers[0] if numbers else default

    def integer(self, name: str, default: int) -> int:
        """Return a tag's single value as a whole number."""
        number = self.number(name, float(default))
        if number != int(number):
            raise ImageError(self.path, f"{name}: expected a whole number")
        return int(number)

    def text(self, name: str) -> str:
        """Return a tag's first value as stripped upper-case text, "" if absent."""
        values = self.values(name)
        return str(values[0]).strip().upper() if values else ""


def _parse(data: bytes, path: Path, *, pixels: bool) -> _Header:
    """Return the header of a file's bytes."""
    try:
        import pydicom
        from pydicom import uid
    except ImportError as error:
        raise ImportError(f"reading {path.name} {EXTRA}") from error
    with _guarded(path, "not a DICOM file"):
        if not recognised(data):
            raise ImageError(path, "not a DICOM file")
        file = io.BytesIO(_inflated(data, path))
        force = data[128:132] != b"DICM"
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=force)
        if "TransferSyntaxUID" not in dataset.file_meta:
            # Without the meta header pixels are stored plain, in the data set's order.
            implicit, little = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = (
                uid.ImplicitVRLittleEndian
                if implicit
                else uid.ExplicitVRLittleEndian
                if little
                else uid.ExplicitVRBigEndian
            )
        return _Header(dataset, path)


def _inflated(data: bytes, path: Path) -> bytes:
    """Return a file with its data set inflated, within MAX_INFLATED bytes.

    pydicom would inflate it whole, whatever its size. The meta header says how the
    data set is stored; it ends where another group than 2 begins.
    """
    if _DEFLATED not in data:
        return data
    start = at = 132 if data[128:132] == b"DICM" else 0
    while data[at : at + 2] == b"\x02\x00":
        wide = data[at + 4 : at + 6] in _LONG
        length = data[at + 8 : at + 12] if wide else data[at + 6 : at + 8]
        at += (12 if wide else 8) + int.from_bytes(length, "little")
    if _DEFLATED not in data[start:at]:
        return data
    if inflated_size([data[at:]], MAX_INFLATED, -zlib.MAX_WBITS) > MAX_INFLATED:
        raise ImageError(path, f"inflates to more than {MAX_INFLATED} bytes")
    # Filled up with zero bytes, so that no length in the meta header changes.
    plain = _EXPLICIT.ljust(len(_DEFLATED), b"\0")
    body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at:])
    return data[:at].replace(_DEFLATED, plain) + body


def _check_coding(header: _Header, max_pixels: int) -> None:
    """Raise an ImageError for a coding without a decoder, or of too large a frame."""
    from pydicom.encaps import get_frame
    from pydicom.pixels import get_decoder  # pyright: ignore

    coding = header.dataset.file_meta.TransferSyntaxUID
    if not coding.is_encapsulated:
        return
    if not get_decoder(coding).is_available:
        needs = f"{coding.name} needs pip install 'synaptax[cxr-codecs]'"
        raise ImageError(header.path, needs)
    size = coded_size(get_frame(header.dataset.PixelData, 0, number_of_frames=1))
    if size is not None:  # the stream's own size, whatever Rows and Columns say
        check_size(header.path, *size, max_pixels)


def _convert(
    header: _Header, stored: np.ndarray, flags: set[str], window: bool
) -> Radiograph:
    """Return stored values as a radiograph."""
    kind = header.text("PhotometricInterpretation")
    bits = header.integer("BitsStored", 8)
    spacing = _spacing(header)
    if stored.ndim == 3 and kind.startswith("MONOCHROME"):
        raise ImageError(header.path, f"{kind}: expected one sample a pixel")
    if stored.ndim == 3:
        # pydicom's pixel_array has turned YBR into RGB: once is enough.
        pixels = luminance(stored) / (2**bits - 1)
        return finished(header.path, pixels, bits, flags | {"rgb"}, spacing)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        # Only a term of the standard is repeated: a tag may hold a name.
        interpretation = kind if kind in _TERMS else "another interpretation"
        raise ImageError(header.path, f"expected grey pixels, got {interpretation}")
    # Before the LUT, for PixelPaddingValue is one of the stored values.
    padding = _padding(header, stored)
    values, low, high = _modality(header, stored, bits, flags)
    pixels = _display(header, values, (low, high), flags, window)
    # PS3.3, C.7.6.3.1.2: the lowest value is white, after any VOI transformation.
    if kind == "MONOCHROME1":
        pixels, flags = 1 - pixels, flags | {"inverted"}
    # Padding may be any number at all, infinite after the LUT, so it goes first.
    if padding is not None:
        pixels, flags = np.where(padding, 0, pixels), flags | {"padding"}
    return finished(header.path, pixels, bits, flags, spacing)


def _padding(header: _Header, stored: np.ndarray) -> np.ndarray | None:
    """Return where the stored value is padding, or None if nowhere."""
    if not header.values("PixelPaddingValue"):
        return None
    first = header.integer("PixelPaddingValue", 0)
    ends = sorted((first, header.integer("PixelPaddingRangeLimit", first)))
    padding = (stored >= ends[0]) & (stored <= ends[1])
    return padding if padding.any() else None


def _modality(
    header: _Header, stored: np.ndarray, bits: int, flags: set[str]
) -> tuple[np.ndarray, float, float]:
    """Return the modality's values and the range that they can take."""
    if header.values("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        flags.add("rescaled")
        # The descriptor's third number is the bits of an entry (PS3.3, C.11.1.1).
        depth = int(header.dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        values = apply_modality_lut(stored, header.dataset)
        return values.astype(np.float64), 0.0, float(2**depth - 1)
    signed = header.integer("PixelRepresentation", 0) == 1
    # Of the stored bits, not of the pixels: files of one detector keep one scale.
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    )
    slope = header.number("RescaleSlope", 1.0)
    intercept = header.number("RescaleIntercept", 0.0)
    if slope == 0:
        raise ImageError(header.path, "RescaleSlope: 0 leaves a single value")
    if (slope, intercept) != (1.0, 0.0):
        flags.add("rescaled")
    ends = sorted((low * slope + intercept, high * slope + intercept))
    if not math.isfinite(ends[1] - ends[0]):  # a window would clip an infinity to 1
        raise ImageError(header.path, "RescaleSlope: gives pixels that are not finite")
    return stored.astype(np.float64) * slope + intercept, ends[0], ends[1]


def _display(
    header: _Header,
    values: np.ndarray,
    ends: tuple[float, float],
    flags: set[str],
    window: bool,
) -> np.ndarray:
    """Return display values in [0, 1]: by VOI LUT, first window, or full range."""
    if window and header.values("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        flags.add("windowed")
        depth = int(header.dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values.astype(np.int64), header.dataset) / (2**depth - 1)
    # Several windows are alternative views, of which the first is taken.
    centre, width = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    if window and centre and width and width[0] > 0:
        flags.add("windowed")
        function = header.text("VOILUTFunction") or "LINEAR"
        if function not in _WINDOWS:
            names = ", ".join(_WINDOWS)
            raise ImageError(header.path, f"VOILUTFunction: expected one of {names}")
        return _WINDOWS[function](values, centre[0], width[0])
    return (values - ends[0]) / (ends[1] - ends[0])


def _spacing(header: _Header) -> float:
    """Return the pixel spacing in millimetres, NaN unless given and square."""
    # PixelSpacing may be calibrated to the patient; the other is the detector's.
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        sides = header.numbers(name)
        if len(sides) not in (0, 2):
            raise ImageError(header.path, f"{name}: expected two numbers")
        if sides and sides[0] > 0 and math.isclose(*sides, rel_tol=1e-3):
            return sides[0]
    return math.nan


def _attributes(header: _Header) -> Attributes:
    view, sex = header.text("ViewPosition"), header.text("PatientSex")
    return Attributes(
        view={"LL": "L", "RL": "L", "LATERAL": "L"}.get(
            view, view if view in ("PA", "AP", "L") else "UNKNOWN"
        ),
        sex=sex if sex in ("M", "F") else "",
        age=age_in_years(header.text("PatientAge")),
        spacing=_spacing(header),
        height=header.integer("Rows", 0),
        width=header.integer("Columns", 0),
    )


def age_in_years(text: str) -> float:
    """Return a DICOM age ("045Y", "006M", also plain "45") in years, NaN if none.

    Ages outside 0 to 120 are not believed and give NaN.
    """
    match = re.fullmatch(r"\s*(\d{1,4})\s*([DWMY]?)\s*", text.upper())
    if match is None:
        return math.nan
    years = int(match[1]) * _YEARS[match[2] or "Y"]
    return years if years <= 120 else math.nan
