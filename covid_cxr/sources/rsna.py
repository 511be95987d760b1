"""RSNA Pneumonia Detection Challenge: DICOM radiographs, and whose they are.

``patientId`` is an image id: 26,684 ids are radiographs of some 11,400 people of NIH
ChestX-ray14. With a match table (id to NIH file name) radiographs are grouped by the
NIH patient, under the same name as the NIH loader's; without one each radiograph is its
own patient, which the problems say.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError
from covid_cxr.index import NEGATIVE, POSITIVE, UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Rows,
    Source,
    child,
    number,
    read_table,
)
from synaptax.checks import check_choice

NAME = "rsna"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
FOLDER = "stage_2_train_images"
MATCHES = ("rsna_nih_match.csv", "pneumonia-challenge-dataset-mappings_2018.json")
_CLASS = {
    "Normal": 0,
    "No Lung Opacity / Not Normal": 0,
    "Lung Opacity": 1,
}
_SIDE = 1024
_KEYS = ("subset_img_id", "patientid", "rsna_id")
_VALUES = ("img_id", "nih", "image index")


class Box(NamedTuple):
    """An opacity's box in pixels of the 1024-pixel radiograph; x, y is the top left."""

    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass
class _Entry:
    """What the label table says of one id."""

    targets: set[str] = dataclasses.field(default_factory=set)
    boxes: list[Box] = dataclasses.field(default_factory=list)


def build(
    root: Path,
    *,
    files: bool = True,
    match: Path | None = None,
    negatives: str = "all",
    headers: bool = True,
) -> Built:
    """Build the table.

    Args:
        root: the folder of ``stage_2_train_labels.csv``.
        files: look for the radiographs too.
        match: the table that matches ids to NIH files, CSV or JSON; default: one of
            :data:`MATCHES` in the folder, if there.
        negatives: "all", or "normal" to leave the pneumonia label of "No Lung
            Opacity / Not Normal" radiographs unknown.
        headers: read view, sex, age and spacing from the radiographs' headers.

    Returns:
        A row a radiograph, with labels pneumonia, no_finding, covid (0: they are
        older).

    Raises:
        FileNotFoundError: without the label table, or the match table asked for.
        ValueError: for a table that lacks a column, or an unknown ``negatives``.
    """
    check_choice("negatives", negatives, ("all", "normal"))
    problems = Problems()
    radiographs = _entries(root, problems)
    classes = _classes(root, problems)
    people = _people(root, match, problems)
    rows = Rows(NAME, root, problems, files)
    for name, radiograph in radiographs.items():
        path = f"{FOLDER}/{name}.dcm"
        if len(radiograph.targets) != 1 or (
            "0" in radiograph.targets and radiograph.boxes
        ):
            problems.add("ambiguous", path, "targets 0 and 1, or a box without opacity")
            continue
        target = int(next(iter(radiograph.targets)))
        kind = classes.get(name, "")
        if kind and _CLASS.get(kind, target) != target:
            problems.add("ambiguous", path, f"target {target}, but class {kind!r}")
            continue
        header = _Said()
        if headers and files and rows.listing.has(path):
            header = _header(root, path, problems)
            if header is None:
                continue
        unsure = negatives == "normal" and kind == "No Lung Opacity / Not Normal"
        row = _row(path, UNKNOWN if unsure else target, kind, header)
        if name in people:
            row = row._replace(patient=people[name], flags=row.flags | {"matched"})
        else:
            row = row._replace(flags=row.flags | {"ungrouped"})
        rows.add(row, name)
    if files:
        rows.unlisted(rows.listing.files(FOLDER, (".dcm",)))
    return rows.built()


class _Said(NamedTuple):
    """What a header says, for radiographs that are not opened."""

    view: str = "UNKNOWN"
    sex: str = ""
    age: float = math.nan
    spacing: float = math.nan


def _row(path: str, pneumonia: int, kind: str, said: _Said) -> Row:
    """Return a radiograph's row, with the radiograph for its patient."""
    normal = {"": UNKNOWN, "Normal": POSITIVE}.get(kind, NEGATIVE)
    return Row(
        path,
        f"{NAME}/{Path(path).stem}",
        NAME,
        site="NIH Clinical Center",
        view=said.view,
        sex=said.sex,
        age=said.age,
        spacing=said.spacing,
        height=_SIDE,
        width=_SIDE,
        labels={"pneumonia": pneumonia, "no_finding": normal, "covid": NEGATIVE},
        flags=child(said.age),
    )


