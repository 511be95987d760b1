"""Sharpness, noise and compression: what block means cannot see, a spectrum can.

Machines and export chains differ in how fine detail is kept: sharpening raises the
high spatial frequencies, blur and JPEG lower them, noise lifts them evenly. The power
of each ring of frequencies,

    P(r) = mean over |k| in [r, r + 1) of |F(x - mean x)(k)|^2,

says all of that and nothing of where anything is. Log powers less their mean: the
exposure, a factor on x, adds the same number to each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from covid_cxr.bias.linear import check_squares, probe
from covid_cxr.bias.types import Probe
from covid_cxr.index import Index

_SHARE = 8  # the border's patches are this share of the side: lungs lie further in
_LEAST = 4  # pixels a side of a patch, for three rings
_FLOOR = 1e-9  # of the power: half a step of 16 bits, squared and summed


def spectrum(patches: np.ndarray) -> np.ndarray:
    """Return log powers by ring of frequency, less their mean: (n, s // 2) float64.

    Args:
        patches: (n, m, s, s); the power is the mean over the m patches of each image.
    """
    side = patches.shape[-1]
    values = patches - patches.mean(axis=(-2, -1), keepdims=True)
    power = np.abs(np.fft.fft2(values)) ** 2
    power = power.mean(axis=1).reshape(len(patches), -1)
    along = np.fft.fftfreq(side, 1 / side)
    ring = np.hypot(along[:, None], along[None, :]).astype(int).ravel()
    # The corners beyond the last whole ring count to it.
    ring = np.minimum(ring, side // 2)
    rings = [power[:, ring == r].mean(axis=1) for r in range(1, side // 2 + 1)]
    log = np.log(np.stack(rings, axis=1) + _FLOOR)
    return log - log.mean(axis=1, keepdims=True)


def border_patches(images: np.ndarray) -> np.ndarray:
    """Return the square patches along the edge of images (n, S, S): (n, m, s, s)."""
    count, side = len(images), images.shape[-1] // _SHARE
    grid = images[:, : side * _SHARE, : side * _SHARE]
    tiles = grid.reshape(count, _SHARE, side, _SHARE, side).transpose(0, 1, 3, 2, 4)
    edge = np.ones((_SHARE, _SHARE), bool)
    edge[1:-1, 1:-1] = False
    return tiles[:, edge]


def texture(
    index: Index, label: np.ndarray, images: Any, *, seed: int = 0
) -> list[Probe]:
    """Ask what the power spectrum tells of the label, of the whole and of the border.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        images: (n, S, S) in [0, 1].
        seed: of the folds.

    Returns:
        "texture, whole radiograph", no alarm, for opacities have a texture too; and
        "texture, border only", where no disease shows, if S is at least 32.
    """
    images = np.asarray(images, np.float64)
    check_squares(images)
    probes = [
        probe(
            "texture, whole radiograph",
            index,
            spectrum(images[:, None]),
            label,
            seed=seed,
            alarm=False,
        )
    ]
    if images.shape[-1] >= _SHARE * _LEAST:
        features = spectrum(border_patches(images))
        name = "texture, border only"
        probes.append(probe(name, index, features, label, seed=seed))
    return probes
