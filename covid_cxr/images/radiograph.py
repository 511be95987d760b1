"""A radiograph as every reader returns it, and the error of every reader."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

MAX_PIXELS = 100_000_000  # the largest film in use, a V7 mask, has 27 million


EXTRA = "needs the chest X-ray packages: pip install 'synaptax[cxr]'"


_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class ImageError(OSError):
    """A file that is no image, or one that cannot be trusted.

    Attributes:
        path: the file.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Radiograph(NamedTuple):
    """One decoded image.

    Attributes:
        pixels: (H, W) float32 in [0, 1], row first, dense tissue bright.
        bits: bits stored a pixel in the file.
        flags: what was done or seen: "rgb" (luminance taken), "alpha" (dropped),
            "palette", "inverted" (MONOCHROME1 or a raw film), "rescaled" (modality
            LUT), "windowed" (VOI LUT), "padding" (set to 0), "clipped".
        spacing: millimetres a pixel, NaN where the file does not say.
    """

    pixels: np.ndarray
    bits: int
    flags: frozenset[str]
    spacing: float = float("nan")


def contents(path: Path) -> bytes:
    """Return a file's bytes; an ImageError names one that is absent or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, f"{error.strerror or error}") from error
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


def luminance(colour: np.ndarray) -> np.ndarray:
    """Return (H, W) luminance of (H, W, 3) colour, exact where the three are equal."""
    colour = colour.astype(np.float32)
    first = colour[..., 0]
    grey = (colour == first[..., None]).all(-1)
    return np.where(grey, first, colour @ _LUMINANCE)
