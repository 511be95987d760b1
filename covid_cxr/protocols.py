"""The training mixes of the paper, balanced and not, as published and repaired.

The paper's target set (CORDA) is not public in its form; any set with both classes
stands in for it. Its four kinds of mix, by our names:

- ``target``: the target alone, the larger class of its training part cut to the
  smaller;
- ``target+negatives``: all of the target, and N_pos - N_neg radiographs of a set
  without COVID-19 as further negatives, so that source tells label for many;
- ``target+second``: target and a second COVID-19 set, the larger class of the training
  part cut to the smaller;
- ``second``: the second set alone, as it is.

Negatives are added in train, validation and test apart. What the authors cut outside
training is not known, so nothing is cut there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from covid_cxr.index import NEGATIVE, POSITIVE, UNKNOWN, Index, concatenate, order
from covid_cxr.splits import THREE, assign, assign_images
from synaptax.checks import check_integer

MIXES = ("target", "target+negatives", "target+second", "second")
KINDS = (*MIXES, "versus")
PARTS = tuple(THREE)


def split(index: Index, *, published: bool = False, seed: int = 42) -> dict[str, Index]:
    """Cut a set into the paper's three parts.

    Args:
        index: the table; rows whose covid label is unknown are left out.
        published: by image, as the authors did, and not by patient.
        seed: another seed, another split.

    Returns:
        "train", "validation" and "test".
    """
    table = index.select(index.label("covid") != UNKNOWN)
    cut_up = assign_images if published else assign
    parts = cut_up(table, seed=seed)
    return {name: table.select(parts == name) for name in PARTS}


def mix(
    name: str,
    *,
    target: Mapping[str, Index] | None = None,
    other: Mapping[str, Index] | None = None,
    seed: int = 42,
) -> dict[str, Index]:
    """Return the parts of a training mix.

    Args:
        name: one of :data:`KINDS`; "versus" is the positives of the target against
            negatives of the other set, as many of them.
        target: the target's parts, as :func:`split` gives them; not for "second".
        other: the second set's parts; not for "target".
        seed: which radiographs are drawn.

    Returns:
        "train", "validation" and "test".

    Raises:
        ValueError: for an unknown mix, a set that is missing, or fewer radiographs in
            the other set than the mix needs.
    """
    if name not in KINDS:
        raise ValueError(f"mix: expected one of {', '.join(KINDS)}, got {name!r}")
    if target is None and name != "second":
        raise ValueError(f"target: the mix {name!r} needs it")
    if other is None and name != "target":
        raise ValueError(f"other: the mix {name!r} needs it")
    return {part: _one(name, part, target, other, seed) for part in PARTS}


def _one(name: str, part: str, target: Any, other: Any, seed: int) -> Index:
    if name == "second":
        return other[part]
    whole = target[part]
    if name == "target+negatives":
        return padded(whole, other[part], seed=seed)
    if name == "versus":
        whole = concatenate([_of(whole, POSITIVE), _of(other[part], NEGATIVE)])
    elif name == "target+second":
        whole = concatenate([whole, other[part]])
    cut_down = part == "train" or name == "versus"
    return balanced(whole, seed=seed) if cut_down else whole


def _of(index: Index, value: int) -> Index:
    return index.select(index.label("covid") == value)


def balanced(index: Index, *, seed: int = 42) -> Index:
    """Return as many positives as negatives: the larger class cut to the smaller."""
    covid = index.label("covid")
    return cut(
        index, int(min((covid == POSITIVE).sum(), (covid == NEGATIVE).sum())), seed=seed
    )


def cut(index: Index, count: int, *, seed: int = 42) -> Index:
    """Return at most ``count`` radiographs of each class, drawn by seed and name."""
    check_integer("count", count, 0)
    covid, members = index.label("covid"), np.zeros(len(index), bool)
    for value in (POSITIVE, NEGATIVE):
        rows = np.flatnonzero(covid == value)
        first = order(index.uid[rows].tolist(), seed)[:count]
        members[rows[first]] = True
    return index.select(members)


def padded(index: Index, source: Index, *, seed: int = 42) -> Index:
    """Return a table with negatives of another set added, until the classes are equal.

    Args:
        index: all of it is kept.
        source: where negatives are drawn from, healthy and ill alike; its radiographs
            must be known to be without COVID-19.
        seed: which are drawn.

    Returns:
        The table; as it is, if it has no fewer negatives than positives.

    Raises:
        ValueError: if ``source`` has too few radiographs without COVID-19.
    """
    covid = index.label("covid")
    lacking = int((covid == POSITIVE).sum()) - int((covid == NEGATIVE).sum())
    if lacking <= 0:
        return index
    spare = source.select(source.label("covid") == NEGATIVE)
    if len(spare) < lacking:
        raise ValueError(
            f"source: expected {lacking} radiographs without COVID-19, got {len(spare)}"
        )
    rows = order(spare.uid.tolist(), seed)[:lacking]
    return concatenate([index, spare.select(rows)])
