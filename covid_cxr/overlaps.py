"""What is known of overlaps between and within public sets, as data.

Two kinds: people that one set lists under several ids, and sets that share radiographs.
The first is applied by the loaders; the second by :func:`covid_cxr.splits.check_pair`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Overlap(NamedTuple):
    """Two sources that share radiographs or patients.

    Attributes:
        first: a source's name.
        second: another's.
        relation: "subset" (all of the first is in the second), "contains some", or
            "same patients" (under other ids). Where all radiographs of the first have
            the flag "matched", their patients have the second's names, and a check of
            patients settles it.
        note: what is known, and how the two may still be joined.
    """

    first: str
    second: str
    relation: str
    note: str


KNOWN = (
    Overlap(
        "rsna",
        "nih",
        "subset",
        "every RSNA radiograph is one of ChestX-ray14; with the match table both "
        "loaders "
        "give one patient one name",
    ),
    Overlap("siim", "nih", "subset", "its radiographs are of ChestX-ray14"),
    Overlap("siim", "rsna", "same patients", "both are of ChestX-ray14"),
    Overlap("covidx", "siim", "same patients", "through RSNA and ChestX-ray14"),
    Overlap(
        "bimcv_neg",
        "bimcv_pos",
        "same patients",
        "patients are in both releases under different ids; listjoin_ok.tsv joins them",
    ),
    Overlap("covidx", "covid_chestxray", "contains some", "COVIDx is built from it"),
    Overlap("covidx", "rsna", "contains some", "COVIDx negatives"),
    Overlap("covidx", "nih", "contains some", "through RSNA"),
    Overlap("covidx", "bimcv_pos", "contains some", "later COVIDx versions"),
    Overlap("tbx11k", "montgomery", "contains some", "re-hosted"),
    Overlap("tbx11k", "shenzhen", "contains some", "re-hosted"),
    Overlap("covid_radiography", "covid_chestxray", "contains some", "re-hosted"),
    Overlap("covid_radiography", "rsna", "contains some", "re-hosted"),
    Overlap("covid_radiography", "nih", "contains some", "through RSNA"),
    Overlap("covid_radiography", "kermany", "contains some", "re-hosted"),
    Overlap("pneumonia_mnist", "kermany", "subset", "the same radiographs at 28x28"),
)

#: Ids of one person in one set: every id maps to the first.
SAME_PERSON = {"covid_chestxray": (("97", "178"),)}
_LETTERED = re.compile(r"(\d+)[a-z]+", re.I)


def person(source: str, patient: str) -> str:
    """Return the name of a person, the same for all of their known ids.

    In COVID-ChestXRay ids that differ by a letter (331a, 331b) may be related, so
    they are one person here: to join two people costs a little data, to part one
    leaks.

    Args:
        source: the set.
        patient: the set's own id.

    Returns:
        "source/id".
    """
    if source == "covid_chestxray":
        lettered = _LETTERED.fullmatch(patient)
        patient = lettered[1] if lettered else patient
    for ids in SAME_PERSON.get(source, ()):
        if patient in ids:
            patient = ids[0]
    return f"{source}/{patient}"


def set_of(source: str) -> str:
    """Return the set of a source: of "covidx/rsna" covidx, of "tfds:nih" nih."""
    return str(source).removeprefix("tfds:").partition("/")[0]


def between(first: Iterable[str], second: Iterable[str]) -> tuple[Overlap, ...]:
    """Return the known overlaps between two groups of sources.

    Args:
        first: names of sources on one side.
        second: on the other.

    Returns:
        Those entries of :data:`KNOWN` that join the two sides, either way round.
    """
    here, there = set(map(set_of, first)), set(map(set_of, second))
    return tuple(
        entry
        for entry in KNOWN
        if (entry.first in here and entry.second in there)
        or (entry.second in here and entry.first in there)
    )