def boxes(root: Path) -> dict[str, tuple[Box, ...]]:
    """Return the opacities' boxes by radiograph, for radiographs with any.

    Args:
        root: the folder of ``stage_2_train_labels.csv``.

    Returns:
        The radiograph's path to its boxes.

    Raises:
        FileNotFoundError: without the table.
        ValueError: for a table that lacks a column.
    """
    return {
        f"{FOLDER}/{name}.dcm": tuple(radiograph.boxes)
        for name, radiograph in _entries(root, Problems()).items()
        if radiograph.boxes
    }


def _entries(root: Path, problems: Problems) -> dict[str, _Entry]:
    """Return the label table by id: one line a box, so ids repeat."""
    table = read_table(
        root / LABELS,
        problems,
        need=("patientId", "x", "y", "width", "height", "Target"),
    )
    radiographs: dict[str, _Entry] = {}
    for where, get in table.rows():
        name, target = get("patientId"), get("Target")
        if not name or target not in ("0", "1"):
            problems.add("bad value", where, f"id {name!r}, Target {target!r}")
            continue
        radiograph = radiographs.setdefault(name, _Entry())
        radiograph.targets.add(target)
        sides = [
            number(get(column), where, column, problems)
            for column in ("x", "y", "width", "height")
        ]
        if all(math.isnan(side) for side in sides):
            if target == "1":
                problems.add("bad value", where, "Target 1 without a box")
            continue
        box = Box(*sides)
        if not _on_radiograph(box):
            problems.add(
                "bad value", where, f"the box {tuple(box)} leaves the radiograph"
            )
        elif box in radiograph.boxes:
            problems.add("duplicate", where, f"the same box of {name} again")
        else:
            radiograph.boxes.append(box)
    return radiographs


def _on_radiograph(box: Box) -> bool:
    """Say whether a box lies on the radiograph; false if a side is NaN."""
    return (
        box.x >= 0
        and box.y >= 0
        and box.width > 0
        and box.height > 0
        and box.x + box.width <= _SIDE
        and box.y + box.height <= _SIDE
    )


def _classes(root: Path, problems: Problems) -> dict[str, str]:
    """Return each id's class; ids repeat once a box. Empty without the table."""
    if not (root / CLASSES).is_file():
        problems.add("missing", CLASSES, "so 'Normal' cannot be told from 'not normal'")
        return {}
    table = read_table(root / CLASSES, problems, need=("patientId", "class"))
    classes: dict[str, str] = {}
    for where, get in table.rows():
        name, kind = get("patientId"), get("class")
        if kind not in _CLASS:
            problems.add("bad value", where, f"class: {kind!r} is not known")
        elif classes.setdefault(name, kind) != kind:
            problems.add("ambiguous", where, f"{name}: {kind!r} or {classes[name]!r}")
    return classes


def _people(root: Path, match: Path | None, problems: Problems) -> dict[str, str]:
    """Return each id's patient, "nih/N", as far as a match table tells."""
    if match is None:
        there = [root / name for name in MATCHES if (root / name).is_file()]
        match = there[0] if there else None
    if match is None:
        problems.add(
            "grouping",
            LABELS,
            "patientId is an image id and no NIH match table was given: every "
            "radiograph "
            "counts as its own patient, though most have siblings",
        )
        return {}
    people = {}
    for name, radiograph in _pairs(match, problems):
        hit = re.match(r"(\d{8})_\d{3}", radiograph)
        if hit is None:
            problems.add(
                "bad value", match.name, f"{name}: {radiograph!r} is no NIH file"
            )
        else:
            people[name] = f"nih/{int(hit[1])}"
    return people


def _pairs(match: Path, problems: Problems) -> list[tuple[str, str]]:
    """Return (id, NIH file) pairs of a JSON or CSV match table."""
    if match.suffix.lower() == ".json":
        try:
            listed = json.loads(match.read_text())
            return [(str(e["subset_img_id"]), str(e["img_id"])) for e in listed]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{match.name}: expected a list of objects with subset_img_id and "
                f"img_id ({type(error).__name__})"
            ) from error
    table = read_table(match, problems, need=())
    key = next((column for column in _KEYS if table.has(column)), None)
    value = next((column for column in _VALUES if table.has(column)), None)
    if key is None or value is None:
        raise ValueError(
            f"{match.name}: expected a column of {', '.join(_KEYS)} and one of "
            f"{', '.join(_VALUES)}"
        )
    return [(get(key), get(value)) for _, get in table.rows()]


def _header(root: Path, path: str, problems: Problems) -> _Said | None:
    """Return what a radiograph's header says, or None if it is no radiograph."""
    try:
        attributes = dicom.attributes(root / path)
    except ImageError as error:
        problems.add("corrupt", path, error.reason)
        return None
    return _Said(attributes.view, attributes.sex, attributes.age, attributes.spacing)


SOURCE = Source(
    NAME, build, detect=lambda root: (root / LABELS).is_file(), tables=(LABELS, CLASSES)
)
