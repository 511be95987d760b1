"""Every set read once, and preprocessed once for each kind, into memory-mapped files.

What is done here does not depend on encoders, mixes or seeds. The files hold 16-bit
integers; nothing of them but a part of some hundred radiographs is in memory at once.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr import protocols, sources
from covid_cxr.hashes import perceptual_hashes
from covid_cxr.images import equalise, resize
from covid_cxr.index import UNKNOWN, Index
from covid_cxr.phantom import Cohort, roster, stacks
from covid_cxr.segmentation import checked, load, lungs_only, predict
from covid_cxr.study.config import MASKING, NONE, SetConfig, StudyConfig
from covid_cxr.study.data import Library, Radiographs, quantised, targeted, unit
from synaptax.data.cache import Create, open_cache
from synaptax.data.streaming import Streamed, spans
from synaptax.runs import jsonable

_AT_ONCE = 256  # radiographs prepared at once; bounds memory
_VERSION = 1  # of what is done here; another one makes every cache anew


class Part(NamedTuple):
    """Some rows of a set, read.

    Attributes:
        rows: which, a slice of the set's table.
        images: (m, S, S) in [0, 1].
        lungs: (m, S, S) bool.
        masked: (m,) bool, whether the lungs are known.
        whole: (m,) bool, whether the image could be read.
        problems: of those that could not, by kind.
    """

    rows: slice
    images: Any
    lungs: Any
    masked: Any = True
    whole: Any = True
    problems: Mapping[str, int] = {}


class Source(NamedTuple):
    """A set before its pixels are read.

    Attributes:
        index: its table, of known labels.
        problems: what was left out so far, by kind.
        identity: what the pixels follow from, as JSON holds it.
        parts: reads the set, a part at a time.
    """

    index: Index
    problems: Mapping[str, int]
    identity: Mapping[str, Any]
    parts: Callable[[], Iterator[Part]]


def library(config: StudyConfig, folder: Path | None = None) -> Library:
    """Prepare every set of a study.

    Args:
        config: the study.
        folder: of the prepared radiographs; None keeps them in memory.

    Returns:
        The radiographs whose label is known, and their parts. If any are to be masked,
        those whose lungs are not known are left out everywhere, and counted.

    Raises:
        OSError: for a folder or table that is absent.
        ValueError: for a set without a radiograph whose label is known.
    """
    prepared = {name: _prepared(config, name, folder) for name in config.sets}
    names = [uid for one in prepared.values() for uid in one.sets[NONE].index.uid]
    # An image that is in two sets is taken from the first.
    place = {uid: row for row, uid in reversed(list(enumerate(map(str, names))))}
    return Library(
        sets={name: one.sets for name, one in prepared.items()},
        parts={name: one.parts for name, one in prepared.items()},
        problems={name: one.problems for name, one in prepared.items()},
        segmented={n: one.segmented for n, one in prepared.items() if one.segmented},
        place=place,
    )


class Prepared(NamedTuple):
    """One set of a :class:`Library`."""

    sets: Mapping[str, Radiographs]
    parts: Mapping[str, Index]
    problems: Mapping[str, int]
    segmented: tuple[int, int] | None


def _prepared(config: StudyConfig, name: str, folder: Path | None) -> Prepared:
    """Return a set, from its caches where they are whole and of this study."""
    source = _source(config, name)
    identity = {**source.identity, "version": _VERSION, **_segmenter_of(config)}
    # By what they follow from, so that studies may share a folder.
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    base = open_cache(
        folder, key, identity, lambda create: _read(create, source, config)
    )
    whole = np.flatnonzero(base.arrays["whole"])
    if not whole.size:
        raise ValueError(f"sets.{name}: no radiograph could be read")
    masked, index = base.arrays["masked"][whole], source.index.select(whole)
    # Split before any are left out, so that masking moves no patient.
    published = config.protocol == "published"
    parts = protocols.split(index, published=published, seed=config.split_seed)
    counts = collections.Counter(source.problems) + collections.Counter(
        base.meta["problems"]
    )
    problems = dict(counts.most_common())
    masking = [kind for kind in MASKING if kind in config.preprocessing]
    rows = np.arange(len(whole))
    if masking:
        if not masked.any():
            raise ValueError(
                f"sets.{name}: {masking[0]!r} needs lungs, and no radiograph has a "
                "mask: name a segmenter"
            )
        rows = np.flatnonzero(masked)
        problems["lungs not known"] = int((~masked).sum())
        known = index.uid[rows]
        parts = {p: one.select(np.isin(one.uid, known)) for p, one in parts.items()}
    plain = Radiographs(
        Streamed([base.arrays["image"]], whole[rows]),
        Streamed([base.arrays["lungs"]], whole[rows]),
        masked[rows],
        base.arrays["hashes"][whole[rows]],
        index.select(rows),
        rows,
    )
    sets = {NONE: plain}
    for kind in config.preprocessing:
        if kind != NONE:
            images = open_cache(
                folder,
                f"{key}~{kind}",
                {**identity, "kind": kind},
                lambda create, kind=kind: _preprocess(create, base.arrays, kind),
            ).arrays["image"]
            sets[kind] = plain._replace(images=Streamed([images], whole[rows]))
    segmented = base.meta["segmented"] and tuple(base.meta["segmented"])
    return Prepared(sets, parts, problems, segmented)


def preprocess(kind: str, images: Any, lungs: Any) -> Any:
    """Return images equalised, or cut down to their lungs, or both, as is wished.

    Args:
        kind: one of :data:`covid_cxr.study.config.PREPROCESSING`.
        images: (m, S, S) float32 in [0, 1].
        lungs: (m, S, S) bool.
    """
    if kind in ("equalised", "masked"):
        images = jax.vmap(equalise)(images)
    elif kind == "lungs-equalised":
        images = jax.vmap(equalise)(images, lungs)
    return jax.vmap(lungs_only)(images, lungs) if kind in MASKING else images


_preprocess_stack = jax.jit(preprocess, static_argnums=0)


def _preprocess(
    create: Create, base: Mapping[str, np.ndarray], kind: str
) -> dict[str, Any]:
    """Make the cache of a set's images of one kind."""
    images = create("image", base["image"].shape, np.uint16)
    for rows in spans(len(images), _AT_ONCE):
        stack = jnp.asarray(unit(base["image"][rows, ..., 0]))
        made = _preprocess_stack(kind, stack, jnp.asarray(base["lungs"][rows]))
        images[rows, ..., 0] = quantised(made)
    return {}


