"""DICOM to floats in [0, 1]: modality LUT, padding, VOI LUT, and the way up of grey.

pydicom decodes; none of its functions inverts MONOCHROME1, and a window's output range
depends there on the stored type, so the windows are ours, each one equation of the
standard (PS3.3, C.11.2), and end in [0, 1]. Only what the study needs leaves this
module: pixels, and the few attributes of :class:`Attributes`; never a name, an id or a
date.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.images.radiograph import (
    EXTRA,
    ImageError,
    Radiograph,
    check_size,
    contents,
    luminance,
)

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
    if width <= 1:
        return (x > centre - 0.5).astype(np.float32)
    return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def linear_exact(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the window LINEAR_EXACT: ((x - c) / w + 1/2), in [0, 1]."""
    return np.clip((x - centre) / width + 0.5, 0, 1)


def sigmoid(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the window SIGMOID: 1 / (1 + exp(-4 (x - c) / w))."""
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
    return _attributes(_parse(contents(path), path, pixels=False))


def decode(data: bytes, path: Path, *, max_pixels: int, window: bool) -> Radiograph:
    """Decode a DICOM file's bytes; see :func:`covid_cxr.images.reader.read`."""
    dataset = _parse(data, path, pixels=True)
    frames = _integer(dataset, "NumberOfFrames", 1)
    height, width = _integer(dataset, "Rows", 0), _integer(dataset, "Columns", 0)
    check_size(path, height, width, max_pixels)
    if frames != 1:
        raise ImageError(path, f"expected one frame, got {frames}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = dataset.pixel_array
            return _convert(dataset, np.asarray(stored), path, window)
    except ImageError:
        raise
    except Exception as error:  # decoders raise a dozen kinds on broken bytes
        reason = " ".join(str(error).split())[:200]
        raise ImageError(path, f"pixels cannot be decoded: {reason}") from error


def _parse(data: bytes, path: Path, *, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise ImportError(f"reading {path.name} {EXTRA}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)
    except Exception as error:  # a broken header raises many kinds
        raise ImageError(path, f"not a DICOM file ({type(error).__name__})") from error


def _convert(dataset: Any, stored: np.ndarray, path: Path, window: bool) -> Radiograph:
    """Return stored values as a radiograph."""
    kind = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    bits, flags = _integer(dataset, "BitsStored", 8), set()
    if stored.ndim == 3:
        if kind.startswith("YBR"):
            from pydicom.pixels.processing import convert_color_space

            stored = convert_color_space(stored, kind, "RGB")
        pixels = luminance(stored) / (2**bits - 1)
        flags.add("rgb")
        return Radiograph(_unit(pixels), bits, frozenset(flags), _spacing(dataset))
    if not kind.startswith("MONOCHROME"):
        raise ImageError(path, f"expected grey pixels, got {kind}")
    padding = _padding(dataset, stored)
    values, low, high = _modality(dataset, stored, bits, flags)
    pixels = _display(dataset, values, (low, high), flags, window)
    if kind == "MONOCHROME1":
        pixels, flags = 1 - pixels, flags | {"inverted"}
    if padding is not None:
        pixels, flags = np.where(padding, 0, pixels), flags | {"padding"}
    return Radiograph(_unit(pixels), bits, frozenset(flags), _spacing(dataset))


def _unit(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels, 0, 1).astype(np.float32)


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray | None:
    """Return where the stored value is padding, or None if nowhere."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(first), int(first if limit is None else limit)))
    found = (stored >= ends[0]) & (stored <= ends[1])
    return found if found.any() else None


def _modality(
    dataset: Any, stored: np.ndarray, bits: int, flags: set[str]
) -> tuple[np.ndarray, float, float]:
    """Return the modality's values and the range that they can take."""
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        flags.add("rescaled")
        depth = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        values = apply_modality_lut(stored, dataset)
        return values.astype(np.float64), 0.0, float(2**depth - 1)
    signed = _integer(dataset, "PixelRepresentation", 0) == 1
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    )
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    if (slope, intercept) != (1.0, 0.0):
        flags.add("rescaled")
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return stored.astype(np.float64) * slope + intercept, ends[0], ends[1]


def _display(
    dataset: Any,
    values: np.ndarray,
    ends: tuple[float, float],
    flags: set[str],
    window: bool,
) -> np.ndarray:
    """Return display values in [0, 1]: by VOI LUT, first window, or full range."""
    if window and dataset.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        flags.add("windowed")
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values.astype(np.int64), dataset) / (2**depth - 1)
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if window and centre is not None and width is not None and width > 0:
        flags.add("windowed")
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        return _WINDOWS.get(function, linear)(values, centre, width)
    return (values - ends[0]) / (ends[1] - ends[0])


def _first(dataset: Any, name: str) -> float | None:
    """Return the first value of a tag that may hold several, or None."""
    value = dataset.get(name)
    if value is None or value == "":
        return None
    values: Any = value if hasattr(value, "__iter__") else [value]
    return float(values[0]) if len(values) else None


def _integer(dataset: Any, name: str, default: int) -> int:
    value = dataset.get(name)
    return default if value is None or value == "" else int(value)


def _spacing(dataset: Any) -> float:
    """Return the pixel spacing in millimetres, NaN unless given and square."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(name)
        if value is not None and value != "" and len(value) == 2:
            row, column = float(value[0]), float(value[1])
            if row > 0 and math.isclose(row, column, rel_tol=1e-3):
                return row
    return math.nan


def _attributes(dataset: Any) -> Attributes:
    view = str(dataset.get("ViewPosition") or "").strip().upper()
    sex = str(dataset.get("PatientSex") or "").strip().upper()
    return Attributes(
        view={"LL": "L", "RL": "L", "LATERAL": "L"}.get(
            view, view if view in ("PA", "AP", "L") else "UNKNOWN"
        ),
        sex=sex if sex in ("M", "F") else "",
        age=age_in_years(str(dataset.get("PatientAge") or "")),
        spacing=_spacing(dataset),
        height=_integer(dataset, "Rows", 0),
        width=_integer(dataset, "Columns", 0),
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
