"""One reader for every format: what is on disk becomes floats in [0, 1], dense white.

The file's first bytes say what it is, never its name. The size in the header is
checked before anything is decoded.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.images import dicom
from covid_cxr.images.integrity import jpeg_fault, png_fault
from covid_cxr.images.radiograph import (
    EXTRA,
    MAX_PIXELS,
    ImageError,
    Radiograph,
    check_size,
    contents,
    finished,
    luminance,
)
from synaptax.checks import check_flags, check_integer, check_number


def read(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, window: bool = True
) -> Radiograph:
    """Read a PNG, JPEG, GIF or DICOM file.

    Args:
        path: the file.
        max_pixels: refuse a header that promises more pixels than this.
        window: for DICOM, apply the VOI LUT or the first window, if there is one.

    Returns:
        The decoded image.

    Raises:
        ImageError: naming the file, if it is absent, cut short, of another format,
            too large, or empty.
        ImportError: naming the extra, if pillow or pydicom is not installed.

    Example:
        >>> from covid_cxr import images
        >>> from PIL import Image
        >>> Image.fromarray(np.full((2, 3), 51, np.uint8)).save("chest.png")
        >>> radiograph = images.read("chest.png")
        >>> radiograph.pixels.shape, radiograph.bits
        ((2, 3), 8)
    """
    path = Path(path)
    check_integer("max_pixels", max_pixels, 1)
    check_flags(window=window)
    data = contents(path)
    if dicom.recognised(data):
        return dicom.decode(data, path, max_pixels=max_pixels, window=window)
    return _raster(data, path, max_pixels)


def read_mask(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a mask; a value counts as marked from half of the format's range up.

    The V7 masks mark arrows and devices with 127, below half: these are not lung.

    Args:
        path: a PNG, GIF or JPEG file, whatever its name says.
        max_pixels: as :func:`read`.

    Returns:
        (H, W) bool, possibly without a marked pixel.

    Raises:
        ImageError: as :func:`read`, and for a mask whose values, such as 0 and 1 of
            255, stay below a tenth of the range: none of it would count.

    Example:
        >>> from PIL import Image
        >>> Image.fromarray(np.array([[0, 255, 255]], np.uint8)).save("lungs.png")
        >>> covid_cxr.images.read_mask("lungs.png").tolist()
        [[False, True, True]]
    """
    values = read(path, max_pixels=max_pixels, window=False).pixels
    if 0 < values.max() < _FAINT:
        raise ImageError(
            Path(path),
            f"a mask's highest value is {values.max():.4f} of the range, where marked "
            "begins at half: 1 of 255, say, is to be stored as 255",
        )
    return values >= 0.5


def read_raw(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int] = (2048, 2048),
    bits: int = 12,
    invert: bool = True,
    spacing: float = 0.175,
) -> Radiograph:
    """Read a headerless radiograph of big-endian 16-bit words, as JSRT's ``.IMG``.

    Args:
        path: the file.
        shape: (H, W) that it must have.
        bits: bits in use; larger values are clipped.
        invert: whether high values are dark, as on JSRT's film.
        spacing: millimetres a pixel.

    Returns:
        The decoded image.

    Raises:
        ImageError: naming the file, if it is absent or of another length.

    Example:
        >>> from covid_cxr import images
        >>> np.array([[0, 4095]], ">u2").tofile("chest.img")
        >>> images.read_raw("chest.img", shape=(1, 2)).pixels.tolist()
        [[1.0, 0.0]]
    """
    path = Path(path)
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape: expected (H, W), got {shape!r}")
    for side in shape:
        check_integer("shape", side, 1)
    check_integer("bits", bits, 1, 16)
    check_flags(invert=invert)
    check_number("spacing", spacing, "millimetres > 0, or NaN", lambda mm: not mm <= 0)
    data, length = contents(path), 2 * shape[0] * shape[1]
    if len(data) != length:
        raise ImageError(
            path,
            f"expected {length} bytes ({shape[0]}x{shape[1]} 16-bit words), "
            f"got {len(data)}",
        )
    words, top = np.frombuffer(data, ">u2").reshape(shape), 2**bits - 1
    flags = {"clipped"} if int(words.max()) > top else set()
    pixels = np.minimum(words, top).astype(np.float32) / top
    if invert:
        pixels, flags = 1 - pixels, flags | {"inverted"}
    return finished(path, pixels, bits, flags, spacing)


