"""What is wrong with a file or a row, said once and counted, never dropped silently."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import NamedTuple

from synaptax.cli.terminal import printable

#: Every kind of problem, and what it means. Sources and ``verify`` use no others.
KINDS = {
    "ambiguous": "the same file or id is claimed twice, with different contents",
    "bad value": "a cell that cannot be read as what its column holds",
    "constant": "an image with a single value",
    "contrast": "an image almost constant, or one that leaves its bits unused",
    "corrupt": "a file that cannot be decoded",
    "duplicate": "the same picture, or the same row, more than once",
    "empty mask": "a mask without a single marked pixel",
    "escapes": "a path that leads out of the data folder",
    "grouping": "patients that cannot be told apart or joined for certain",
    "mask size": "a mask whose size is not its image's",
    "missing": "a file that a table names and the folder lacks",
    "no column": "a column that a table lacks, so that nothing is known of it",
    "not a radiograph": "a row of another modality or view, left out",
    "unlisted": "a file in the folder that no table names",
    "unlabelled": "a row without a usable label",
}

#: What to do about each kind.
ADVICE = {
    "ambiguous": "find out which of the rows is right and delete the other",
    "bad value": "correct the cell in the table, or empty it: empty is unknown",
    "constant": "fetch the file again; if it is so at its owners', leave it out",
    "contrast": "look at the image; if it was exported wrongly, export it again, else "
    "leave it out",
    "corrupt": "fetch the file again and compare its size or checksum",
    "duplicate": "keep one of the two, or give both one patient, or both parts of a "
    "split may hold the picture",
    "empty mask": "draw the mask again, or delete it, so that the lungs are unknown",
    "escapes": "move the file into the data folder and name it relative to that",
    "grouping": "name a column, a pattern or a match table that tells patients apart",
    "mask size": "export the mask at its image's stored size",
    "missing": "fetch the file, or delete its row from the table",
    "no column": "add the column, or say what the table calls it; or go without",
    "not a radiograph": "nothing, unless frontal radiographs are among them: then "
    "correct their view",
    "unlisted": "nothing, if it is not to be used; else add its row to the table",
    "unlabelled": "nothing, if it is unknown; else correct the label, or say how it is "
    "spelt",
}

#: Kinds that only count rows left out on purpose, or say what was assumed; they do
#: not make a data folder faulty.
NOTES = frozenset({"grouping", "no column", "not a radiograph", "unlabelled"})

#: Kinds that leave no radiograph out.
OF_NO_RADIOGRAPH = frozenset({"grouping", "no column"})


class Problem(NamedTuple):
    """One thing found wrong.

    Attributes:
        kind: a key of :data:`KINDS`.
        path: the file, relative to the data folder, or the table and row.
        detail: what was expected and what was found.
    """

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {printable(self.path)}: {printable(self.detail)}"


class Problems(list[Problem]):
    """A list of problems that knows its kinds."""

    def add(self, kind: str, path: str, detail: str) -> None:
        """Append one problem; a kind that is not in :data:`KINDS` is a ValueError."""
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {sorted(KINDS)}, got {kind!r}")
        self.append(Problem(kind, path, detail))

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind, the most frequent first."""
        return dict(collections.Counter(problem.kind for problem in self).most_common())

    def faults(self) -> Problems:
        """Return those that make a folder faulty: all but :data:`NOTES`."""
        return Problems(problem for problem in self if problem.kind not in NOTES)


def joined(parts: Iterable[Problems]) -> Problems:
    """Return several lists of problems as one."""
    return Problems(problem for part in parts for problem in part)
