"""VinDr-CXR: DICOM radiographs, each of the training part labelled by three readers.

``annotations/image_labels_train.csv`` has a row a radiograph and reader, and a column
of 0 and 1 a finding; ``image_labels_test.csv`` a row a radiograph, their consensus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError
from covid_cxr.index import NEGATIVE, POSITIVE, UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source, child, read_table

NAME = "vindr"
TABLES = ("annotations/image_labels_train.csv", "annotations/image_labels_test.csv")
_ENDINGS = ("dicom", "dcm", "png", "jpg")
# The two tables spell one finding differently.
_SPELT = {"other_disease": "other_diseases"}


def build(root: Path, *, files: bool = True, headers: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of ``annotations``; radiographs in ``train`` and ``test``.
        files: look for the radiographs too.
        headers: read view, sex, age and spacing from the radiographs' headers.

    Returns:
        Radiographs with all findings of the tables: 1 where most of their readers saw
        it, 0 where none did, else unknown. covid is unknown: some are of 2020. No
        patient is named, so each radiograph is its own, with the flag "ungrouped".

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table that lacks a column.
    """
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    tables = [name for name in TABLES if (root / name).is_file()] or [TABLES[0]]
    for name in tables:
        part = "test" if name == TABLES[1] else "train"
        for image, votes in _votes(root / name, problems).items():
            path = _path(rows, part, image)
            labels = {
                finding: _label(per_reader) for finding, per_reader in votes.items()
            }
            if UNKNOWN in labels.values():
                unsure = [one for one, value in labels.items() if value == UNKNOWN]
                problems.add("unlabelled", path, f"readers differ: {', '.join(unsure)}")
            row = Row(path, f"{NAME}/{image}", NAME, labels=labels)
            flags = {"ungrouped"} | ({"official_test"} if part == "test" else set())
            if headers and files and rows.listing.has(path):
                row = _with_header(row, root / path, problems)
            flags |= child(row.age)
            rows.add(row._replace(flags=frozenset(flags)), f"{name}, {image}")
    problems.add("grouping", tables[0], "no patient is named: siblings are not told")
    return rows.built()


def _votes(path: Path, problems: Problems) -> dict[str, dict[str, list[int]]]:
    """Return each radiograph's votes by finding, one a reader."""
    table = read_table(path, problems, need=("image_id", "No finding"))
    findings = {
        column: re.sub(r"[^a-z0-9]+", "_", column).strip("_")
        for column in table.columns
        if column not in ("image_id", "rad_id", "")
    }
    votes: dict[str, dict[str, list[int]]] = {}
    readers: set[tuple[str, str]] = set()
    for where, get in table.rows():
        image, reader = get("image_id"), get("rad_id")
        if not image or "/" in image:
            problems.add("bad value", where, "image_id: expected a name")
            continue
        if (image, reader) in readers:
            problems.add("duplicate", where, f"{image}: its reader a second time")
            continue
        readers.add((image, reader))
        by_finding = votes.setdefault(image, {})
        for column, finding in findings.items():
            cell = get(column).removesuffix(".0")
            if cell not in ("0", "1"):
                problems.add("bad value", where, f"{column}: expected 0 or 1")
            vote = {"0": NEGATIVE, "1": POSITIVE}.get(cell, UNKNOWN)
            by_finding.setdefault(_SPELT.get(finding, finding), []).append(vote)
    return votes


def _label(votes: list[int]) -> int:
    """Return what most of the readers saw, 0 where none did, else unknown."""
    if 2 * votes.count(POSITIVE) > len(votes):
        return POSITIVE
    return NEGATIVE if votes.count(NEGATIVE) == len(votes) else UNKNOWN


def _path(rows: Rows, part: str, image: str) -> str:
    names = [f"{part}/{image}.{ending}" for ending in _ENDINGS]
    there = [name for name in names if rows.files and rows.listing.has(name)]
    return (there or names)[0]


def _with_header(row: Row, file: Path, problems: Problems) -> Row:
    try:
        header: Mapping[str, object] = dicom.attributes(file)._asdict()
    except ImageError as error:
        if file.suffix in (".dicom", ".dcm"):
            problems.add("corrupt", row.path, error.reason)
        return row
    return row._replace(**header)


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: any((root / name).is_file() for name in TABLES),
    tables=TABLES,
)
