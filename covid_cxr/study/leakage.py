"""What a cell learns from and is tested on, and that nothing leaks between them.

Tables and hashes alone; no pixel is read.
"""

from __future__ import annotations

import numpy as np

from covid_cxr import protocols
from covid_cxr.index import Index
from covid_cxr.splits import OverlapError, check_pair
from covid_cxr.study.config import OWN, StudyConfig
from covid_cxr.study.data import Library, Tables

LEARNT = ("train", "validation")  # the parts that a network is made with

# Bits in which hashes of one radiograph may differ: synthetic ones of different
# patients come as near as 20, copies of real ones stay within 2.
ALIKE = 10


def tables(config: StudyConfig, held: Library, mix: str, pretraining: str) -> Tables:
    """Return the tables of a mix and a pre-training.

    Test radiographs that either stage has seen are refused, unless the study allows it.

    Args:
        config: the study.
        held: its radiographs.
        mix: name of what stage 2 is trained on.
        pretraining: name of stage 1.

    Raises:
        OverlapError: naming the two sides.
        ValueError: as :func:`covid_cxr.protocols.mix`, if a part that is learnt from
            has a single class, or if stage 1's label is not known there, or not of
            both kinds.
    """
    used = trained_on(config)
    first = _first(config, held, pretraining)
    parts = mixture(config, held, mix)
    for part in LEARNT:
        label = parts[part].label("covid")
        if np.unique(label).size < 2:
            raise ValueError(
                f"mixes.{mix}: expected both classes in its {part} part, got "
                f"{int((label == 1).sum())} of {len(label)} radiographs positive"
            )
    tests = {}
    for name in config.tests:
        if name == OWN:
            tests[name] = parts["test"]
        else:
            trained = name in used
            tests[name] = held.parts[name]["test"] if trained else held.whole[name]
    learnt = [(mix, parts[part]) for part in LEARNT]
    learnt += [(pretraining, table) for table in first.values()]
    overlaps: dict[str, list[str]] = {}
    for name, test in tests.items():
        kinds: dict[str, None] = {}
        for origin, table in learnt:
            try:
                passed = check_pair(
                    table,
                    test,
                    hashes=(held.hashes(table), held.hashes(test)),
                    within=ALIKE,
                    allow=config.allow,
                )
            except OverlapError as error:
                raise OverlapError(f"{origin} and {name}: {error}") from None
            kinds |= {one.kind: None for one in passed}
        overlaps[name] = list(kinds)
    return Tables(parts, tests, first, overlaps)


def mixture(config: StudyConfig, held: Library, name: str) -> dict[str, Index]:
    """Return the parts of a mix: "train", "validation" and "test"."""
    mix = config.mixes[name]
    target, other = (held.parts.get(one) for one in (mix.target, mix.other))
    return protocols.mix(mix.kind, target=target, other=other, seed=config.split_seed)


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
        table = table.select(table.label(one.label) >= 0)
        where = f"pretrainings.{name}.label"
        if not len(table):
            raise ValueError(
                f"{where}: no radiograph of {one.set!r} has a {one.label!r}"
            )
        if np.unique(table.label(one.label)).size < 2:
            raise ValueError(
                f"{where}: the radiographs of {one.set!r} are all alike in "
                f"{one.label!r}"
            )
        first[part] = table
    return first
