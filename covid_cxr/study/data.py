"""The radiographs of a study: each set prepared once, and rows of them chosen.

A set is read once and preprocessed once for each kind, whatever is trained on it, into
one memory-mapped cache of 16-bit integers. What cells get are rows of these files, read
when a batch asks for them.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from covid_cxr import protocols, sources
from covid_cxr.index import UNKNOWN, Index
from covid_cxr.phantom import Cohort, roster, stacks
from covid_cxr.problems import OF_NO_RADIOGRAPH, Problems
from covid_cxr.sources import own, prepared
from covid_cxr.sources.registry import folder_of
from covid_cxr.study.config import MASKING, NONE, SetConfig, StudyConfig
from covid_cxr.study.preparation import AT_ONCE, Part, fill, unit
from synaptax.data.cache import Cached, open_cache
from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed, resident
from synaptax.runs import jsonable

# Ages in years below each end; one that is not known (NaN) sorts behind all.
_AGES = ((18, "under 18"), (40, "18 to 39"), (65, "40 to 64"), (121, "65 and over"))
_VERSION = 2  # of what is done here; another one makes every cache anew


class Radiographs(NamedTuple):
    """Radiographs; row i of every part is one. Pixels are read when asked for.

    Attributes:
        images: (n, S, S, 1) uint16, 0 to :data:`TOP`.
        lungs: (n, S, S) bool.
        masked: (n,) bool, whether the lungs are known.
        index: the table; the label of the study is its "covid".
        row: (n,) int64, the row in the set's own table.
        files: (n, COLUMNS), see :func:`covid_cxr.bias.acquisition.acquired`.
    """

    images: Streamed
    lungs: Streamed
    masked: np.ndarray
    index: Index
    row: np.ndarray
    files: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """Return (n,) int64 of 0 and 1."""
        return self.index.label("covid").astype(np.int64)

    @property
    def known_lungs(self) -> np.ndarray | None:
        """Return the lungs, or None if those of some radiograph are not known."""
        complete = len(self.masked) and self.masked.all()
        return np.asarray(self.lungs) if complete else None

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
            self.index.select(rows),
            self.row[rows],
            self.files[rows],
        )


class Tables(NamedTuple):
    """What the cells of a mix and a pre-training see.

    Attributes:
        parts: "train", "validation" and "test" of the mix.
        tests: name of a test set to its table; see :class:`StudyConfig`.
        first: "train" and "validation" of stage 1; empty without one.
        scaled: what the published statistics of stage 2 are of.
        overlaps: test set to the kinds of overlap that were let pass, by name alone:
            examples name patients.
    """

    parts: Mapping[str, Index]
    tests: Mapping[str, Index]
    first: Mapping[str, Index]
    scaled: Mapping[str, Index]
    overlaps: Mapping[str, list[str]]


class CellData(NamedTuple):
    """The radiographs of :class:`Tables`, preprocessed; stage 1's label is "covid".

    ``plain`` are those of the training part as they are, ``hashes`` the perceptual
    hashes (n, 4) of all that a network is made of: "training", "validation" and, of
    stage 1, "pre-training".
    """

    parts: dict[str, Radiographs]
    tests: dict[str, Radiographs]
    first: dict[str, Radiographs]
    scaled: dict[str, Radiographs]
    plain: Radiographs
    hashes: dict[str, np.ndarray]


class Library(NamedTuple):
    """All radiographs of a study, prepared.

    Attributes:
        parts: name of a set to its parts by patient, those of use: where something is
            to be masked, those whose lungs are not known are left out.
        whole: name to the table of all of these.
        described: name to what the set is, without the name of a patient, what was
            left out of it, and how many have the lungs of a network.
        caches: for each set its arrays (N, ...): "lungs", "masked", "hashes", "files",
            and "image~KIND" for each preprocessing.
        place: an image's name to (number of its set, row in its arrays, row in its
            table). One that is in two sets is taken from the first.
    """

    parts: Mapping[str, Mapping[str, Index]]
    whole: Mapping[str, Index]
    described: Mapping[str, Mapping[str, Any]]
    caches: Sequence[Mapping[str, np.ndarray]]
    place: Mapping[str, tuple[int, int, int]]

    def for_cell(self, seen: Tables, kind: str, label: str) -> CellData:
        """Return the radiographs of a cell's tables, preprocessed, and labelled."""
        select = lambda group: {n: self.select(one, kind) for n, one in group.items()}
        first = {part: targeted(one, label) for part, one in seen.first.items()}
        plain = self.select(seen.parts["train"])
        hashes = {
            "training": self.hashes(seen.parts["train"]),
            "validation": self.hashes(seen.parts["validation"]),
        }
        if first:
            both = [self.hashes(one) for one in first.values()]
            hashes["pre-training"] = np.concatenate(both)
        parts, tests, scaled = map(select, (seen.parts, seen.tests, seen.scaled))
        return CellData(parts, tests, select(first), scaled, plain, hashes)

    def select(self, index: Index, kind: str = NONE) -> Radiographs:
        """Return the radiographs of a table, in its order, preprocessed as wished."""
        place = [self.place[uid] for uid in index.uid.tolist()]
        number, at, row = np.array(place, np.int64).reshape(-1, 3).T
        column = lambda key: Streamed([one[key] for one in self.caches], at, number)
        return Radiographs(
            images=column(f"image~{kind}"),
            lungs=column("lungs"),
            masked=np.asarray(column("masked")),
            index=index,
            row=row,
            files=np.asarray(column("files")),
        )

    def hashes(self, index: Index) -> np.ndarray:
        """Return (n, 4) uint64 perceptual hashes of a table's images, unprocessed."""
        place = [self.place[uid] for uid in index.uid.tolist()]
        hashes = [self.caches[number]["hashes"][at] for number, at, _ in place]
        return np.array(hashes, np.uint64).reshape(-1, 4)


