"""Which radiographs a cell learns from and is tested on: tables alone, no pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from covid_cxr import protocols
from covid_cxr.index import NEGATIVE, POSITIVE, Index, concatenate
from covid_cxr.study.config import NONE, OWN, StudyConfig
from covid_cxr.study.data import Library, targeted

LEARNT = ("train", "validation")  # the parts that a network is made with


class Tables(NamedTuple):
    """What the cells of a mix and a pre-training see.

    Attributes:
        parts: "train", "validation" and "test" of the mix.
        tests: name of a test set to its table; see :class:`StudyConfig`.
        first: "train" and "validation" of stage 1, whose label is their "covid"; empty
            without a stage 1.
    """

    parts: Mapping[str, Index]
    tests: Mapping[str, Index]
    first: Mapping[str, Index]


def tables(config: StudyConfig, held: Library, mix: str, pretraining: str) -> Tables:
    """Return the tables of a mix and a pre-training.

    Args:
        config: the study.
        held: its radiographs.
        mix: name of what stage 2 is trained on.
        pretraining: name of stage 1.

    Raises:
        ValueError: as :func:`covid_cxr.protocols.mix`, or if stage 1's label is not
            known there, or not of both kinds.
    """
    parts = mixed(config, held, mix)
    used = trained_on(config)
    tests = {}
    for name in config.tests:
        if name == OWN:
            tests[name] = parts["test"]
        elif name in used:
            tests[name] = held.parts[name]["test"]
        else:
            tests[name] = held.sets[name][NONE].index
    return Tables(parts, tests, _first(config, held, pretraining))


def mixed(config: StudyConfig, held: Library, name: str) -> dict[str, Index]:
    """Return the parts of a mix: "train", "validation" and "test"."""
    mix, seed = config.mixes[name], config.split_seed
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


def _first(config: StudyConfig, held: Library, name: str) -> dict[str, Index]:
    """Return the tables of stage 1, none if there is no such stage."""
    one = config.pretrainings[name]
    first = {}
    for part in LEARNT if one.set else ():
        table = held.parts[one.set][part]
        table = targeted(table.select(table.label(one.label) >= 0), one.label)
        where = f"pretrainings.{name}.label"
        if not len(table):
            raise ValueError(
                f"{where}: no radiograph of {one.set!r} has a {one.label!r}"
            )
        if np.unique(table.label("covid")).size < 2:
            raise ValueError(
                f"{where}: the radiographs of {one.set!r} are all alike in "
                f"{one.label!r}"
            )
        first[part] = table
    return first


def _of(index: Index, value: int) -> Index:
    return index.select(index.label("covid") == value)
