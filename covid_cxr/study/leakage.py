"""What a cell learns from and is tested on, and that nothing leaks between them.

Tables and hashes alone; no pixel is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from covid_cxr import protocols
from covid_cxr.index import UNKNOWN, Index
from covid_cxr.splits import OverlapError, check_pair
from covid_cxr.study.config import OWN, Pretraining, StudyConfig
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
    scaled = _scaled(config, held, mix, pretraining, first)
    return Tables(parts, tests, first, scaled, overlaps)


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


def taught(index: Index, one: Pretraining) -> np.ndarray:
    """Return (n,) int64, the class that stage 1 learns for each row, -1 if unknown."""
    values = np.stack([index.label(name).astype(np.int64) for name in one.names])
    if not one.labels:
        return values[0]
    unsure = (values < 0).any(axis=0) | (values.sum(axis=0) > 1)  # or two at once
    return np.where(unsure, UNKNOWN, (values == 1).T @ np.arange(1, len(values) + 1))


def _scaled(
    config: StudyConfig,
    held: Library,
    mix: str,
    pretraining: str,
    first: Mapping[str, Index],
) -> dict[str, Index]:
    """Return what the published statistics are of, as READ in the released code.

    The target without what a mix adds to it, and of stage 1 the training part, with
    three classes the validation part too. A mix without a target has its own.
    """
    one = config.mixes[mix]
    name = one.other if one.kind == "second" else one.target
    # "versus" is none of the paper's: its target has one class.
    own = mixture(config, held, mix) if one.kind == "versus" else held.parts[name]
    used = LEARNT if config.pretrainings[pretraining].labels else LEARNT[:1]
    both = {part: own[part] for part in LEARNT}
    return both | {f"first {part}": first[part] for part in used if first}


def _first(config: StudyConfig, held: Library, name: str) -> dict[str, Index]:
    """Return the tables of stage 1, none if there is no such stage."""
    one = config.pretrainings[name]
    first = {}
    for part in LEARNT if one.set else ():
        table = held.parts[one.set][part]
        table = table.select(taught(table, one) >= 0)
        where, what = f"pretrainings.{name}.label", "', '".join(one.names)
        if not len(table):
            raise ValueError(f"{where}: no radiograph of {one.set!r} has a '{what}'")
        if np.unique(taught(table, one)).size < max(2, one.classes):
            how = "lack a class" if one.labels else "are all alike"
            raise ValueError(
                f"{where}: the radiographs of {one.set!r} {how} in '{what}'"
            )
        first[part] = table
    return first
