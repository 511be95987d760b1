"""PadChest: one table of 160,861 rows, 16-bit PNG in folders or flat."""

from __future__ import annotations

import ast
import math
from pathlib import Path

from covid_cxr.index import NEGATIVE, UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Rows,
    Source,
    child,
    doubtful,
    number,
    patient_id,
    read_table,
    sex_of,
)

NAME = "padchest"
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP_SUPINE", "L": "L"}


def labels(text: str) -> dict[str, int] | None:
    """Return pneumonia and no_finding of a cell that writes a Python list.

    Args:
        text: such as ``['normal']``; read as a literal, never run.

    Returns:
        The labels; {} if the list says nothing, None if it is no list of text. Where
        a name may be one of the two misspelt nothing is absent, only unknown.
    """
    if text in ("", "nan"):
        return {}
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return None
    findings = {name.strip().lower() for name in names} - {"", "exclude", "unchanged"}
    if not findings:
        return {}
    ill = any("pneumonia" in name.split() for name in findings)
    absent = UNKNOWN if doubtful(sorted(findings)) else 0
    return {
        "pneumonia": 1 if ill else absent,
        "no_finding": 1 if findings == {"normal"} else 0 if ill else absent,
        "covid": NEGATIVE,
    }


def build(root: Path, *, files: bool = True, lateral: bool = False) -> Built:
    """Build the table.

    Args:
        root: the folder of the table; radiographs in ``<ImageDir>/`` or beside it.
        files: look for the radiographs too.
        lateral: keep lateral radiographs.

    Returns:
        Radiographs with labels pneumonia, no_finding, covid (0: they are older), all
        unknown where the report said nothing; the flag "physician" where a person
        read the report.

    Raises:
        FileNotFoundError: without the table.
        ValueError: for a table that lacks a column.
    """
    problems = Problems()
    need = ("ImageID", "ImageDir", "PatientID", "Projection", "Labels", "MethodLabel")
    table = read_table(root / TABLE, problems, need=need)
    rows = Rows(NAME, root, problems, files)
    for where, get in table.rows():
        name, view = get("ImageID"), _VIEWS.get(get("Projection"))
        if view is None or (view == "L" and not lateral):
            problems.add("not a radiograph", name, f"{where}: {get('Projection')}")
            continue
        if not get("PatientID"):
            problems.add("bad value", where, "PatientID: expected text, got none")
            continue
        values = labels(get("Labels"))
        if values is None:
            problems.add("bad value", where, f"Labels: {get('Labels')[:40]!r}: no list")
        elif not values:
            problems.add("unlabelled", name, where)
        elif UNKNOWN in values.values():
            problems.add(
                "bad value", where, f"Labels: {get('Labels')[:40]!r}: misspelt"
            )
        path = f"{get('ImageDir')}/{name}"
        if files and not rows.listing.has(path) and rows.listing.has(name):
            path = name
        age = _age(get("StudyDate_DICOM"), get("PatientBirth"), where, problems)
        flags = child(age)
        if get("Pediatric") == "PED":
            flags |= {"child"}
        if get("MethodLabel") == "Physician":
            flags |= {"physician"}
        rows.add(
            Row(
                path,
                f"{NAME}/{patient_id(get('PatientID'))}",
                NAME,
                site="Hospital San Juan",
                view=view,
                sex=sex_of(get("PatientSex_DICOM")),
                age=age,
                height=_whole(get("Rows_DICOM")),
                width=_whole(get("Columns_DICOM")),
                labels=values or dict.fromkeys(("pneumonia", "no_finding"), UNKNOWN),
                flags=flags,
            ),
            where,
        )
    return rows.built()


def _age(day: str, birth: str, where: str, problems: Problems) -> float:
    """Return the age at the study, from a date 20140915 and a year 1930.0."""
    birth_year = number(birth, where, "PatientBirth", problems)
    if math.isnan(birth_year) or not day[:4].isdecimal():
        return math.nan
    years = int(day[:4]) - birth_year
    return years if 0 <= years <= 120 else math.nan


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


SOURCE = Source(
    NAME, build, detect=lambda root: (root / TABLE).is_file(), tables=(TABLE,)
)
