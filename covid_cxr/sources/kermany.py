"""ChestXRay (Kermany): children's radiographs, two naming schemes, no table.

(a) Kaggle and Mendeley v2: ``{train,val,test}/{NORMAL,PNEUMONIA}/`` with
``IM-0115-0001.jpeg``, ``NORMAL2-IM-0262-0001.jpeg``, ``person1_bacteria_1.jpeg``.
(b) Mendeley v3: ``{train,test}/...`` with ``NORMAL-<id>-<n>.jpeg``, ``BACTERIA-<id>-``
and ``VIRUS-<id>-``. What is ill, with what, and who it is, is only in the names.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from covid_cxr.index import Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source
from synaptax.checks import check_choice

NAME = "kermany"
_FOLDERS = ("NORMAL", "PNEUMONIA")
_SPLITS = ("train", "val", "test")
# (scheme, pattern): "who" keeps the prefix, for equal numbers may be other children.
_PATTERNS = (
    ("a", re.compile(r"(?P<who>person\d+)_(?P<what>bacteria|virus)_\d+", re.I)),
    ("a", re.compile(r"(?P<who>(NORMAL2-)?IM-\d+)-\d+(-\d+)?", re.I)),
    ("b", re.compile(r"(?P<what>BACTERIA|VIRUS)-(?P<who>\d+)-\d+", re.I)),
    ("b", re.compile(r"(?P<who>NORMAL-\d+)-\d+", re.I)),
)


class Named(NamedTuple):
    """What a file name says.

    Attributes:
        scheme: "a" or "b".
        patient: the child, with the prefix that its number belongs to.
        finding: "normal", "bacteria" or "virus".
    """

    scheme: str
    patient: str
    finding: str


def parse(stem: str) -> Named | None:
    """Return what a file's stem says, None if it has neither form."""
    for scheme, pattern in _PATTERNS:
        match = pattern.fullmatch(stem)
        if match is not None:
            finding = (match.groupdict().get("what") or "normal").lower()
            return Named(scheme, match["who"], finding)
    return None


def build(root: Path, *, files: bool = True, scheme: str = "any") -> Built:
    """Build the table.

    Args:
        root: the folder that holds ``train`` and ``test``, or one above it.
        files: must be true: the file names are the table.
        scheme: "a", "b", or "any" for whichever the folder has.

    Returns:
        Radiographs with labels pneumonia, bacterial, viral, no_finding and covid (0:
        they are older); flags "child", and "official_test" for the published test part.

    Raises:
        FileNotFoundError: if no such folders are there.
        ValueError: for files of both schemes, which list the same children twice
            under different names, or ``files=False``.
    """
    check_choice("scheme", scheme, ("any", "a", "b"))
    if not files:
        raise ValueError("files: the names of the files are this set's only table")
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    places: dict[tuple[str, ...], str] = {}
    schemes: dict[str, str] = {}
    walked = rows.listing.walk(".")
    # The least deep first: of a folder that is inside itself once more, the outer one.
    for path in sorted(walked, key=lambda p: (p.count("/"), p)):
        parts = PurePosixPath(path).parts
        if len(parts) < 3 or parts[-2] not in _FOLDERS or parts[-3] not in _SPLITS:
            problems.add("unlisted", path, "not in a folder of this layout")
            continue
        entry = parse(PurePosixPath(path).stem)
        if entry is None:
            problems.add("bad value", path, "the name has neither form of this set")
            continue
        if (entry.finding == "normal") != (parts[-2] == "NORMAL"):
            problems.add("ambiguous", path, f"a {entry.finding} name in {parts[-2]}")
            continue
        if scheme not in ("any", entry.scheme):
            problems.add("unlisted", path, f"named by scheme ({entry.scheme})")
            continue
        schemes.setdefault(entry.scheme, path)
        first = places.setdefault(parts[-3:], path)
        if first != path:  # archives that hold the whole folder once more
            problems.add("duplicate", path, f"the same place as {first}")
            continue
        rows.add(_row(path, entry, parts[-3]), path)
    if not places and not problems:
        raise FileNotFoundError(
            f"{root}: no radiographs in train/NORMAL or train/PNEUMONIA"
        )
    if len(schemes) > 1:
        raise ValueError(
            "scheme: both are there, and they list the same children under other "
            f"names: {schemes['a']} and {schemes['b']}; choose 'a' or 'b'"
        )
    return rows.built()


def _row(path: str, named: Named, split: str) -> Row:
    ill = named.finding != "normal"
    flags = {"child"} | ({"official_test"} if split == "test" else set())
    return Row(
        path,
        f"{NAME}/{named.patient}",
        NAME,
        site="Guangzhou Women and Children's Medical Center",
        view="AP",
        licence="CC BY 4.0",
        labels={
            "pneumonia": int(ill),
            "bacterial": int(named.finding == "bacteria"),
            "viral": int(named.finding == "virus"),
            "no_finding": int(not ill),
            "covid": 0,
        },
        flags=frozenset(flags),
    )


def _detect(root: Path) -> bool:
    return any(
        (base / split / folder).is_dir()
        for base in (root, root / "chest_xray", root / "CellData" / "chest_xray")
        for split in _SPLITS
        for folder in _FOLDERS
    )


SOURCE = Source(NAME, build, detect=_detect)