def _pillow(path: Path) -> Any:
    """Return Pillow's ``Image``; an ImportError names the extra."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"reading {path.name} {EXTRA}") from error
    return Image


def stored_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of a PNG, JPEG or GIF by its header; nothing is decoded.

    Raises:
        ImageError: naming the file, if its header cannot be read.
        ImportError: naming the extra, if pillow is not installed.
    """
    Image = _pillow(path)
    if not path.is_file():  # a pipe would never end
        raise ImageError(path, "not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG", "GIF")) as image:
                return image.height, image.width
    except Exception as error:  # decoders raise a dozen kinds on broken bytes
        kind = type(error).__name__
        raise ImageError(path, f"its header cannot be read ({kind})") from error


def _raster(data: bytes, path: Path, max_pixels: int) -> Radiograph:
    """Decode with Pillow: PNG, JPEG or GIF, of 1 to 16 bits, grey or colour."""
    Image = _pillow(path)
    try:
        with warnings.catch_warnings():
            # The size is judged by check_size; broken tags do not touch the pixels.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF"))
            check_size(path, image.height, image.width, max_pixels)
            fault = _FAULTS.get(str(image.format), lambda data: "")(data)
            if fault:
                raise ImageError(path, fault)
            # Of a JPEG file the first image is the picture, others are previews.
            several = image.format in ("PNG", "GIF")
            frames = getattr(image, "n_frames", 1) if several else 1
            if frames != 1:
                raise ImageError(path, f"expected one frame, got {frames}")
            image.load()
            return _from_pillow(image, path)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"over the limit of {max_pixels} pixels") from error
    except Exception as error:  # decoders raise a dozen kinds on broken bytes
        kind = "" if data.startswith(_MAGIC) else ", nor DICOM"
        reason = f"not a whole PNG, JPEG or GIF{kind} ({type(error).__name__})"
        raise ImageError(path, reason) from error


_FAINT = 0.1  # of the range: 127, of V7's arrows, is above it
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
_FAULTS: dict[str, Callable[[bytes], str]] = {"PNG": png_fault, "JPEG": jpeg_fault}


def _from_pillow(image: Any, path: Path) -> Radiograph:
    """Return a loaded Pillow image as a radiograph."""
    image, turned = _upright(image)
    mode, flags = image.mode, {"turned"} if turned else set()
    if mode == "P":
        flags.add("palette")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    values = np.asarray(image)
    # Pillow opens 16-bit grey as "I" or "I;16".
    bits = 1 if mode == "1" else 16 if mode.startswith("I") else 8
    if values.ndim == 3 and values.shape[2] in (2, 4):
        flags.add("alpha")
        values = values[..., :-1]
    if values.ndim == 3:
        if values.shape[2] == 3 and mode != "P":
            flags.add("rgb")
        values = luminance(values) if values.shape[2] == 3 else values[..., 0]
    pixels = values.astype(np.float32) / np.float32(2**bits - 1)
    return finished(path, pixels, bits, flags)


def _upright(image: Any) -> tuple[Any, bool]:
    """Return an image as its EXIF orientation shows it, and whether that turned it.

    An orientation that cannot be read or is none of the eight is passed over, as
    every viewer does.
    """
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(0x0112, 1))
    except Exception:  # EXIF is another's bytes too
        return image, False
    return (image, False) if turn is None else (image.transpose(turn), True)
