"""The films of a study: loaded once, cut into parts, mixed, preprocessed."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr import protocols
from covid_cxr.images import equalise, resize
from covid_cxr.index import NEGATIVE, POSITIVE, UNKNOWN, Index, concatenate
from covid_cxr.phantom import Cohort, generate
from covid_cxr.problems import joined
from covid_cxr.segmentation import checked, lungs_only, predict
from covid_cxr.segmentation import load as load_segmenter
from covid_cxr.sources import build
from covid_cxr.sources import load as load_films
from covid_cxr.study.config import MASKING, OWN, Mix, StudyConfig

LEARNT = ("train", "validation")  # the parts that a network is made with


class Films(NamedTuple):
    """Films; row i of every part is one.

    Attributes:
        images: (n, S, S) float32 in [0, 1].
        lungs: (n, S, S) bool.
        masked: (n,) bool, whether the lungs are known.
        index: the table; the label of the study is its "covid".
        row: (n,) int64, the row in the set's own table.
    """

    images: np.ndarray
    lungs: np.ndarray
    masked: np.ndarray
    index: Index
    row: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """Return (n,) int64 of 0 and 1."""
        return self.index.label("covid").astype(np.int64)

    @property
    def known_lungs(self) -> np.ndarray | None:
        """Return the lungs, or None if those of some film are not known."""
        return self.lungs if len(self.masked) and self.masked.all() else None

    def select(self, rows: Any) -> Films:
        """Return some of the films."""
        rows = np.asarray(rows)
        images, lungs, masked, row = (
            part[rows] for part in (self.images, self.lungs, self.masked, self.row)
        )
        return Films(images, lungs, masked, self.index.select(rows), row)


class Library(NamedTuple):
    """All films of a study.

    Attributes:
        sets: name to its films.
        parts: name to the set's parts, by patient.
        problems: name to what was left out, by kind.
        segmented: name to how many films have lungs of a network, and on how many it
            abstained.
    """

    sets: dict[str, Films]
    parts: dict[str, dict[str, Index]]
    problems: dict[str, dict[str, int]]
    segmented: dict[str, tuple[int, int]]

    def films(self, index: Index) -> Films:
        """Return the films of a table, in its order."""
        place, pool = {}, list(self.sets.values())
        for number, films in enumerate(pool):
            for row, uid in enumerate(films.index.uid.tolist()):
                place.setdefault(uid, (number, row))
        found = [place[uid] for uid in index.uid.tolist()]
        stacked = [
            np.stack([getattr(pool[n], part)[row] for n, row in found])
            for part in ("images", "lungs", "masked")
        ]
        rows = np.array([pool[n].row[row] for n, row in found])
        return Films(*stacked, index=index, row=rows)


def library(config: StudyConfig) -> Library:
    """Load every set of a study.

    Args:
        config: the study.

    Returns:
        The films whose label is known, and their parts. If films are to be masked,
        those whose lungs are not known are left out everywhere, and counted.

    Raises:
        OSError: for a folder or table that is absent.
        ValueError: for a set without a film whose label is known.
    """
    sets, problems = {}, {}
    for name, one in config.sets.items():
        if one.phantom is not None:
            sets[name], problems[name] = _synthetic(config, one.phantom, one.seed), {}
        else:
            sets[name], problems[name] = _loaded(config, name)
    segmented = {}
    if config.segmenter:
        net = load_segmenter(config.segmenter)
        for name, films in sets.items():
            sets[name], *counts = _segmented(films, net, config.segment == "all")
            segmented[name] = tuple(counts)
    # Split before films are left out, so that masking moves no patient.
    parts = {
        name: protocols.split(
            films.index,
            published=config.protocol == "published",
            seed=config.split_seed,
        )
        for name, films in sets.items()
    }
    masking = [kind for kind in MASKING if kind in config.preprocessing]
    for name, films in sets.items() if masking else ():
        if not films.masked.any():
            raise ValueError(
                f"sets.{name}: {masking[0]!r} needs lungs, and no film has a mask: "
                "name a segmenter"
            )
        sets[name] = films.select(films.masked)
        problems[name]["lungs not known"] = int((~films.masked).sum())
        parts[name] = {
            part: index.select(np.isin(index.uid, sets[name].index.uid))
            for part, index in parts[name].items()
        }
    return Library(sets, parts, problems, segmented)


def targeted(index: Index, label: str) -> Index:
    """Return a table whose "covid", which splits and mixes go by, is another label."""
    if label == "covid":
        return index
    labels = {**index.labels, "covid": index.label(label)}
    return dataclasses.replace(index, labels=labels)


def mixed(mix: Mix, held: Library, seed: int) -> dict[str, Index]:
    """Return the parts of a mix.

    Args:
        mix: which.
        held: the films.
        seed: which are drawn.

    Returns:
        "train", "validation" and "test".

    Raises:
        ValueError: as :func:`covid_cxr.protocols.mix`.
    """
    target, other = held.parts.get(mix.target), held.parts.get(mix.other)
    if mix.kind != "versus":
        return protocols.mix(mix.kind, target=target, other=other, seed=seed)
    assert target is not None and other is not None  # config.check
    return {
        part: protocols.balanced(
            concatenate([_of(target[part], POSITIVE), _of(other[part], NEGATIVE)]),
            seed=seed,
        )
        for part in target
    }


def trained_on(config: StudyConfig) -> set[str]:
    """Return the names of the sets that some cell is trained on."""
    names = {one.set for one in config.pretrainings.values()}
    for mix in config.mixes.values():
        names |= {mix.target, mix.other}
    return names - {""}


def tested(name: str, held: Library, own: Index, used: set[str]) -> Films:
    """Return the films of a test set; see :class:`StudyConfig`."""
    if name == OWN:
        return held.films(own)
    if name in used:
        return held.films(held.parts[name]["test"])
    return held.sets[name]


def tests_of(config: StudyConfig, held: Library, own: Index) -> dict[str, Films]:
    """Return the test sets of a cell, by name."""
    used = trained_on(config)
    names = dict.fromkeys(config.tests)
    return {name: tested(name, held, own, used) for name in names}


def preprocessed(films: Films, kind: str) -> Films:
    """Return films equalised, or cut down to their lungs, or both, as is wished."""
    if kind == "none" or not len(films.index):
        return films
    images, lungs = jnp.asarray(films.images), jnp.asarray(films.lungs)
    if kind in ("equalised", "masked"):
        images = jax.vmap(equalise)(images)
    elif kind == "lungs-equalised":
        images = jax.vmap(equalise)(images, lungs)
    if kind in MASKING:
        images = jax.vmap(lungs_only)(images, lungs)
    return films._replace(images=np.asarray(images))


def _of(index: Index, value: int) -> Index:
    return index.select(index.label("covid") == value)


def _synthetic(config: StudyConfig, cohort: Cohort, seed: int) -> Films:
    wanted = dataclasses.replace(cohort, size=config.side)
    drawn = generate(jax.random.key(seed), wanted)
    count = len(drawn.images)
    return Films(
        drawn.images,
        np.asarray(drawn.lungs.any(axis=1)),
        np.ones(count, bool),
        targeted(drawn.index, config.label),
        np.arange(count),
    )


def _loaded(config: StudyConfig, name: str) -> tuple[Films, dict[str, int]]:
    """Return a set's films from its folder, and what was left out."""
    one = config.sets[name]
    built = build(one.path, one.source)
    index = targeted(built.index, config.label)
    index = index.select(index.label("covid") != UNKNOWN)
    if not len(index):
        raise ValueError(f"sets.{name}: no film has a known {config.label!r}")
    found = load_films(index, config.side, masks=("lungs",))
    counts = joined((built.problems, found.problems)).counts()
    films = Films(
        found.images,
        found.masks["lungs"],
        found.masked["lungs"],
        found.index,
        np.arange(len(found.index)),
    )
    return films, counts


def _segmented(films: Films, net: Any, every: bool) -> tuple[Films, int, int]:
    """Return films with a network's lungs where it does not abstain.

    Args:
        films: any.
        net: the segmentation.
        every: whether for all films, or for those without lungs alone.

    Returns:
        The films, how many have the network's lungs, on how many it abstained.
    """
    lungs, masked = films.lungs.copy(), films.masked.copy()
    rows = np.arange(len(masked)) if every else np.flatnonzero(~masked)
    if not rows.size:
        return films, 0, 0
    side = films.images.shape[1:]
    # At the size that it was trained at, and back.
    own = (net.config.side, net.config.side)
    small = films.images[rows]
    if own != side:
        small = np.clip(resize(small, own), 0, 1).astype(np.float32)
    for row, one in zip(rows, predict(net, small), strict=True):
        found = checked(one)
        masked[row] = found.quality.accepted
        lungs[row] = False
        if found.quality.accepted:
            mask = found.mask.astype(np.float32)
            lungs[row] = (mask if own == side else resize(mask, side)) >= 0.5
    used = int(masked[rows].sum())
    return films._replace(lungs=lungs, masked=masked), used, rows.size - used
