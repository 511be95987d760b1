"""Parts of a table: no patient in two of them, labels and sources in equal shares.

Who goes where follows from the seed and the names alone, by SHA-256: not from the order
of the rows, and not from a random generator's version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from covid_cxr import overlaps
from covid_cxr.hashes import WITHIN, near_duplicates
from covid_cxr.index import UNKNOWN, Index, order
from synaptax.checks import check_flags, check_integer, check_number

THREE = {"train": 0.56, "validation": 0.14, "test": 0.30}  # the paper's shares
_KINDS = ("images", "patients", "sources", "grouping", "duplicates")


class OverlapError(ValueError):
    """Two parts that share what they must not."""


class Overlapping(NamedTuple):
    """What two parts share.

    Attributes:
        kind: "images", "patients", "sources", "grouping" or "duplicates".
        count: how many.
        example: one of them.
    """

    kind: str
    count: int
    example: str

    def __str__(self) -> str:
        return f"{self.count} shared {self.kind}, such as {self.example}"


def assign(
    index: Index,
    fractions: Mapping[str, float] | None = None,
    *,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    by_source: bool = True,
) -> np.ndarray:
    """Give each image a part, patients whole.

    Patients of one stratum (source, and each label: present in any of their
    radiographs, absent, or unknown) are dealt out, largest first, each to the part that
    lacks most images of its share. So in every stratum a part is at most one patient
    over its share.

    Args:
        index: the table.
        fractions: part to its share of the images; shares sum to 1. Default
            :data:`THREE`.
        seed: another seed, another split.
        labels: to keep in proportion; default: "covid", where the table has it.
        by_source: keep the sources in proportion too.

    Returns:
        (n,) text: the part of each row.

    Raises:
        ValueError: for shares that do not sum to 1 or are not positive, or a label
            that the table does not have.

    Example:
        >>> parts = assign(index, seed=1)  # doctest: +SKIP
        >>> train = index.select(parts == "train")  # doctest: +SKIP
    """
    check_flags(by_source=by_source)
    lost = [name for name in labels or () if name not in index.labels]
    if lost and len(index):
        raise ValueError(f"labels: the table has no {lost[0]!r}, of {labels!r}")
    labels = ("covid",) if labels is None else labels
    fractions = THREE if fractions is None else fractions
    names, shares = _shares(fractions)
    people, member = np.unique(index.patient, return_inverse=True)
    sizes = np.bincount(member, minlength=len(people))
    strata = _strata(index, people, member, labels, by_source)
    part = np.zeros(len(people), np.intp)
    for stratum in sorted(set(strata)):
        here = np.array([i for i, one in enumerate(strata) if one == stratum])
        here = here[order(people[here].tolist(), seed)]
        # Largest first: the small ones, dealt last, even out what the large ones left.
        # Stable, so that the seed's order decides among equals.
        here = here[np.argsort(-sizes[here], kind="stable")]
        lacking = shares * sizes[here].sum()
        for person in here:
            emptiest = int(np.argmax(lacking))
            lacking[emptiest] -= sizes[person]
            part[person] = emptiest
    return np.array(names, str)[part[member]]


def folds(index: Index, count: int, **options: Any) -> np.ndarray:
    """Give each image one of ``count`` equal parts, "fold0", "fold1" and so on.

    Args:
        index: the table.
        count: at least 2.
        **options: as :func:`assign`.

    Returns:
        (n,) text.

    Raises:
        ValueError: for fewer than 2 folds, or fewer patients than folds.
    """
    people = np.unique(index.patient).size
    if check_integer("count", count) < 2:
        raise ValueError(f"count: expected at least 2 folds, got {count}")
    if people < count:
        raise ValueError(f"count: {people} patients do not fill {count} folds")
    return assign(index, {f"fold{i}": 1 / count for i in range(count)}, **options)


def assign_images(
    index: Index, *, test: float = 0.3, validation: float = 0.2, seed: int = 42
) -> np.ndarray:
    """Give each image a part as published: by image, stratified by label alone.

    Radiographs of one patient land in several parts. It is kept to measure what that is
    worth, and :func:`check_pair` refuses its parts.

    Args:
        index: the table; covid must be known in every row.
        test: share of the test part, rounded up.
        validation: share of the validation part in the rest, rounded up.
        seed: another seed, another split.

    Returns:
        (n,) text: "train", "validation" or "test".

    Raises:
        ValueError: if covid is unknown in some row, or a share is outside [0, 1).

    Reference:
        Tartaglione et al., Unveiling COVID-19 from chest X-ray with deep learning,
        arXiv 2004.05405, as its authors' code does it.
    """
    for name, share in (("test", test), ("validation", validation)):
        check_number(name, share, "a share in [0, 1)", lambda given: 0 <= given < 1)
    covid = index.label("covid")
    if (covid == UNKNOWN).any():
        raise ValueError("covid: expected to be known in every row")
    parts = np.full(len(index), "train", "U10")
    rest = order(index.uid.tolist(), seed)
    for name, share in (("test", test), ("validation", validation)):
        # 1e-9: n times a share may come out a rounding above a whole number, and ceil
        # would add one.
        size = int(np.ceil(len(rest) * share - 1e-9))
        classes = [rest[covid[rest] == value] for value in (0, 1)]
        counts = _in_proportion([len(rows) for rows in classes], size)
        for rows, count in zip(classes, counts, strict=True):
            parts[rows[:count]] = name
        rest = rest[parts[rest] == "train"]
    return parts


def shared(
    train: Index,
    test: Index,
    *,
    hashes: tuple[np.ndarray, np.ndarray] | None = None,
    within: int = WITHIN,
) -> tuple[Overlapping, ...]:
    """Return everything that two parts share and must not.

    Args:
        train: one part.
        test: the other.
        hashes: their images' (n, 4) and (m, 4) perceptual hashes; without them
            duplicates are not looked for.
        within: largest number of bits in which duplicates differ.

    Returns:
        At most one entry a kind; none if the parts are clean.
    """
    leaks = []
    for kind, first, second in (
        ("images", train.uid, test.uid),
        ("patients", train.patient, test.patient),
    ):
        both = np.intersect1d(first, second)
        if both.size:
            leaks.append(Overlapping(kind, int(both.size), str(both[0])))
    entries = _unsettled(train, test)
    if entries:
        text = f"{entries[0].first} and {entries[0].second}: {entries[0].note}"
        leaks.append(Overlapping("sources", len(entries), text))
    loose = np.intersect1d(
        train.source[train.flag("ungrouped")], test.source[test.flag("ungrouped")]
    )
    if loose.size:
        text = f"{loose[0]}, whose patients are not known"
        leaks.append(Overlapping("grouping", int(loose.size), text))
    if hashes is not None:
        for part, own in zip((train, test), hashes, strict=True):
            if np.shape(own) != (len(part), 4):
                raise ValueError(
                    f"hashes: expected {(len(part), 4)}, got {np.shape(own)}"
                )
        pairs = near_duplicates(*hashes, within=within)
        if pairs:
            first, second, bits = pairs[0]
            text = f"{train.uid[first]} and {test.uid[second]} ({bits} bits apart)"
            leaks.append(Overlapping("duplicates", len(pairs), text))
    return tuple(leaks)


def check_pair(
    train: Index,
    test: Index,
    *,
    hashes: tuple[np.ndarray, np.ndarray] | None = None,
    within: int = WITHIN,
    allow: Sequence[str] = (),
) -> tuple[Overlapping, ...]:
    """Refuse two parts that share patients, pictures, or known sources.

    Args:
        train: one part.
        test: the other.
        hashes: as :func:`shared`.
        within: as :func:`shared`.
        allow: kinds to let pass, of "images", "patients", "sources", "grouping" and
            "duplicates"; a report should say which.

    Returns:
        What was let pass.

    Raises:
        OverlapError: naming each kind, how many, and one of them.
        ValueError: for an unknown kind in ``allow``.
    """
    unknown = sorted(set(allow) - set(_KINDS))
    if unknown:
        raise ValueError(f"allow: expected some of {_KINDS}, got {unknown[0]!r}")
    leaks = shared(train, test, hashes=hashes, within=within)
    refused = [one for one in leaks if one.kind not in allow]
    if refused:
        raise OverlapError(
            f"the two parts overlap: {'; '.join(map(str, refused))}. Split again, or "
            f"pass allow={tuple(one.kind for one in refused)!r}"
        )
    return leaks


def _shares(fractions: Mapping[str, float]) -> tuple[list[str], np.ndarray]:
    if not isinstance(fractions, Mapping):
        raise ValueError(f"fractions: expected parts to shares, got {fractions!r}")
    names = list(fractions)
    for name in names:
        check_number(f"fractions[{name!r}]", fractions[name], "a share", lambda _: True)
    shares = np.array([fractions[name] for name in names], float)
    if not names or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"fractions: expected positive shares that sum to 1, got {dict(fractions)}"
        )
    return names, shares


def _strata(
    index: Index,
    people: np.ndarray,
    member: np.ndarray,
    labels: Sequence[str],
    by_source: bool,
) -> list[tuple[Any, ...]]:
    """Return each patient's stratum: sources, and each label's largest value."""
    columns: list[list[Any]] = []
    if by_source:
        sources: list[set[str]] = [set() for _ in people]
        for person, source in zip(member, index.source, strict=True):
            sources[person].add(str(source))
        columns.append(["+".join(sorted(own)) for own in sources])
    for name in labels:
        # -1 < 0 < 1: the maximum is present before absent before unknown.
        top = np.full(len(people), UNKNOWN, np.int8)
        np.maximum.at(top, member, index.label(name))
        columns.append(top.tolist())
    if not columns:
        return [()] * len(people)
    return list(zip(*columns, strict=True))


def _in_proportion(sizes: Sequence[int], wanted: int) -> list[int]:
    """Share ``wanted`` out among classes in proportion, by largest remainders."""
    # Largest remainders: floor(n_c m / n) each, then one more where most was cut off.
    exact = np.array(sizes, float) * wanted / max(sum(sizes), 1)
    counts = np.floor(exact).astype(int)
    most = np.argsort(counts - exact, kind="stable")
    counts[most[: wanted - int(counts.sum())]] += 1
    return counts.tolist()


def _unsettled(train: Index, test: Index) -> tuple[overlaps.Overlap, ...]:
    """Return known overlaps of sources that the patients' names do not settle."""
    entries = []
    for entry in overlaps.between(train.source, test.source):
        matched = []
        for part in (train, test):
            own = [overlaps.set_of(one) == entry.first for one in part.source.tolist()]
            matched.append(bool(part.flag("matched")[np.array(own, bool)].all()))
        if not all(matched):
            entries.append(entry)
    return tuple(entries)