def _read(create: Create, source: Source, config: StudyConfig) -> dict[str, Any]:
    """Make the cache of a set: its images, lungs and hashes."""
    count, side = len(source.index), config.side
    images = create("image", (count, side, side, 1), np.uint16)
    lungs = create("lungs", (count, side, side), bool)
    masked, whole = create("masked", (count,), bool), create("whole", (count,), bool)
    problems: collections.Counter[str] = collections.Counter()
    for part in source.parts():
        images[part.rows, ..., 0] = quantised(part.images)
        lungs[part.rows] = part.lungs
        masked[part.rows], whole[part.rows] = part.masked, part.whole
        problems.update(part.problems)
    segmented = None
    if config.segmenter:
        every = config.segment == "all"
        rows = np.flatnonzero(whole if every else whole & ~masked)
        _segment(load(config.segmenter), images, lungs, masked, rows)
        used = int(masked[rows].sum())
        segmented = [used, rows.size - used]
    hashes = create("hashes", (count, 4), np.uint64)
    for rows in spans(count, _AT_ONCE):
        hashes[rows] = perceptual_hashes(unit(images[rows, ..., 0]))
    return {"problems": dict(problems), "segmented": segmented}


def _segment(
    net: Any, images: np.ndarray, lungs: np.ndarray, masked: np.ndarray, rows: Any
) -> None:
    """Replace the lungs of some rows by a network's; unknown where it abstains."""
    side = images.shape[1:3]
    own = (net.config.side, net.config.side)
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
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


def _segmenter_of(config: StudyConfig) -> dict[str, Any]:
    """Return what a segmenter's lungs follow from: its files, and what it is for."""
    if not config.segmenter:
        return {}
    folder, crc = Path(config.segmenter), 0
    for path in [folder / "segmenter.json", *sorted(folder.glob("weights/**/*"))]:
        if path.is_file():
            crc = zlib.crc32(path.read_bytes(), crc)
    return {"segmenter": crc, "segment": config.segment}


def _source(config: StudyConfig, name: str) -> Source:
    """Return a set whose pixels are still to be read."""
    one = config.sets[name]
    if one.phantom is not None:
        cohort = dataclasses.replace(one.phantom, size=config.side)
        return _synthetic(cohort, one.seed, config.label)
    return _folder(one, name, config)


def _synthetic(cohort: Cohort, seed: int, label: str) -> Source:
    """Return a set that is drawn."""
    whole = roster(jax.random.key(seed), cohort)

    def parts() -> Iterator[Part]:
        for rows, drawn in stacks(whole, cohort, size=_AT_ONCE):
            yield Part(rows, drawn.image, np.asarray(drawn.lungs).any(axis=1))

    identity = {"cohort": jsonable(cohort), "seed": seed}
    return Source(targeted(whole.index, label), {}, identity, parts)


def _folder(one: SetConfig, name: str, config: StudyConfig) -> Source:
    """Return a set that is read from files in its source's own layout."""
    built = sources.build(one.path, one.source)
    index = targeted(built.index, config.label)
    index = index.select(index.label("covid") != UNKNOWN)
    if not len(index):
        raise ValueError(f"sets.{name}: no radiograph has a known {config.label!r}")

    def parts() -> Iterator[Part]:
        for start in range(0, len(index), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            table = index.select(rows)
            files = sources.load(table, config.side, masks=("lungs",))
            whole = np.isin(table.uid, files.index.uid)
            images = np.zeros((len(table), config.side, config.side), np.float32)
            lungs, masked = np.zeros(images.shape, bool), np.zeros(len(table), bool)
            images[whole] = files.images
            lungs[whole], masked[whole] = files.masks["lungs"], files.masked["lungs"]
            yield Part(rows, images, lungs, masked, whole, files.problems.counts())

    identity = {"table": index.digest(), "files": _stamps(index), "side": config.side}
    return Source(index, built.problems.counts(), identity, parts)


def _stamps(index: Index) -> int:
    """Return a checksum of the sizes and times of a table's files, masks included."""
    crc = 0
    for row in range(len(index)):
        masks = [name for name in index.masks if index.mask(name)[row]]
        for file in (index.file(row), *(index.mask_file(row, m) for m in masks)):
            try:
                stat = file.stat()
            except OSError:  # said, with its reason, when it is read
                continue
            text = f"{index.uid[row]} {stat.st_size} {stat.st_mtime_ns}"
            crc = zlib.crc32(text.encode(), crc)
    return crc
