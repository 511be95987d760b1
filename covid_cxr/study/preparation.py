"""One set prepared: read by parts, segmented, hashed, preprocessed for each kind.

All of it goes into the arrays of one cache; a few hundred radiographs are in memory at
once, whatever the size of the set.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from covid_cxr.bias.acquisition import COLUMNS
from covid_cxr.hashes import perceptual_hashes
from covid_cxr.images import equalise, resize
from covid_cxr.segmentation import checked, load, lungs_only, predict
from covid_cxr.study.config import MASKING, NONE, StudyConfig
from synaptax.data.cache import Create
from synaptax.data.streaming import spans

AT_ONCE = 256  # radiographs in memory at once

#: The integer that stands for 1 in a cache. 16 bits: equalising an image of 8 would
#: leave gaps in its histogram; the error, 2^-17, is far below a detector's noise.
TOP = 65535


class Part(NamedTuple):
    """Some rows of a set, read.

    Attributes:
        rows: which, a slice of the set's table.
        images: (m, S, S) in [0, 1].
        lungs: (m, S, S) bool.
        masked: (m,) bool, whether the lungs are known.
        whole: (m,) bool, whether the image could be read.
        files: (m, COLUMNS) of what the stored files are like; NaN of drawn ones.
        problems: of those that could not, by kind.
    """

    rows: slice
    images: Any
    lungs: Any
    masked: Any = True
    whole: Any = True
    files: Any = np.nan
    problems: Mapping[str, int] = {}


def fill(
    create: Create,
    *,
    config: StudyConfig,
    count: int,
    parts: Callable[[], Iterator[Part]],
) -> dict[str, Any]:
    """Make the cache of a set: its images of each kind, its lungs and hashes.

    Args:
        create: of :func:`synaptax.data.cache.open_cache`.
        config: the study.
        count: rows of the set's table, N.
        parts: reads them.

    Returns:
        What could not be read, by kind, and how many have a network's lungs.
    """
    side = config.side
    images = create(f"image~{NONE}", (count, side, side, 1), np.uint16)
    lungs = create("lungs", (count, side, side), bool)
    masked, whole = create("masked", (count,), bool), create("whole", (count,), bool)
    files = create("files", (count, COLUMNS), np.float32)
    problems: collections.Counter[str] = collections.Counter()
    for part in parts():
        images[part.rows, ..., 0] = quantised(part.images)
        lungs[part.rows] = part.lungs
        masked[part.rows], whole[part.rows] = part.masked, part.whole
        files[part.rows] = part.files
        problems.update(part.problems)
    segmented = None
    if config.segmenter:
        rows = np.flatnonzero(whole & ((config.segment == "all") | ~masked))
        segment(load(config.segmenter), images, lungs, masked, rows)
        used = int(masked[rows].sum())
        segmented = [used, rows.size - used]
    hashes = create("hashes", (count, 4), np.uint64)
    for rows in spans(count, AT_ONCE):
        # Of the stored 16 bits, as predict hashes a file: one picture, one hash.
        hashes[rows] = perceptual_hashes(unit(images[rows, ..., 0]))
    for kind in set(config.preprocessing) - {NONE}:
        output = create(f"image~{kind}", images.shape, np.uint16)
        for rows in spans(count, AT_ONCE):
            stack = unit(images[rows, ..., 0])
            output[rows, ..., 0] = quantised(preprocess_stack(kind, stack, lungs[rows]))
    return {"problems": dict(problems), "segmented": segmented}


def segment(
    net: Any, images: np.ndarray, lungs: np.ndarray, masked: np.ndarray, rows: Any
) -> None:
    """Replace the lungs of some rows by a network's; unknown where it abstains."""
    side = images.shape[1:3]
    own = (net.config.side, net.config.side)
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        stack = unit(images[some, ..., 0])
        if own != side:  # at the size that it was trained at, and back
            stack = np.clip(resize(stack, own), 0, 1).astype(np.float32)
        for row, probability in zip(some, predict(net, stack), strict=True):
            judged = checked(probability)
            masked[row] = judged.quality.accepted
            lungs[row] = False
            if judged.quality.accepted:
                mask = judged.mask.astype(np.float32)
                lungs[row] = (mask if own == side else resize(mask, side)) >= 0.5


def preprocess(kind: str, images: Any, lungs: Any) -> Any:
    """Return images equalised, or cut down to their lungs, or both, as is wished.

    Args:
        kind: one of :data:`covid_cxr.study.config.PREPROCESSING`.
        images: (m, S, S) float32 in [0, 1].
        lungs: (m, S, S) bool.
    """
    # "masked" equalises the whole, then blackens what is not lung, as published: what
    # was outside has moved the lungs' grey. "lungs-equalised" counts lung alone.
    if kind in ("equalised", "masked"):
        images = jax.vmap(equalise)(images)
    elif kind == "lungs-equalised":
        images = jax.vmap(equalise)(images, lungs)
    return jax.vmap(lungs_only)(images, lungs) if kind in MASKING else images


preprocess_stack = jax.jit(preprocess, static_argnums=0)


def unit(values: np.ndarray) -> np.ndarray:
    """Return images of a cache as float32 in [0, 1]."""
    return values.astype(np.float32) / np.float32(TOP)


def quantised(values: Any) -> np.ndarray:
    """Return images in [0, 1] as a cache holds them: the nearest of its integers."""
    scaled = np.asarray(values, np.float32) * np.float32(TOP)
    return np.rint(np.clip(scaled, 0, TOP)).astype(np.uint16)
