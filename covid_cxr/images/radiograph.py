"""A radiograph as every reader returns it, and the error of every reader."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synaptax.cli.terminal import printable

MAX_PIXELS = 100_000_000  # the largest image in use, a V7 mask, has 27 million
MAX_BYTES = 2**30  # of a file: MAX_PIXELS in 16-bit colour and half as much again

_LOOKED = 1024  # rows and columns that quantiles are taken over
_TAIL = 0.005  # an arrow or a letter may be white on black
_LEAST_RANGE = 1 / 16
_UNUSED = 1 / 4

EXTRA = "needs the chest X-ray packages: pip install 'synaptax[cxr]'"


_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class ImageError(OSError):
    """A file that is no image, or one that cannot be trusted.

    Attributes:
        path: the file.
        reason: what is wrong with it, without the path.

    Example:
        >>> from pathlib import Path
        >>> str(covid_cxr.images.ImageError(Path("chest.png"), "truncated"))
        'chest.png: truncated'
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path, self.reason = path, reason


class Radiograph(NamedTuple):
    """One decoded image.

    Attributes:
        pixels: (H, W) float32 in [0, 1], row first, dense tissue bright.
        bits: bits stored a pixel in the file.
        flags: what was done or seen: "rgb" (luminance taken), "alpha" (dropped),
            "palette", "inverted" (MONOCHROME1 or a raw file), "rescaled" (modality
            LUT), "windowed" (VOI LUT), "padding" (set to 0), "clipped", "turned" (as
            the EXIF orientation says), "no preamble" (DICOM without its first 132
            bytes).
        spacing: millimetres a pixel, NaN where the file does not say.

    Example:
        >>> from covid_cxr import images
        >>> pixels = np.zeros((2, 3), np.float32)
        >>> radiograph = images.Radiograph(pixels, 12, frozenset({"inverted"}))
        >>> radiograph.pixels.shape, sorted(radiograph.flags)
        ((2, 3), ['inverted'])
    """

    pixels: np.ndarray
    bits: int
    flags: frozenset[str]
    spacing: float = float("nan")


def finished(
    path: Path,
    pixels: np.ndarray,
    bits: int,
    flags: Iterable[str] = (),
    spacing: float = math.nan,
) -> Radiograph:
    """Return a radiograph with float32 pixels in [0, 1].

    Raises:
        ImageError: if a pixel is not finite: a header's slope, intercept, window or
            depth was out of all range. Clipping would hide an infinity.
    """
    if not np.isfinite(pixels).all():
        raise ImageError(path, "its header's numbers give pixels that are not finite")
    # float32 tells all 65,536 levels of 16 bits apart.
    pixels = np.clip(pixels, 0, 1).astype(np.float32)
    return Radiograph(pixels, bits, frozenset(flags), spacing)


def contents(path: Path) -> bytes:
    """Return a file's bytes; an ImageError names one absent, empty, or no file.

    A pipe or a device would block or never end, so only regular files are opened.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            folder = stat.S_ISDIR(status.st_mode)
            raise ImageError(path, "a folder" if folder else "not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(path, f"{status.st_size} bytes, over {MAX_BYTES}")
        data = path.read_bytes()
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or "not the name of a file"
        raise ImageError(path, reason) from error
    if not data:
        raise ImageError(path, "the file is empty")
    return data


def check_size(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Raise an ImageError if a header's size is not one that can be decoded."""
    if height < 1 or width < 1:
        raise ImageError(path, f"the header says {height}x{width} pixels")
    if height * width > max_pixels:
        raise ImageError(
            path,
            f"the header says {height}x{width} pixels, over the limit of {max_pixels}",
        )


def unusable(image: Radiograph) -> tuple[str, str] | None:
    """Return the kind of problem and its detail for a radiograph that shows nothing.

    A chest fills most of the range of grey. One value, a range of 1/16 (12 bits in a
    file of 16, all black, all white), or a file deeper than 8 bits whose two highest
    bits are never used were exported wrongly: as they are they cannot be compared
    with others.

    Returns:
        None for one that can be used.
    """
    pixels = image.pixels
    low, high = pixels.min(), pixels.max()
    if low == high:
        return "constant", f"every pixel is {low:g}"
    step = -(-max(pixels.shape) // _LOOKED)  # quantiles need not see every pixel
    dark, bright = np.quantile(pixels[::step, ::step], (_TAIL, 1 - _TAIL))
    if bright - dark <= _LEAST_RANGE:
        return "contrast", f"99 % of its pixels lie in {dark:.3f} to {bright:.3f}"
    if image.bits > 8 and high <= _UNUSED:
        return "contrast", f"of {image.bits} bits a pixel the highest two are unused"
    return None


def luminance(colour: np.ndarray) -> np.ndarray:
    """Return (H, W) luminance of (H, W, 3) colour, exact where the three are equal."""
    colour = colour.astype(np.float32)
    first = colour[..., 0]
    grey = (colour == first[..., None]).all(-1)
    return np.where(grey, first, colour @ _LUMINANCE)