def library(config: StudyConfig, folder: Path | None = None) -> Library:
    """Prepare every set of a study.

    Args:
        config: the study.
        folder: of the prepared radiographs; None keeps them in memory.

    Returns:
        The radiographs whose label is known. If any are to be masked, those whose
        lungs are not known are of no use, and counted.

    Raises:
        OSError: for a folder or table that is absent.
        ValueError: for a set without a radiograph whose label is known, or, to be
            masked, without one whose lungs are.
    """
    masking = [kind for kind in MASKING if kind in config.preprocessing]
    parts, whole, described = {}, {}, {}
    caches, place = [], {}
    for name, one in config.sets.items():
        index, left_out, (arrays, meta) = _open(config, name, one, folder)
        readable = np.flatnonzero(arrays["whole"])
        table = index.select(readable)
        for row, at in enumerate(readable.tolist()):
            place.setdefault(str(index.uid[at]), (len(caches), at, row))
        usable = arrays["masked"][readable] | (not masking)
        if not usable.any():
            lacking = (
                f"{masking[0]!r} needs lungs, and none has a mask: name a segmenter"
            )
            raise ValueError(
                f"sets.{name}: {lacking if len(usable) else 'no image could be read'}"
            )
        problems = collections.Counter(left_out) + collections.Counter(meta["problems"])
        whole[name] = table.select(usable)
        described[name] = summary(whole[name])
        described[name]["left_out"] = dict(problems.most_common())
        if masking:
            described[name]["left_out"]["lungs not known"] = int((~usable).sum())
        if meta["segmented"]:
            used, abstained = meta["segmented"]
            described[name] |= {"segmented": used, "abstained": abstained}
        # Split before any are left out, so that masking moves no patient.
        by_image = config.keeps("split")
        split = protocols.split(table, published=by_image, seed=config.split_seed)
        parts[name] = {
            part: rows.select(np.isin(rows.uid, whole[name].uid))
            for part, rows in split.items()
        }
        caches.append(arrays)
    return Library(parts, whole, described, caches, place)


def summary(data: Index) -> dict[str, Any]:
    """Return what the images of a table are, without the name of a patient."""
    names, counts = np.unique(data.source, return_counts=True)
    return {
        "images": len(data),
        "patients": int(np.unique(data.patient).size),
        "positives": int((data.label("covid") == 1).sum()),
        "sources": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "digest": data.digest() if len(data) else "",
    }


def groups(index: Index) -> dict[str, np.ndarray]:
    """Return by what patients are grouped, each (n,) text: no name, no number."""
    ends = np.array([end for end, _ in _AGES])
    names = np.array([*(name for _, name in _AGES), "unknown"])
    return {
        "view": index.view,
        "sex": np.where(index.sex == "", "unknown", index.sex),
        # side="right": an age that is an end belongs to the next group.
        "age": names[np.searchsorted(ends, index.age, side="right")],
        "source": index.source,
    }


def targeted(index: Index, label: str) -> Index:
    """Return a table whose "covid", which splits and mixes go by, is another label."""
    if label == "covid":
        return index
    labels = {**index.labels, "covid": index.label(label)}
    return dataclasses.replace(index, labels=labels)


class _Source(NamedTuple):
    """A set before its pixels are read.

    Attributes:
        index: its table.
        problems: what was left out so far, by kind.
        identity: what the pixels follow from beside table and side, as JSON holds it.
        parts: reads the rows of a table that is a selection of ``index``.
    """

    index: Index
    problems: Mapping[str, int]
    identity: Mapping[str, Any]
    parts: Callable[[Index], Iterator[Part]]


