"""Look at every file of a data folder and name what is wrong with each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from covid_cxr.hashes import near_duplicates, perceptual_hashes
from covid_cxr.images.radiograph import ImageError, unusable
from covid_cxr.index import Index
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Source
from covid_cxr.sources.registry import UNCERTAIN, by_name, detect, folder_of, read

# What a source needs to be told, where nothing depends on the choice.
_OPTIONS = {name: {"uncertain": "ignore"} for name in UNCERTAIN}


class Report(NamedTuple):
    """What a look at a folder found.

    Attributes:
        source: the layout's name.
        index: the images that can be used: listed, there, and decoded.
        problems: everything found wrong, or left out.
        looked: how many images were decoded.
    """

    source: str
    index: Index
    problems: Problems
    looked: int


def verify(
    root: str | os.PathLike[str],
    source: str = "auto",
    *,
    decode: bool = True,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Report:
    """Check a folder: its tables, and every image and mask that they name.

    Args:
        root: the folder, in the set's own layout.
        source: its name, or "auto" to tell by the layout.
        decode: decode images and masks, and look for pictures that are there twice.
        progress: wraps the row numbers, to show how far it is.

    Returns:
        What was found. Problems that only say what was left out on purpose are among
        them: ``report.problems.faults()`` are the others.

    Raises:
        OSError: naming the folder or table that is absent.
        ValueError: for a layout that is not clear, or a table that cannot be read.
    """
    layout = detect(root) if source == "auto" else by_name(source)
    built = layout.build(folder_of(root), **_OPTIONS.get(layout.name, {}))
    return examined(layout, built, decode=decode, progress=progress)


def examined(
    chosen: Source,
    built: Built,
    *,
    decode: bool = True,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Report:
    """Look at every image and mask of a table that is there; as :func:`verify`."""
    index, problems = built.index, Problems(built.problems)
    if not decode:
        return Report(chosen.name, index, problems, 0)
    whole = np.ones(len(index), bool)
    hashes = np.zeros((len(index), 4), np.uint64)
    for row in progress(range(len(index))):
        for kind, path, detail in _image_problems(chosen, index, row, hashes):
            problems.add(kind, path, detail)
            # A broken mask does not make its image useless.
            whole[row] &= path != index.path[row]
    usable = index.select(whole)
    for first, second, bits in near_duplicates(hashes[whole]):
        same = usable.patient[first] == usable.patient[second]
        who = "one patient" if same else "two patients"
        detail = f"looks like {usable.path[second]} ({who}; {bits} of 255 bits differ)"
        problems.add("duplicate", str(usable.path[first]), detail)
    return Report(chosen.name, usable, problems, len(index))


def _image_problems(
    chosen: Source, index: Index, row: int, hashes: np.ndarray
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with an image and its masks; keep the image's hash."""
    path = str(index.path[row])
    try:
        image = read(index, row)
    except ImageError as error:
        yield "corrupt", path, error.reason
        return
    pixels, fault = image.pixels, unusable(image)
    if fault is not None:
        kind, detail = fault
        yield kind, path, detail
        return
    hashes[row] = perceptual_hashes(pixels[None])[0]
    for name, masks in index.masks.items():
        if not masks[row]:
            continue
        where = str(masks[row])
        try:
            mask = chosen.read_mask(index.mask_file(row, name))
        except ImageError as error:
            yield "corrupt", where, error.reason
            continue
        if not mask.any():
            yield "empty mask", where, f"of {path}"
        if chosen.paired and mask.shape != pixels.shape:
            yield "mask size", where, f"{mask.shape}, its image {pixels.shape}"
