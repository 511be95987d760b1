"""What :mod:`covid_cxr.tfds_builder` prepared, as a set for a study: source "tfds".

The folder is the version's, such as ``chest_xray/nih_64/1.1.0``. An image has no file
of its own: its path is its part and number, ``train/12``. A study splits by patient
anew; the prepared parts are flags. TensorFlow itself is not needed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.images.radiograph import ImageError, Radiograph, finished
from covid_cxr.index import UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source

NAME = "tfds"
TABLE = "dataset_info.json"
PARTS = ("train", "validation", "test")
_LABELS = ("covid", "pneumonia", "no_finding")


def build(root: Path, *, files: bool = True) -> Built:
    """Build the table of a prepared set.

    Args:
        root: the version's folder, with ``dataset_info.json``.
        files: there are no others than the set's own; of no effect.

    Returns:
        A row an example, of source "tfds:" and its own; parts as flags.

    Raises:
        FileNotFoundError: if no set is prepared there.
        ValueError: naming the folder, if it is another set's.
        ImportError: naming the extra.
    """
    rows = Rows(NAME, root, Problems(), files=False)
    for part in PARTS:
        for number, example in enumerate(_examples(str(root), part)):
            text = lambda name, one=example: one[name].decode()
            path, flags = f"{part}/{number}", set(text("flags").split(",")) - {""}
            labels = {name: int(example[name]) for name in _LABELS}
            if UNKNOWN in labels.values():
                rows.problems.add("unlabelled", path, _unknown(labels))
            row = Row(
                path,
                text("patient"),
                f"{NAME}:{text('source').replace('/', ' ')}",
                view=text("view"),
                sex=text("sex"),
                age=float(example["age"]),
                labels=labels,
                masks={"lungs": path} if example["lungs"].any() else {},
                flags=frozenset(flags | {f"prepared_{part}"}),
            )
            rows.add(row, path)
    return rows.built()


def read(file: Path) -> Radiograph:
    """Read an example's image; an ImageError names one that is not there."""
    pixels = _example(file)["image"][..., 0]
    return finished(file, pixels.astype(np.float32) / np.float32(255), 8)


def read_mask(file: Path) -> np.ndarray:
    """Read an example's lungs, (S, S) bool."""
    return _example(file)["lungs"][..., 0] >= 128


def _unknown(labels: dict[str, int]) -> str:
    return ", ".join(name for name, value in labels.items() if value == UNKNOWN)


def _example(file: Path) -> Any:
    source = _examples(str(file.parents[1]), file.parent.name)
    if not file.name.isdecimal() or int(file.name) >= len(source):
        raise ImageError(file, f"no such example, the part has {len(source)}")
    return source[int(file.name)]


@lru_cache(maxsize=len(PARTS))
def _examples(root: str, part: str) -> Any:
    """Return a part of a prepared set, read by position."""
    if not (Path(root) / TABLE).is_file():
        raise FileNotFoundError(f"{root}: no prepared set (no {TABLE})")
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        needs = "needs: pip install 'synaptax[cxr]'"
        raise ImportError(f"reading a prepared set {needs}") from error
    builder: Any = tfds.builder_from_directory(root)
    names = {
        "image",
        "lungs",
        "age",
        "patient",
        "source",
        "view",
        "sex",
        "flags",
        *_LABELS,
    }
    if builder.info.features is None or not names <= set(builder.info.features):
        raise ValueError(f"{root}: expected a set of covid_cxr.tfds_builder")
    return builder.as_data_source(part)


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: False,  # a study names it: any TFDS set has its files
    tables=(TABLE,),
    masks=("lungs",),
    read=read,
    read_mask=read_mask,
)