def _open(
    config: StudyConfig, name: str, one: SetConfig, folder: Path | None
) -> tuple[Index, Mapping[str, int], Cached]:
    """Return a set's table of known labels, what was left out, and its cache."""
    source = (
        _files(built_of(config, name), config.side, config.fit)
        if one.path
        else _synthetic(one, config.side)
    )
    identity = {
        **source.identity,
        "side": config.side,
        "kinds": sorted({NONE, *config.preprocessing}),
        "segmenter": _fingerprint(config.segmenter),
        "segment": config.segment,
        "version": _VERSION,
    }
    index = targeted(source.index, config.label)
    index = index.select(index.label("covid") != UNKNOWN)
    if not len(index):
        spelt = f": say how it is spelt in sets.{name}.labels" if one.own else ""
        raise ValueError(
            f"sets.{name}: no radiograph has a known {config.label!r}{spelt}"
        )
    identity["table"] = index.digest()
    # Named by what it follows from, so that studies may share a folder.
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    reader = partial(source.parts, index)
    make = partial(fill, config=config, count=len(index), parts=reader)
    return index, source.problems, open_cache(folder, key, identity, make)


def _fingerprint(segmenter: str) -> int | None:
    """Return a checksum of a segmenter's files, None without one."""
    folder, crc = Path(segmenter), 0
    for path in [folder / "segmenter.json", *sorted(folder.glob("weights/**/*"))]:
        if path.is_file():
            crc = zlib.crc32(path.read_bytes(), crc)
    return crc if segmenter else None


def _synthetic(one: SetConfig, side: int) -> _Source:
    """Return a set that is drawn."""
    cohort = dataclasses.replace(one.phantom or Cohort(), size=side)
    whole = roster(jax.random.key(one.seed), cohort)

    def parts(index: Index) -> Iterator[Part]:
        assert len(index) == len(whole.index)  # all labels of a phantom are known
        for rows, stack in stacks(whole, cohort, size=AT_ONCE):
            yield Part(rows, stack.image, np.asarray(stack.lungs).any(axis=1))

    return _Source(
        whole.index, {}, {"cohort": jsonable(cohort), "seed": one.seed}, parts
    )


def built_of(config: StudyConfig, name: str) -> sources.Built:
    """Return the table of a set that is read from files, and what is wrong with it."""
    one = config.sets[name]
    if not one.own:
        options = {"uncertain": one.uncertain} if one.uncertain else {}
        return sources.build(one.path, one.source, **options)
    return own.build(
        folder_of(one.path),
        name=name,
        labels=one.labels or {config.label: own.Label()},
        table=Path(one.table) if one.table else None,
        columns=one.columns,
        patients=one.patients,
    )


def _files(built: sources.Built, side: int, fit: str) -> _Source:
    """Return a set that is read from files."""

    def parts(index: Index) -> Iterator[Part]:
        for start in range(0, len(index), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            table = index.select(rows)
            files = sources.load(table, side, fit=fit, masks=("lungs",))
            whole = np.isin(table.uid, files.index.uid)
            images = np.zeros((len(table), side, side), np.float32)
            lungs, masked = np.zeros(images.shape, bool), np.zeros(len(table), bool)
            images[whole] = files.images
            lungs[whole], masked[whole] = files.masks["lungs"], files.masked["lungs"]
            kinds = np.full((len(table), files.files.shape[1]), np.nan, np.float32)
            kinds[whole] = files.files
            problems = files.problems.counts()
            yield Part(rows, images, lungs, masked, whole, kinds, problems)

    identity = {"files": _stamps(built.index)}
    if fit != "crop":  # caches that were made before there was a choice stay
        identity |= {"fit": fit}
    left_out = [one for one in built.problems if one.kind not in OF_NO_RADIOGRAPH]
    return _Source(built.index, Problems(left_out).counts(), identity, parts)


def _stamps(index: Index) -> int:
    """Return a checksum of the sizes and times of a table's files, masks included."""
    crc = 0
    for row in range(len(index)):
        masks = [name for name in index.masks if index.mask(name)[row]]
        for file in (index.file(row), *(index.mask_file(row, m) for m in masks)):
            if str(index.source[row]).startswith(f"{prepared.NAME}:"):
                file = file.parents[1] / prepared.TABLE  # examples have no files
            try:
                # Size and time stand for the contents, which would all have to be read.
                stat = file.stat()
            except OSError:  # said, with its reason, when it is read
                continue
            text = f"{index.uid[row]} {stat.st_size} {stat.st_mtime_ns}"
            crc = zlib.crc32(text.encode(), crc)
    return crc
