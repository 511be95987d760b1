"""A table's images as one array: decoded once, all of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from covid_cxr.bias.acquisition import COLUMNS, acquired
from covid_cxr.images.radiograph import ImageError, unusable
from covid_cxr.images.resizing import square, square_mask
from covid_cxr.index import Index
from covid_cxr.problems import Problems
from covid_cxr.sources.registry import has_mask, read, read_mask


class Loaded(NamedTuple):
    """Images that could be read; row i of every part is one image.

    Attributes:
        images: (n, S, S) float32 in [0, 1].
        masks: structure to (n, S, S) bool; nothing marked where there is no mask.
        masked: structure to (n,) bool: whether there is a mask.
        index: the rows of the images.
        problems: those that could not be read, and masks that could not.
        files: (n, COLUMNS) float32, :func:`covid_cxr.bias.acquisition.acquired`.

    Example:
        >>> covid_cxr.sources.Loaded._fields
        ('images', 'masks', 'masked', 'index', 'problems', 'files')
    """

    images: np.ndarray
    masks: dict[str, np.ndarray]
    masked: dict[str, np.ndarray]
    index: Index
    problems: Problems
    files: np.ndarray


def load(
    index: Index,
    side: int,
    *,
    fit: str = "crop",
    masks: Sequence[str] = (),
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Loaded:
    """Read every image of a table to one size.

    Args:
        index: the table.
        side: pixels a side.
        fit: "crop", "pad", "squash" or "published", as
            :func:`covid_cxr.images.resize.square`; one for all, for the shape of an
            image tells its collection.
        masks: structures to read too; "lungs" is both, joined where they come apart.
        progress: wraps the row numbers, to show how far it is.

    Returns:
        The images that could be read and show something, and a problem for each of
        the others.

    Example:
        >>> load(index, 64, masks=("lungs",)).images.shape  # doctest: +SKIP
        (319, 64, 64)
    """
    problems = Problems()
    images = np.zeros((len(index), side, side), np.float32)
    marked = {name: np.zeros(images.shape, bool) for name in masks}
    there = {name: np.zeros(len(index), bool) for name in masks}
    whole = np.ones(len(index), bool)
    files = np.full((len(index), COLUMNS), np.nan, np.float32)
    for row in progress(range(len(index))):
        try:
            image = read(index, row)
            fault = unusable(image)
        except ImageError as error:
            fault = "corrupt", error.reason
        if fault is not None:
            problems.add(fault[0], str(index.path[row]), fault[1])
            whole[row] = False
            continue
        images[row] = square(image.pixels, side, fit=fit)
        files[row] = acquired(image)
        for name in masks:
            if not has_mask(index, row, name):
                continue
            try:
                mask = read_mask(index, row, name)
            except (ImageError, ValueError) as error:
                problems.add("corrupt", str(index.path[row]), f"{name}: {error}")
                continue
            marked[name][row] = square_mask(mask, side, fit=fit)
            there[name][row] = True
            if not mask.any():
                problems.add("empty mask", str(index.path[row]), name)
                there[name][row] = False
    return Loaded(
        # A resize may leave [0, 1] by rounding.
        np.clip(images[whole], 0, 1),
        {name: mask[whole] for name, mask in marked.items()},
        {name: rows[whole] for name, rows in there.items()},
        index.select(whole),
        problems,
        files[whole],
    )
