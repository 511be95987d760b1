"""CORDA, both eras.

Paper era: ``CORDA_fix.csv`` and ``RX{+,-}-COVID{+,-}/<image_id>.png``; no patients.
Public era: ``corda.csv`` of four hospitals, whose ``path`` is a DICOM file without a
suffix, or a picture ``<W>x<H>/<path>.png``. Patient numbers are per hospital. In one
hospital every radiograph is positive: the site tells the label.
"""

from __future__ import annotations

import re
from pathlib import Path

from covid_cxr.index import UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Rows,
    Source,
    Table,
    age_of,
    child,
    patient_id,
    read_table,
    sex_of,
)

NAME = "corda"
PAPER, PUBLIC = "CORDA_fix.csv", "corda.csv"
_SIGN = {1: "+", 0: "-"}


def build(root: Path, *, files: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of ``CORDA_fix.csv`` or ``corda.csv``.
        files: look for the radiographs too.

    Returns:
        Radiographs with labels covid (swab) and rx (the radiologist's reading).

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table that lacks a column, or a folder with both.
    """
    problems = Problems()
    there = [name for name in (PAPER, PUBLIC) if (root / name).is_file()]
    if not there:
        raise FileNotFoundError(f"{root}: neither {PAPER} nor {PUBLIC} is there")
    if len(there) > 1:
        raise ValueError(f"{root.name}: both {PAPER} and {PUBLIC} are there")
    rows = Rows(NAME, root, problems, files)
    if there[0] == PAPER:
        need = ("image_id", "covid", "rx")
        _paper(read_table(root / PAPER, problems, need=need), rows)
    else:
        need = ("patient_id", "covid", "rx", "path", "institution")
        _public(read_table(root / PUBLIC, problems, need=need), rows)
    return rows.built()


def _paper(table: Table, rows: Rows) -> None:
    """Add the rows of the paper's era."""
    rows.problems.add(
        "grouping",
        PAPER,
        "the table names no patients: every radiograph counts as its own patient, "
        "though "
        "some have several",
    )
    for where, get in table.rows():
        covid = _label(get("covid"), "covid", where, rows.problems)
        rx = _label(get("rx"), "rx", where, rows.problems)
        if UNKNOWN in (covid, rx):
            rows.problems.add("unlabelled", where, "so its folder is not known")
            continue
        name = get("image_id")
        path = f"RX{_SIGN[rx]}-COVID{_SIGN[covid]}/{name}.png"
        row = Row(
            path,
            f"{NAME}/{name}",
            NAME,
            labels={"covid": covid, "rx": rx},
            flags=frozenset({"ungrouped"}),
        )
        rows.add(row, where)
    for folder in (f"RX{rx}-COVID{covid}" for rx in "+-" for covid in "+-"):
        rows.unlisted(rows.listing.files(folder))


def _public(table: Table, rows: Rows) -> None:
    """Add the rows of the public era."""
    renders = sorted(
        name for name in rows.listing.names(".") if re.fullmatch(r"\d+x\d+", name)
    )
    for where, get in table.rows():
        site, patient = get("institution"), get("patient_id")
        if not site or not patient:
            rows.problems.add("bad value", where, "no institution or no patient_id")
            continue
        age = age_of(get("age"), where, rows.problems)
        rows.add(
            Row(
                _place(rows, renders, get("path")),
                f"{NAME}/{site.lower()}/{patient_id(patient)}",
                NAME,
                site=site.lower(),
                sex=sex_of(get("sex")),
                age=age,
                labels={
                    "covid": _label(get("covid"), "covid", where, rows.problems),
                    "rx": _label(get("rx"), "rx", where, rows.problems),
                },
                flags=child(age),
            ),
            where,
        )


def _place(rows: Rows, renders: list[str], path: str) -> str:
    """Return where a radiograph lies: the DICOM, or else its largest picture."""
    if not rows.files or rows.listing.has(path):
        return path
    pictures = [f"{render}/{path}.png" for render in renders]
    there = [picture for picture in pictures if rows.listing.has(picture)]
    largest = sorted(there, key=lambda picture: int(picture.split("x")[0]))
    return largest[-1] if largest else path


def _label(text: str, column: str, where: str, problems: Problems) -> int:
    """Return a label of 0, 1 or blank."""
    values = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, "": UNKNOWN, "nan": UNKNOWN}
    if text.lower() not in values:
        problems.add("bad value", where, f"{column}: {text!r} is no label")
    return values.get(text.lower(), UNKNOWN)


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: (root / PAPER).is_file() or (root / PUBLIC).is_file(),
    tables=(PAPER, PUBLIC),
)
