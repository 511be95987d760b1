"""Which sources there are, and which of them a folder is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.images.radiograph import Radiograph
from covid_cxr.index import Index
from covid_cxr.sources import (
    bimcv,
    chexpert,
    corda,
    covid_chestxray,
    covidx,
    jsrt,
    kermany,
    mimic,
    nih,
    own,
    padchest,
    prepared,
    rsna,
    siim,
    tuberculosis,
    vindr,
)
from covid_cxr.sources.base import Built, Source

#: Sources whose uncertain labels are for the caller to decide, ``uncertain=``.
UNCERTAIN = ("chexpert", "mimic")
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        nih.SOURCE,  # before covid_chestxray: both may have a metadata.csv
        covid_chestxray.SOURCE,
        rsna.SOURCE,
        kermany.SOURCE,
        chexpert.SOURCE,
        padchest.SOURCE,
        *bimcv.SOURCES,
        corda.SOURCE,
        *tuberculosis.SOURCES,
        jsrt.SOURCE,
        mimic.SOURCE,
        vindr.SOURCE,
        siim.SOURCE,
        covidx.SOURCE,
    )
}


def by_name(name: str) -> Source:
    """Return a source by its name; a ValueError lists the names.

    Example:
        >>> covid_cxr.sources.by_name("jsrt").masks
        ('left_lung', 'right_lung', 'heart', 'left_clavicle', 'right_clavicle')
    """
    if name == own.FOLDERS:
        return own.ANY
    if name == prepared.NAME:
        return prepared.SOURCE
    if name not in SOURCES:
        names = ", ".join((*SOURCES, own.FOLDERS, prepared.NAME))
        raise ValueError(f"source: expected 'auto' or one of {names}, got {name!r}")
    return SOURCES[name]


def detect(root: str | os.PathLike[str]) -> Source:
    """Return the source whose layout a folder has.

    Args:
        root: the folder.

    Returns:
        The source.

    Raises:
        NotADirectoryError: if there is no such folder.
        ValueError: if it has the layout of no source, or of several.

    Example:
        >>> import pathlib
        >>> from PIL import Image
        >>> pathlib.Path("kermany/train/NORMAL").mkdir(parents=True, exist_ok=True)
        >>> Image.new("L", (8, 8)).save("kermany/train/NORMAL/IM-0115-0001.jpeg")
        >>> covid_cxr.sources.detect("kermany").name
        'kermany'
    """
    folder = folder_of(root)
    fits = [one for one in SOURCES.values() if one.detect(folder)]
    if len(fits) != 1:
        names = ", ".join(one.name for one in fits) or "none of them"
        raise ValueError(
            f"{folder}: expected the layout of one of {', '.join(SOURCES)}; it has "
            f"that of {names}. Name its source, 'folders' for images of your own; "
            "`study --check` looks at a table of your own too"
        )
    return fits[0]


def build(root: str | os.PathLike[str], source: str = "auto", **options: Any) -> Built:
    """Build the table of a folder.

    Args:
        root: the folder, in the set's own layout.
        source: a name of :data:`SOURCES`, "auto" to tell by the layout, "folders" for
            any folder of images, or "tfds" for what the TFDS builder prepared.
        **options: the source's own, such as ``uncertain=`` for CheXpert.

    Returns:
        The table and what was found wrong.

    Raises:
        OSError: naming a folder or table that is absent.
        ValueError: for a layout that is not clear, a table that cannot be read, or
            an option of no use.

    Example:
        >>> import pathlib
        >>> from PIL import Image
        >>> pathlib.Path("kermany/train/NORMAL").mkdir(parents=True, exist_ok=True)
        >>> Image.new("L", (8, 8)).save("kermany/train/NORMAL/IM-0115-0001.jpeg")
        >>> covid_cxr.sources.build("kermany").index.path.tolist()
        ['train/NORMAL/IM-0115-0001.jpeg']
    """
    layout = detect(root) if source == "auto" else by_name(source)
    return layout.build(folder_of(root), **options)


def read(index: Index, row: int) -> Radiograph:
    """Read an image of a table, as its source's format asks.

    Args:
        index: the table.
        row: which image.

    Returns:
        The image.

    Raises:
        ImageError: naming the file, if it cannot be read.
        ValueError: if the source has no folder here.

    Example:
        >>> import pathlib
        >>> from PIL import Image
        >>> pathlib.Path("kermany/train/NORMAL").mkdir(parents=True, exist_ok=True)
        >>> Image.new("L", (8, 8)).save("kermany/train/NORMAL/IM-0115-0001.jpeg")
        >>> index = covid_cxr.sources.build("kermany").index
        >>> covid_cxr.sources.read(index, 0).pixels.shape
        (8, 8)
    """
    return _source_of(index, row).read(index.file(row))


def has_mask(index: Index, row: int, name: str = "lungs") -> bool:
    """Say whether :func:`read_mask` has a mask to read: "lungs" may be two.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(4)
        >>> index = covid_cxr.phantom.roster(jax.random.key(0), cohort).index
        >>> covid_cxr.sources.has_mask(index, 0)  # a phantom's lungs are in no file
        False
    """
    if index.mask(name)[row]:
        return True
    sides = ("left_lung", "right_lung")
    return name == "lungs" and all(index.mask(side)[row] for side in sides)


def read_mask(index: Index, row: int, name: str = "lungs") -> np.ndarray:
    """Read a mask of a table's image, at the mask's own size.

    Args:
        index: the table.
        row: which image.
        name: a structure; "lungs" is both lungs, joined where they come apart.

    Returns:
        (H, W) bool.

    Raises:
        ImageError: naming the file, if it cannot be read.
        ValueError: if the image has no such mask, or the lungs differ in size.

    Example:
        >>> index = covid_cxr.sources.build("data/montgomery").index  # doctest: +SKIP
        >>> covid_cxr.sources.read_mask(index, 0).dtype  # doctest: +SKIP
    """
    reader = _source_of(index, row).read_mask
    if name != "lungs" or index.mask("lungs")[row]:
        return reader(index.mask_file(row, name))
    sides = [reader(index.mask_file(row, side)) for side in ("left_lung", "right_lung")]
    if sides[0].shape != sides[1].shape:
        raise ValueError(f"masks: the lungs of {index.uid[row]} differ in size")
    return sides[0] | sides[1]


def _source_of(index: Index, row: int) -> Source:
    """Return how a row is read: by its public set, as prepared, or a person's own."""
    name = str(index.source[row])
    if name.startswith(f"{prepared.NAME}:"):
        return prepared.SOURCE
    return SOURCES.get(name, own.SOURCE)


def folder_of(root: str | os.PathLike[str]) -> Path:
    """Return an existing folder, resolved; a NotADirectoryError names another."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder")
    return folder.resolve()
