"""What the stored file tells, before it is reduced: its kind, and its finest detail.

Reducing an image averages noise away and hides blur, sharpening and compression, but
not from a network that is given more pixels, and not the habits of the place that they
come from. So both are measured where they are whole, at the stored size, and in the
border alone, where no lung is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from covid_cxr.bias.linear import probe
from covid_cxr.bias.types import Probe
from covid_cxr.images.radiograph import Radiograph
from covid_cxr.index import Index

_TILE = 32  # pixels a side: 16 rings of frequency, and four blocks of JPEG across
_SHARE = 8  # the border is this share of the shorter side
_MOST = 128  # tiles of an image
_FLOOR = 1e-6  # of the power: a flat tile's rounding, far below a detector's noise
_FLAGS = ("rgb", "alpha", "palette", "inverted", "rescaled", "windowed", "padding")

FILE = slice(0, 3 + len(_FLAGS))  # columns of :func:`acquired`
DETAIL = slice(FILE.stop, FILE.stop + _TILE // 2 + 1)
COLUMNS = DETAIL.stop


def acquired(image: Radiograph) -> np.ndarray:
    """Return what a file is like: (COLUMNS,) float32.

    Args:
        image: as it was read.

    Returns:
        Logarithms of height and width, bits a pixel, and what was done to read it;
        then :func:`detail`.
    """
    height, width = image.pixels.shape
    flags = [float(flag in image.flags) for flag in _FLAGS]
    file = [np.log(height), np.log(width), float(image.bits), *flags]
    return np.array([*file, *detail(image.pixels)], np.float32)


def detail(pixels: np.ndarray) -> np.ndarray:
    r"""Return the fine detail of an image's border: (_TILE / 2 + 1,) float64.

    .. math:: L_r = \operatorname*{median}_{\mathrm{tiles}}
        \log \Big(\overline{|\hat x(k)|^2}_{r \le |k| < r + 1} + \epsilon\Big)

    by ring r, less their mean, so that the exposure, a factor on x, says nothing; the
    median passes over letters and edges. The last number is the mean step across the
    borders of 8x8 blocks less that inside them, on a logarithmic scale: JPEG's grid.

    Args:
        pixels: (H, W) in [0, 1].

    Returns:
        NaN where the border holds no tile.
    """
    tiles = _border(pixels)
    if not len(tiles):
        return np.full(_TILE // 2 + 1, np.nan)
    power = np.abs(np.fft.rfft2(tiles - tiles.mean(axis=(1, 2), keepdims=True))) ** 2
    ring = np.minimum(_RING, _TILE // 2)
    rings = [power[:, ring == r].mean(axis=1) for r in range(1, _RINGS)]
    log = np.median(np.log(np.stack(rings, axis=1) + _FLOOR), axis=0)
    # Step j lies between columns j and j + 1 (from 1); a tile begins on JPEG's grid, so
    # those at multiples of 8 cross a block's border. 1e-4 keeps the logarithm
    # finite.
    step = np.abs(np.diff(tiles, axis=2)).mean(axis=(0, 1)) + 1e-4
    across = np.arange(1, _TILE) % 8 == 0
    grid = np.log(step[across].mean() / step[~across].mean())
    return np.append(log - log.mean(), grid)


_RINGS = _TILE // 2 + 1
_RING = np.hypot(
    np.fft.fftfreq(_TILE, 1 / _TILE)[:, None], np.fft.rfftfreq(_TILE, 1 / _TILE)
).astype(int)


def _border(pixels: np.ndarray) -> np.ndarray:
    """Return tiles (m, _TILE, _TILE) float32 of the border, on JPEG's grid."""
    rows, columns = (side // _TILE for side in pixels.shape)
    if not rows or not columns:
        return np.zeros((0, _TILE, _TILE), np.float32)
    grid = pixels[: rows * _TILE, : columns * _TILE].astype(np.float32)
    tiles = grid.reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2)
    # At least one tile: a small image has a border too.
    depth = max(min(pixels.shape) // _SHARE // _TILE, 1)
    edge = np.ones((rows, columns), bool)
    edge[depth : rows - depth, depth : columns - depth] = False
    tiles = tiles[edge]
    # A black margin has no detail to compare; spread what is left over the border.
    tiles = tiles[np.ptp(tiles.reshape(len(tiles), -1), axis=1) > 0]
    step = -(-len(tiles) // _MOST) if len(tiles) else 1
    return tiles[::step]


def acquisition(
    index: Index, label: np.ndarray, columns: np.ndarray, *, seed: int = 0
) -> list[Probe]:
    """Ask what the stored file and the fine detail of its border tell of the label.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        columns: (n, COLUMNS), of :func:`acquired`; NaN where it is not known.
        seed: of the folds.

    Returns:
        "size, depth and kind of file" and "fine detail, border at the stored size";
        none where nothing is known of any image.
    """
    questions = (
        ("size, depth and kind of file", FILE),
        ("fine detail, border at the stored size", DETAIL),
    )
    return [
        probe(name, index, _filled(columns[:, part]), label, seed=seed)
        for name, part in questions
        if not np.isnan(columns[:, part]).all()
    ]


def _filled(values: Any) -> np.ndarray:
    """Return columns with their means where they are unknown, and whether they are."""
    values = np.asarray(values, np.float64)
    unknown = np.isnan(values)
    # A column that nobody knows has no mean: 0 stands for it.
    mean = np.nanmean(np.where(unknown.all(axis=0), 0, values), axis=0)
    missing = unknown.any(axis=1, keepdims=True).astype(float)
    return np.concatenate([np.where(unknown, mean, values), missing], axis=1)
