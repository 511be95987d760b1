"""The radiographs of a study: where their pixels are, and how some are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.index import Index
from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed, resident

#: The integer that stands for 1 in a cache. 16 bits: equalising an image of 8 would
#: leave gaps in its histogram; the error, 2^-17, is far below a detector's noise.
TOP = 65535


class Radiographs(NamedTuple):
    """Radiographs; row i of every part is one. Pixels are read when asked for.

    Attributes:
        images: (n, S, S, 1) uint16, 0 to :data:`TOP`.
        lungs: (n, S, S) bool.
        masked: (n,) bool, whether the lungs are known.
        hashes: (n, 4) uint64 perceptual hashes, of the images before preprocessing.
        index: the table; the label of the study is its "covid".
        row: (n,) int64, the row in the set's own table.
    """

    images: Streamed
    lungs: Streamed
    masked: np.ndarray
    hashes: np.ndarray
    index: Index
    row: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """Return (n,) int64 of 0 and 1."""
        return self.index.label("covid").astype(np.int64)

    @property
    def known_lungs(self) -> np.ndarray | None:
        """Return the lungs, or None if those of some radiograph are not known."""
        known = len(self.masked) and self.masked.all()
        return np.asarray(self.lungs) if known else None

    def pixels(self) -> np.ndarray:
        """Return (n, S, S) float32 in [0, 1], in memory."""
        return unit(np.asarray(self.images)[..., 0])

    def batch(self) -> Batch:
        """Return images and labels for a network: on the device, if they fit there."""
        return Batch(resident(self.images), self.label)

    def select(self, rows: Any) -> Radiographs:
        """Return some of the radiographs."""
        rows = np.asarray(rows)
        return Radiographs(
            self.images.take(rows),
            self.lungs.take(rows),
            self.masked[rows],
            self.hashes[rows],
            self.index.select(rows),
            self.row[rows],
        )


class Library(NamedTuple):
    """All radiographs of a study, prepared.

    Attributes:
        sets: name and preprocessing to the set's radiographs.
        parts: name to the set's parts, by patient.
        problems: name to what was left out, by kind.
        segmented: name to how many radiographs have lungs of a network, and on how
            many it abstained.
        place: an image's name to its row among those of all sets in turn.
    """

    sets: Mapping[str, Mapping[str, Radiographs]]
    parts: Mapping[str, Mapping[str, Index]]
    problems: Mapping[str, Mapping[str, int]]
    segmented: Mapping[str, tuple[int, int]]
    place: Mapping[str, int]

    def radiographs(self, index: Index, kind: str) -> Radiographs:
        """Return the radiographs of a table, in its order, preprocessed as wished."""
        rows = np.array([self.place[uid] for uid in index.uid.tolist()], np.int64)
        of_kind = [of_set[kind] for of_set in self.sets.values()]
        column = lambda name: np.concatenate([getattr(one, name) for one in of_kind])
        return Radiographs(
            Streamed.join([one.images for one in of_kind]).take(rows),
            Streamed.join([one.lungs for one in of_kind]).take(rows),
            column("masked")[rows],
            column("hashes")[rows],
            index,
            column("row")[rows],
        )


def targeted(index: Index, label: str) -> Index:
    """Return a table whose "covid", which splits and mixes go by, is another label."""
    if label == "covid":
        return index
    labels = {**index.labels, "covid": index.label(label)}
    return dataclasses.replace(index, labels=labels)


def unit(values: np.ndarray) -> np.ndarray:
    """Return images of a cache as float32 in [0, 1]."""
    return values.astype(np.float32) / np.float32(TOP)


def quantised(values: Any) -> np.ndarray:
    """Return images in [0, 1] as a cache holds them: the nearest of its integers."""
    scaled = np.asarray(values, np.float32) * np.float32(TOP)
    return np.rint(np.clip(scaled, 0, TOP)).astype(np.uint16)
