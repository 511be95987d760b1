"""Prepared TFDS folders, decoded once without TensorFlow into ``.npy`` files."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synaptax.data.cache import Create, open_cache

_EXTRA = "needs the laboratory's packages: pip install 'synaptax[lab]'"
_CHUNK = 1000  # records asked of TFDS at once; larger gains nothing


class Raw(NamedTuple):
    """A split as stored: uint8 images (N, H, W, C), integer labels (N,)."""

    image: np.ndarray
    label: np.ndarray
    classes: int


def check_labels(label: np.ndarray, classes: int, *, source: str) -> None:
    """Raise a ValueError naming ``source`` unless labels lie in [0, ``classes``)."""
    wrong = np.flatnonzero((label < 0) | (label >= classes))
    if wrong.size:
        raise ValueError(
            f"{source}: label {int(label[wrong[0]])} of example {wrong[0]} is outside "
            f"[0, {classes})"
        )


def prepared_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the newest prepared version of a TFDS set.

    Args:
        name: the set.
        data_dir: where to look; default: ``TFDS_DATA_DIR``, else TFDS's default.

    Returns:
        ``<data_dir>/<name>/<version>``.

    Raises:
        FileNotFoundError: saying what was looked for, where, and how to get it.
    """
    root, origin = _root(data_dir)
    versions = _versions(root / name)
    if not versions:
        raise FileNotFoundError(
            f"data set {name!r} is not prepared: looked for "
            f"{root / name}/<version>/dataset_info.json (from {origin}). Name the "
            "folder that holds it by data_dir or TFDS_DATA_DIR, or prepare it once "
            "with TensorFlow installed and a network: "
            f"tfds build {name} --file_format=array_record --data_dir={root}"
        )
    # By number: 3.0.10 is newer than 3.0.9.
    return versions[max(versions)]


def is_prepared(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Say whether :func:`prepared_folder` would find a set."""
    return bool(_versions(_root(data_dir)[0] / name))


def _root(data_dir: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """Return the folder of prepared sets, and what named it."""
    if data_dir is not None:
        root, origin = Path(data_dir), "the data_dir argument"
    elif os.environ.get("TFDS_DATA_DIR"):
        root, origin = Path(os.environ["TFDS_DATA_DIR"]), "TFDS_DATA_DIR"
    else:
        root, origin = Path("~/tensorflow_datasets"), "TFDS's default"
    return root.expanduser(), origin


def _versions(folder: Path) -> dict[tuple[int, ...], Path]:
    """Return the prepared versions of a set by number."""
    return {
        tuple(map(int, path.parent.name.split("."))): path.parent
        for path in folder.glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    }


def cached(
    folder: Path, split: str, identity: dict[str, Any], read: Callable[[], Raw]
) -> Raw:
    """Return a split from the cache, decoding it first if it is absent or damaged.

    Args:
        folder: the cache folder of this set and version.
        split: names the files.
        identity: what the source is; a cache of another source is made anew.
        read: decodes the source.

    Returns:
        Images and labels, memory-mapped.

    Raises:
        OSError: if the folder cannot be written.
    """

    def build(create: Create) -> dict[str, Any]:
        raw = read()
        for key, array in (("image", raw.image), ("label", raw.label)):
            create(key, array.shape, array.dtype)[...] = array
        return {"classes": raw.classes}

    arrays, meta = open_cache(folder, split, identity, build)
    return Raw(arrays["image"], arrays["label"], meta["classes"])


def decode(folder: Path, name: str, split: str, *, progress: bool = True) -> Raw:
    """Decode every record of a split of a prepared TFDS folder.

    Args:
        folder: as :func:`prepared_folder` gives it.
        name: of the set, for messages.
        split: e.g. ``"train"`` or ``"train[:100]"``.
        progress: show a progress bar.

    Returns:
        The images, labels and number of classes.

    Raises:
        ImportError: naming the extra to install.
        FileNotFoundError: if the folder is not in array_record format.
        ValueError: for a label outside the classes, or features that are not an image
            of one shape in uint8 and a class.
    """
    try:
        import tensorflow_datasets as tfds
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise ImportError(f"{name} {_EXTRA}") from error
    open_folder: Any = tfds.builder_from_directory  # decorated: its type is lost
    builder = open_folder(str(folder))
    try:
        source = builder.as_data_source(split)
    except NotImplementedError as error:
        raise FileNotFoundError(
            f"{folder} is not in array_record format, the only one that can be read "
            "without TensorFlow; prepare it again with --file_format=array_record"
        ) from error
    _check_features(builder.info.features, folder)
    features = builder.info.features
    classes, n = features["label"].num_classes, len(source)
    image = np.empty((n, *features["image"].shape), np.uint8)
    label = np.empty(n, np.int32)
    starts = track(
        range(0, n, _CHUNK),
        f"decoding {name} {split}",
        console=Console(stderr=True),
        disable=not progress,
    )
    with _quiet_opencv():
        for start in starts:
            stop = min(start + _CHUNK, n)
            records = source.__getitems__(list(range(start, stop)))
            image[start:stop] = [record["image"] for record in records]
            label[start:stop] = [record["label"] for record in records]
    check_labels(label, classes, source=f"{folder} ({split})")
    return Raw(image, label, classes)


def _check_features(features: Any, folder: Path) -> None:
    """Raise a ValueError unless there are images of one shape and classes."""
    by_name = dict(features.items())
    image: Any
    label: Any
    image, label = by_name.get("image"), by_name.get("label")
    shape = tuple(getattr(image, "shape", ()))
    whole = len(shape) == 3 and None not in shape and image.np_dtype == np.uint8
    if not whole or not getattr(label, "num_classes", None):
        raise ValueError(
            f"{folder}: expected an image of one shape (H, W, C) in uint8 and a label "
            f"of classes, got {features}"
        )


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Drop TFDS's advice to install OpenCV, and that message alone."""
    logger = logging.getLogger("absl")
    keep = lambda record: "OpenCV is not installed" not in record.getMessage()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
