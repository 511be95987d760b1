"""COVIDx: lists of other sets' images, as its scripts put them together.

A row of ``train.txt``, ``train_COVIDx9B.txt`` or the like is ``patient image label``
and, from version 3 on, the archive that it comes from, parted by blanks. In the test of
versions 8B and 9B the archive alone tells the label: see what the probes say.
"""

from __future__ import annotations

import re
from pathlib import Path

from covid_cxr.index import NEGATIVE, POSITIVE, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source, patient_id

NAME = "covidx"
_TABLE = re.compile(r"(train|val|test)(?:_split|_COVIDx-?\w*)?\.txt")
_LABELS = {
    "positive": {"covid": POSITIVE},
    "negative": {"covid": NEGATIVE},
    "covid-19": {"covid": POSITIVE, "no_finding": NEGATIVE},
    "pneumonia": {"covid": NEGATIVE, "pneumonia": POSITIVE, "no_finding": NEGATIVE},
    "normal": {"covid": NEGATIVE, "pneumonia": NEGATIVE, "no_finding": POSITIVE},
}
_RSNA = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ARCHIVES = {"rnsa": "rsna"}  # misspelt in version 9


def build(root: Path, *, files: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of the lists; images in ``train``, ``val`` and ``test``.
        files: look for the images too.

    Returns:
        Images with covid, and pneumonia and no_finding where a list tells them; the
        source is "covidx/" and the archive. Patients are those of the lists; an id
        that is only an image's number has the flag "ungrouped".

    Raises:
        FileNotFoundError: without a list.
        ValueError: if several versions' lists of one part are there.
    """
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    for part, table in _tables(root).items():
        for number, line in enumerate(_lines(table), start=1):
            where = f"{table.name}, line {number}"
            tokens = line.split()
            if not tokens:
                continue
            archive = "" if tokens[-1].lower() in _LABELS else tokens.pop().lower()
            if len(tokens) < 3 or tokens[-1].lower() not in _LABELS:
                problems.add("bad value", where, "expected patient, image and label")
                continue
            *name, image, label = tokens
            archive = _ARCHIVES.get(archive, archive).replace("/", " ")
            # "COVID 617 COVID(617).png": the number is the image's, not a person's; an
            # id of RSNA's form is, too, in lists that do not name the archive.
            loose = len(name) > 1 or archive == "rsna" or bool(_RSNA.fullmatch(name[0]))
            flags = {"ungrouped"} if loose else set()
            if part == "test":
                flags |= {"official_test"}
            row = Row(
                f"{part}/{image}",
                f"{NAME}/{patient_id(' '.join(name))}",
                f"{NAME}/{archive}" if archive else NAME,
                labels=_LABELS[label.lower()],
                flags=frozenset(flags),
            )
            rows.add(row, where)
    detail = "RSNA's and Kaggle's ids are images: siblings are not told"
    problems.add("grouping", ".", detail)
    if files:
        for part in _tables(root):
            rows.unlisted(rows.listing.files(part))
    return rows.built()


def _tables(root: Path) -> dict[str, Path]:
    """Return each part's list; two of one part are a ValueError."""
    tables: dict[str, Path] = {}
    for path in sorted(root.glob("*.txt")):
        match = _TABLE.fullmatch(path.name)
        if match and path.is_file():
            if match[1] in tables:
                names = f"{tables[match[1]].name} and {path.name}"
                raise ValueError(f"{root}: two lists of one part, {names}")
            tables[match[1]] = path
    if not tables:
        raise FileNotFoundError(f"{root}: no list such as train_COVIDx9B.txt")
    return tables


def _lines(path: Path) -> list[str]:
    data = path.read_bytes()
    if b"\x00" in data:
        raise ValueError(f"{path.name}: not a table: it holds zero bytes")
    return data.decode("utf-8-sig", errors="replace").splitlines()


def _detect(root: Path) -> bool:
    """Say whether there is a list, and its first row is one of such a list."""
    for path in sorted(root.glob("*.txt")):
        if _TABLE.fullmatch(path.name) and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                tokens = file.readline(1000).lower().split()
            return len(tokens) >= 3 and bool(set(tokens[2:]) & set(_LABELS))
    return False


SOURCE = Source(NAME, build, detect=_detect, tables=("train.txt", "test.txt"))
