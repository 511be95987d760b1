"""A split, frozen: which image is in which part, with a hash that notices changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.index import Index
from synaptax.runs.files import FileError, replacing

_VERSION = 1


class ManifestError(FileError):
    """A manifest that was changed, or does not fit the table."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A frozen split.

    Attributes:
        parts: image (source/path) to part.
        patients: image to patient.
        index: SHA-256 of the table's contents, whatever the order of its rows.
        options: how the split was made: seed, shares, labels.
    """

    parts: Mapping[str, str]
    patients: Mapping[str, str]
    index: str
    options: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """Return everything as JSON holds it, in sorted order."""
        return {
            "version": _VERSION,
            "index": self.index,
            "options": json.loads(json.dumps(dict(self.options), sort_keys=True)),
            "images": {
                uid: [self.parts[uid], self.patients[uid]] for uid in sorted(self.parts)
            },
        }

    def digest(self) -> str:
        """Return the SHA-256 of the contents."""
        return _digest(self.content())


def freeze(index: Index, parts: np.ndarray, options: Mapping[str, Any]) -> Manifest:
    """Freeze a split.

    Args:
        index: the table.
        parts: (n,) text, as :func:`covid_cxr.splits.assign` gives it.
        options: how it was made; anything JSON holds.

    Returns:
        The manifest, the same for any order of the rows.

    Raises:
        ValueError: if ``parts`` has another length.
    """
    parts = np.asarray(parts)
    if parts.shape != index.path.shape:
        raise ValueError(f"parts: expected shape {index.path.shape}, got {parts.shape}")
    if parts.dtype.kind != "U" or "" in parts:
        raise ValueError(f"parts: expected {len(index)} names, got {parts.dtype}")
    uids = index.uid.tolist()
    return Manifest(
        dict(zip(uids, map(str, parts), strict=True)),
        dict(zip(uids, map(str, index.patient), strict=True)),
        index.digest(),
        options,
    )


def apply(manifest: Manifest, index: Index) -> np.ndarray:
    """Return the part of each row of a table.

    Args:
        manifest: the frozen split.
        index: a table with the same images, in any order. Labels and ages may have
            been corrected since; images and patients may not have changed.

    Returns:
        (n,) text.

    Raises:
        ManifestError: naming an image that is in one and not in the other, or that
            has another patient now.
    """
    uids = index.uid.tolist()
    for here, there, what in (
        (set(uids), set(manifest.parts), "the table, but not in the manifest"),
        (set(manifest.parts), set(uids), "the manifest, but not in the table"),
    ):
        only = sorted(here - there)
        if only:
            raise ManifestError(f"{only[0]} is in {what} ({len(only)} such)")
    for uid, patient in zip(uids, index.patient, strict=True):
        if manifest.patients[uid] != patient:
            raise ManifestError(
                f"{uid}: the manifest says patient {manifest.patients[uid]}, the table "
                f"{patient}"
            )
    return np.array([manifest.parts[uid] for uid in uids], str)


def write(path: str | Path, manifest: Manifest) -> str:
    """Write a manifest as JSON with its SHA-256, and return the latter."""
    content = manifest.content()
    digest = _digest(content)
    text = json.dumps({"sha256": digest, **content}, indent=1, sort_keys=True)
    with replacing(Path(path)) as file:
        file.write(text.encode() + b"\n")
    return digest


def read(path: str | Path) -> Manifest:
    """Read a manifest.

    Args:
        path: the file.

    Returns:
        The manifest.

    Raises:
        OSError: naming the file, if it is absent.
        ManifestError: naming the file, if it is no manifest, of another version, or
            was changed after it was written.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
        digest = content.pop("sha256")
        version = content["version"]
        images = {uid: (part, who) for uid, (part, who) in content["images"].items()}
        manifest = Manifest(
            {uid: part for uid, (part, _) in images.items()},
            {uid: who for uid, (_, who) in images.items()},
            content["index"],
            content["options"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path}: not a manifest ({type(error).__name__})"
        ) from error
    if version != _VERSION:
        raise ManifestError(f"{path}: version {version}, expected {_VERSION}")
    if digest != _digest(content):
        raise ManifestError(f"{path}: was changed after it was written")
    return manifest


def _digest(content: Mapping[str, Any]) -> str:
    # Keys sorted, no spaces: one text for one content, on any system.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
