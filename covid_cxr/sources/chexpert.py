"""CheXpert: ``train.csv`` and ``valid.csv``, patients in the path, uncertain labels."""

from __future__ import annotations

import math
import re
from pathlib import Path

from covid_cxr.index import NEGATIVE, POSITIVE, UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Get,
    Rows,
    Source,
    age_of,
    child,
    read_table,
    sex_of,
)
from synaptax.checks import check_choice

NAME = "chexpert"
FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
_TABLES = ("train.csv", "valid.csv")
_PATH = re.compile(r"(?:CheXpert-v1\.0(?:-small)?/)?((?:train|valid)/(patient\d+)/.+)")
POLICY = {"ignore": UNKNOWN, "ones": POSITIVE, "zeros": NEGATIVE}


def build(
    root: Path,
    *,
    files: bool = True,
    uncertain: str | None = None,
    lateral: bool = False,
) -> Built:
    """Build the table.

    Args:
        root: the folder of ``train.csv``.
        files: look for the radiographs too.
        uncertain: what a -1 means: "ignore" (unknown), "ones" or "zeros". There is
            no default: the choice changes the labels of thousands of radiographs.
        lateral: keep lateral radiographs.

    Returns:
        Radiographs with the 14 findings; a blank is unknown; covid is 0: they are
        older.

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table that lacks a column, or ``uncertain`` not chosen.
    """
    check_choice("uncertain", uncertain, tuple(POLICY))
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    tables = [name for name in _TABLES if (root / name).is_file()] or [_TABLES[0]]
    need = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
    for name in tables:
        for where, get in read_table(root / name, problems, need=need).rows():
            match = _PATH.fullmatch(get("Path"))
            if match is None:
                problems.add(
                    "bad value", where, f"Path: {get('Path')!r} has no patient"
                )
                continue
            view = _view(get, where, problems)
            if view == "L" and not lateral:
                problems.add("not a radiograph", match[1], f"{where}: lateral")
                continue
            age = age_of(get("Age"), where, problems)
            age = math.nan if age == 0 else age  # 0 stands for unknown
            flags = child(age)
            if name == "valid.csv":
                flags |= {"official_test"}
            rows.add(
                Row(
                    match[1],
                    f"{NAME}/{match[2]}",
                    NAME,
                    site="Stanford Hospital",
                    view=view,
                    sex=sex_of(get("Sex")),
                    age=age,
                    labels=labels_of(get, where, uncertain, problems),
                    flags=flags,
                ),
                where,
            )
    return rows.built()


def _view(get: Get, where: str, problems: Problems) -> str:
    """Return the view: AP or PA of a frontal radiograph, L of a lateral one."""
    side, position = get("Frontal/Lateral"), get("AP/PA")
    if side == "Lateral":
        return "L"
    views = {"AP": "AP", "PA": "PA", "LL": "L", "RL": "L"}
    if side != "Frontal" or position not in (*views, ""):
        problems.add("bad value", where, f"view: {side!r}, {position!r}")
    return views.get(position, "UNKNOWN")


def labels_of(
    get: Get, where: str, uncertain: str | None, problems: Problems
) -> dict[str, int]:
    """Return the findings; a blank, and a cell that is no label, is unknown."""
    meaning = {"": UNKNOWN, "1": POSITIVE, "0": NEGATIVE}
    meaning["-1"] = POLICY[str(uncertain)]
    findings = {}
    for name in FINDINGS:
        cell = get(name).removesuffix(".0")
        if cell not in meaning:
            problems.add("bad value", where, f"{name}: {get(name)!r} is no label")
        findings[name.lower().replace(" ", "_")] = meaning.get(cell, UNKNOWN)
    return findings | {"covid": NEGATIVE}


def _detect(root: Path) -> bool:
    table = root / "train.csv"
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace") as file:
        return "Frontal/Lateral" in file.readline()


SOURCE = Source(NAME, build, detect=_detect, tables=_TABLES)
