"""Prepared TFDS folders, decoded once without TensorFlow into ``.npy`` files."""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synaptax.runs.files import replacing

_EXTRA = "needs the laboratory's packages: pip install 'synaptax[lab]'"
_CHUNK = 1000  # records asked of TFDS at once; larger gains nothing
_log = logging.getLogger(__name__)


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
    if data_dir is not None:
        root, origin = Path(data_dir), "the data_dir argument"
    elif os.environ.get("TFDS_DATA_DIR"):
        root, origin = Path(os.environ["TFDS_DATA_DIR"]), "TFDS_DATA_DIR"
    else:
        root, origin = Path("~/tensorflow_datasets"), "TFDS's default"
    root = root.expanduser()
    versions = {
        tuple(map(int, path.parent.name.split("."))): path.parent
        for path in (root / name).glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    }
    if not versions:
        raise FileNotFoundError(
            f"data set {name!r} is not prepared: looked for "
            f"{root / name}/<version>/dataset_info.json (from {origin}). Name the "
            "folder that holds it by data_dir or TFDS_DATA_DIR, or prepare it once "
            "with TensorFlow installed and a network: "
            f"tfds build {name} --file_format=array_record --data_dir={root}"
        )
    return versions[max(versions)]


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where decoded arrays are kept: argument, ``SYNAPTAX_CACHE``, default."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get("SYNAPTAX_CACHE"):
        return Path(os.environ["SYNAPTAX_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "synaptax"


def cached(
    folder: Path, split: str, identity: dict[str, Any], read: Callable[[], Raw]
) -> Raw:
    """Return a split from the cache, decoding it first if it is absent or damaged.

    Each file is written under a temporary name and renamed; the description, which
    holds sizes and checksums, comes last, so that a split interrupted at any moment
    is decoded again and never read in part.

    Args:
        folder: the cache folder of this set and version.
        split: names the files.
        identity: what the source is; a cache of another source is rebuilt.
        read: decodes the source.

    Returns:
        Images and labels, memory-mapped where they were cached.

    Raises:
        OSError: if the folder cannot be written.
    """
    try:
        found = _read_cache(folder, split, identity)
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        _log.warning("decoding again, the cache is damaged: %s", error)
        found = None
    if found is not None:
        return found
    with _named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    raw = read()
    arrays = {"image": raw.image, "label": raw.label}
    crcs = {key: zlib.crc32(_bytes(array)) for key, array in arrays.items()}
    description = {"identity": identity, "classes": raw.classes, "crc32": crcs}
    with _named_errors(folder):
        for key, array in arrays.items():
            with replacing(folder / f"{split}-{key}.npy") as file:
                np.save(file, array)
        with replacing(folder / f"{split}.json") as file:
            file.write(json.dumps(description).encode())
    return raw


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write the data cache {folder} ({error}); choose another folder by "
            "cache_dir or SYNAPTAX_CACHE"
        ) from error


def _read_cache(folder: Path, split: str, identity: dict[str, Any]) -> Raw | None:
    """Open a cached split; None if absent, an error if damaged or another source's."""
    path = folder / f"{split}.json"
    if not path.is_file():
        return None
    description = json.loads(path.read_text())
    if description["identity"] != identity:
        raise ValueError(f"{path} describes another source")
    arrays = {}
    for key, crc in description["crc32"].items():
        file = folder / f"{split}-{key}.npy"
        # np.load checks the header against the file's size; the checksum the rest.
        arrays[key] = np.load(file, mmap_mode="r", allow_pickle=False)
        if zlib.crc32(_bytes(arrays[key])) != crc:
            raise ValueError(f"{file} fails its checksum")
    return Raw(arrays["image"], arrays["label"], description["classes"])


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B")


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
        ValueError: for a label outside the classes.
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
