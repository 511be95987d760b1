"""NIH ChestX-ray14: the full release, and the reduced layout with ``metadata.csv``.

Full: ``Data_Entry_2017*.csv`` with the radiographs in ``images/`` or
``images_001/images/`` and so on. Reduced: ``metadata.csv`` whose first column ``file``
says where a radiograph lies. The table's column names hold commas, so a reader sees
``OriginalImage[Width`` and ``Height]``: these are the names used here. Labels were
mined from reports.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from covid_cxr.index import NEGATIVE, POSITIVE, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Get,
    Listing,
    Rows,
    Source,
    Table,
    age_of,
    child,
    number,
    read_table,
    sex_of,
    view_of,
)

NAME = "nih"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "metadata.csv")
_FILE = re.compile(r"(\d{8})_\d{3}\.(png|jpg|jpeg)", re.I)
_LICENCE = "no restrictions; acknowledge the NIH Clinical Center"


class Box(NamedTuple):
    """A hand-drawn box, in pixels of the 1024-pixel radiograph.

    Attributes:
        label: the finding, spelt as in the main table.
        x: left edge.
        y: top edge.
        width: in pixels.
        height: in pixels.
    """

    label: str
    x: float
    y: float
    width: float
    height: float


def labels(text: str) -> dict[str, int] | str:
    """Return every finding as a label, or what is wrong with the text."""
    names = [name.strip() for name in text.split("|") if name.strip()]
    wrong = [name for name in names if name not in (*FINDINGS, "No Finding")]
    if wrong or not names:
        return f"unknown finding {wrong[0]!r}" if wrong else "no finding named"
    if "No Finding" in names and len(names) > 1:
        return f"'No Finding' beside a finding: {text!r}"
    findings = {
        name.lower(): POSITIVE if name in names else NEGATIVE for name in FINDINGS
    }
    # All radiographs are older than the disease.
    return findings | {"no_finding": int("No Finding" in names), "covid": NEGATIVE}


def build(root: Path, *, files: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of the table.
        files: look for the radiographs too.

    Returns:
        All radiographs with the 14 findings, no_finding and covid (0: they are older);
        the flag "official_test" where ``test_list.txt`` says so.

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table that lacks a column.
    """
    problems = Problems()
    table = _table(root, problems)
    rows = Rows(NAME, root, problems, files)
    places = _places(rows.listing) if files and not table.has("file") else {}
    official = _official(root)
    paths: dict[str, str] = {}
    for where, get in table.rows():
        name = get("Image Index")
        path = get("file") or places.get(name, f"images/{name}")
        if table.has("file") and paths.setdefault(name, path) != path:
            problems.add("ambiguous", path, f"{where}: {name} is also {paths[name]}")
            continue
        patient = _patient(get("Patient ID"), name)
        if patient is None:
            problems.add(
                "ambiguous",
                path,
                f"{where}: patient {get('Patient ID')!r} and the file name disagree",
            )
            continue
        row = _row(path, patient, get, where, problems)
        if name in official:
            row = row._replace(flags=row.flags | {"official_test"})
        rows.add(row, where)
    if files:
        rows.unlisted(_radiographs(rows.listing, reduced=table.has("file")))
    return rows.built()


def _row(path: str, patient: int, get: Get, where: str, problems: Problems) -> Row:
    """Return a radiograph's row; what its cells do not say is unknown."""
    findings = labels(get("Finding Labels"))
    if isinstance(findings, str):
        problems.add("bad value", path, f"{where}: {findings}")
        findings = {}
    age = age_of(get("Patient Age").rstrip("Yy"), where, problems)
    return Row(
        path,
        f"{NAME}/{patient}",
        NAME,
        site="NIH Clinical Center",
        view=view_of(get("View Position"), where, problems),
        sex=sex_of(get("Patient Gender") or get("Patient Sex")),
        licence=_LICENCE,
        age=age,
        spacing=_spacing(get, where, problems),
        height=_side(get("Height]"), where, problems),
        width=_side(get("OriginalImage[Width"), where, problems),
        labels=findings,
        flags=child(age),
    )


def boxes(root: Path) -> dict[str, list[Box]]:
    """Return the hand-drawn boxes of ``BBox_List_2017.csv`` by radiograph.

    Args:
        root: the folder of the table.

    Returns:
        Image index to its boxes; x, y is the top left corner.

    Raises:
        FileNotFoundError: without the table.
        ValueError: for a table that lacks a column, or a cell that is no number.
    """
    problems = Problems()
    table = read_table(
        root / "BBox_List_2017.csv",
        problems,
        need=("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"),
    )
    by_radiograph: dict[str, list[Box]] = {}
    for where, get in table.rows():
        sides = [
            number(get(column), where, column, problems)
            for column in ("Bbox [x", "y", "w", "h]")
        ]
        label = get("Finding Label").replace("Infiltrate", "Infiltration")
        by_radiograph.setdefault(get("Image Index"), []).append(Box(label, *sides))
    if problems:
        raise ValueError(f"BBox_List_2017.csv: {problems[0]}")
    return by_radiograph


def _table(root: Path, problems: Problems) -> Table:
    for name in _TABLES:
        if (root / name).is_file():
            need = ["Image Index", "Finding Labels", "Patient ID", "Patient Age"]
            need += ["View Position"]
            if name == "metadata.csv":
                need.append("file")
            return read_table(root / name, problems, need=need)
    raise FileNotFoundError(f"{root}: none of {', '.join(_TABLES)} is there")


def _patient(text: str, name: str) -> int | None:
    """Return the patient's number, if table and file name agree on it."""
    match = _FILE.fullmatch(name)
    if match is None or not text.isdecimal() or int(match[1]) != int(text):
        return None
    return int(text)


def _radiographs(listing: Listing, *, reduced: bool) -> list[str]:
    """Return every radiograph of the folder."""
    folders = sorted(listing.names("."))
    if not reduced:
        parts = [f"{name}/images" for name in folders if name.startswith("images_")]
        folders = ["images", *parts]
    return [
        path
        for folder in folders
        for path in listing.files(folder)
        if _FILE.fullmatch(PurePosixPath(path).name)
    ]


def _places(listing: Listing) -> dict[str, str]:
    """Return each radiograph's path by its name, for releases in several folders."""
    return {
        PurePosixPath(path).name: path
        # Reversed, for the last one stays: of two of one name the first listed.
        for path in reversed(_radiographs(listing, reduced=False))
    }


def _official(root: Path) -> frozenset[str]:
    """Return the names in the published test list; empty if it is not there."""
    path = root / "test_list.txt"
    return frozenset(path.read_text().split()) if path.is_file() else frozenset()


def _spacing(get: Get, where: str, problems: Problems) -> float:
    """Return the original's pixel spacing, NaN unless square."""
    x = number(get("OriginalImagePixelSpacing[x"), where, "spacing", problems)
    y = number(get("y]"), where, "spacing", problems)
    return x if x > 0 and math.isclose(x, y, rel_tol=1e-3) else math.nan


def _side(text: str, where: str, problems: Problems) -> int:
    """Return an original radiograph's height or width, 0 if blank."""
    value = number(text, where, "side", problems)
    return 0 if math.isnan(value) else int(value)


def _detect(root: Path) -> bool:
    if any((root / name).is_file() for name in _TABLES[:2]):
        return True
    table = root / "metadata.csv"
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace") as file:
        head = file.readline()
    return "Image Index" in head and head.lstrip("\ufeff").startswith("file")


SOURCE = Source(NAME, build, detect=_detect, tables=_TABLES)
