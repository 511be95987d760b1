"""BIMCV-COVID19+ and -: 16-bit PNG beside JSON of DICOM tags, not yet windowed.

A release is a folder with ``participants.tsv``, ``derivatives/labels/*.tsv`` and
``sub-*/ses-*/mod-rx/*.png``. Which release it is, its label table's name tells. The two
share patients under different ids: give both builds the join table.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError, Radiograph, contents, finished
from covid_cxr.images.reader import read
from covid_cxr.index import UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Built,
    Get,
    Rows,
    Source,
    age_of,
    child,
    doubtful,
    read_table,
    sex_of,
)

POSITIVE_NAME, NEGATIVE_NAME = "bimcv_pos", "bimcv_neg"
PARTICIPANTS = "participants.tsv"
LABELS = {
    POSITIVE_NAME: "derivatives/labels/labels_covid19_posi.tsv",
    NEGATIVE_NAME: "derivatives/labels/labels_SARS-cov-2_nega.tsv",
}
JOIN = "listjoin_ok.tsv"
_STEM = re.compile(
    r"(?P<sub>sub-\w+?)_(?P<ses>ses-\w+?)_.*?vp-(?P<view>[a-z]+)_(cr|dx)", re.I
)
_VIEWS = {"pa": "PA", "ap": "AP", "ll": "L", "lateral": "L", "lat": "L", "rl": "L"}
_SPACING, _BITS, _GREY = "00280030", "00280101", "00280004"
_CENTRE, _WIDTH = "00281050", "00281051"
_SHOWN, _SERIES, _TURN = "00185101", "0008103E", "00181140"


def build(
    root: Path,
    *,
    files: bool = True,
    join: Path | None = None,
    lateral: bool = False,
) -> Built:
    """Build the table of one release.

    Args:
        root: the folder of ``participants.tsv``.
        files: must be true: the names of the radiographs are part of the table.
        join: ``listjoin_ok.tsv``: row number, negative id, positive id; default: the
            one in the folder or the folder above, if there.
        lateral: keep lateral radiographs.

    Returns:
        Radiographs with labels covid (by release), pneumonia and no_finding (by report;
        "unchanged" repeats the patient's session before). The view is the JSON's where
        it says one, for the file name's is unreliable. The flag "no_json" marks
        radiographs whose way up of grey is not known, "turned" those that the JSON says
        were rotated.

    Raises:
        FileNotFoundError: without one of the tables.
        ValueError: for a table that lacks a column, or ``files=False``.
    """
    if not files:
        raise ValueError(
            "files: the names of the radiographs are part of this set's table"
        )
    problems = Problems()
    name = _release(root)
    if name is None:
        tables = " or ".join(LABELS.values())
        raise FileNotFoundError(f"{root}: no {tables}")
    people = _participants(root, problems)
    reports = _reports(root / LABELS[name], problems)
    joined = _joined(root, join, name, problems)
    rows = Rows(name, root, problems, files)
    radiographs = [
        p for p in rows.listing.walk(".", (".png",)) if "/mod-rx/" in f"/{p}"
    ]
    claimed = set()
    for path in radiographs:
        fields = _named(path, people, problems)
        if fields is None:
            continue
        claimed.add(fields.person)
        tags = _side_file(root, path, rows, problems)
        view = _view(tags, fields.view, path, problems)
        if view == "L" and not lateral:
            problems.add("not a radiograph", path, "lateral")
            continue
        findings = reports.get((fields.person, fields.session), {})
        if not findings:
            problems.add("unlabelled", path, "no report says what is in it")
        age, sex = people[fields.person]
        row = Row(
            path,
            joined.get(fields.person, f"bimcv/{fields.person}"),
            name,
            view=view,
            sex=sex,
            age=age,
            labels={**findings, "covid": int(name == POSITIVE_NAME)},
            flags=child(age) | _flags(tags, bool(joined)),
        )
        rows.add(row, path)
    for person in sorted(set(people) - claimed):
        problems.add(
            "missing", person, f"{PARTICIPANTS} names it; it has no radiograph"
        )
    return rows.built()


class _Named(NamedTuple):
    """What a radiograph's name says."""

    person: str
    session: str
    view: str


def _named(path: str, people: Mapping[str, Any], problems: Problems) -> _Named | None:
    """Return what a radiograph's name says, or None where that is a problem."""
    match = _STEM.match(PurePosixPath(path).stem)
    if match is None or match["sub"] not in path.split("/"):
        problems.add("bad value", path, "the name does not fit the folder or form")
        return None
    if match["sub"] not in people:
        problems.add("unlisted", path, f"{match['sub']} is not in {PARTICIPANTS}")
        return None
    session = match["ses"].removeprefix("ses-")
    return _Named(match["sub"], session, match["view"].lower())


def _flags(tags: dict[str, Any] | None, joined: bool) -> set[str]:
    """Return what is to be known of a radiograph beside its labels."""
    turned = str(_tag(tags or {}, _TURN, "0")) not in ("0", "0.0", "")
    flags = {"no_json": tags is None, "turned": turned, "matched": joined}
    return {name for name, holds in flags.items() if holds}


def read_radiograph(path: Path) -> Radiograph:
    """Read a 16-bit radiograph with the window and the way up that its JSON says.

    Args:
        path: the PNG; the JSON has the same name.

    Returns:
        The radiograph. Without a JSON, or without a window in it, the full range of the
        stored bits is shown.

    Raises:
        ImageError: naming the file, if the PNG or the JSON cannot be read.
    """
    radiograph = read(path)
    side = path.with_suffix(".json")
    tags = _tags(side) if side.exists() else {}
    # The window is given in stored values.
    values = radiograph.pixels.astype(np.float64) * (2**radiograph.bits - 1)
    try:
        bits = int(_tag(tags, _BITS, radiograph.bits))
        centre, width = _tag(tags, _CENTRE), _tag(tags, _WIDTH)
        if centre is not None and width is not None and float(width) > 0:
            pixels = dicom.linear(values, float(centre), float(width))
            flags = radiograph.flags | {"windowed"}
        else:
            pixels, flags = values / (2**bits - 1), radiograph.flags
    except (TypeError, ValueError, ArithmeticError):
        # "from None": the cause repeats what the tag holds.
        raise ImageError(side, "a tag of window or depth is no number") from None
    # After the window, as in a DICOM file.
    if _tag(tags, _GREY) == "MONOCHROME1":
        pixels, flags = 1 - pixels, flags | {"inverted"}
    return finished(side, pixels, bits, flags)


def labels(text: str) -> dict[str, int] | None:
    """Return pneumonia and no_finding of a label cell.

    Args:
        text: list-like, by commas or tabs inside brackets, with or without quotes.

    Returns:
        The labels, {"unchanged": 1} if it refers to the study before, {} if empty,
        None if it is no list. Beside a name that may be one of the two misspelt
        nothing is absent, only unknown.
    """
    inner = text.strip()
    if inner in ("", "[]", "nan"):
        return {}
    if not (inner.startswith("[") and inner.endswith("]")):
        return None
    parts = re.split(r"[,\t]", inner[1:-1])
    names = {part.strip().strip("'\"").strip().lower() for part in parts} - {""}
    if names == {"unchanged"}:
        return {"unchanged": 1}
    names -= {"unchanged"}
    if not names:
        return {}
    ill = any("pneumonia" in one.split() for one in names)
    absent = UNKNOWN if doubtful(sorted(names)) else 0
    return {
        "pneumonia": 1 if ill else absent,
        "no_finding": 1 if names == {"normal"} else 0 if ill else absent,
    }


def _release(root: Path) -> str | None:
    return next((n for n, table in LABELS.items() if (root / table).is_file()), None)


def _participants(root: Path, problems: Problems) -> dict[str, tuple[float, str]]:
    """Return age and sex by participant; ages are written as lists at times."""
    table = read_table(
        root / PARTICIPANTS, problems, need=("participant",), delimiter="\t"
    )
    people: dict[str, tuple[float, str]] = {}
    for where, get in table.rows():
        name = get("participant")
        one = (age_of(_first(get("age")), where, problems), sex_of(get("gender")))
        if name in people:
            problems.add("duplicate", where, f"participant {name} again")
            continue
        people[name] = one
    return people


def _first(text: str) -> str:
    """Return the first entry of a cell such as "[45, 46]" or "45"."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return str(value[0]) if isinstance(value, list) and value else text


def _reports(path: Path, problems: Problems) -> dict[tuple[str, str], dict[str, int]]:
    """Return labels by (participant, session), "unchanged" resolved in order."""
    table = read_table(
        path, problems, need=("PatientID", "ReportID", "Labels"), delimiter="\t"
    )
    by_session: dict[tuple[str, str], dict[str, int]] = {}
    last: dict[str, dict[str, int]] = {}
    for where, get in sorted(table.rows(), key=lambda row: _session(row[1])):
        one = labels(get("Labels"))
        if one is None:
            problems.add("bad value", where, f"Labels: {get('Labels')[:40]!r}: no list")
            continue
        if UNKNOWN in one.values():
            problems.add(
                "bad value", where, f"Labels: {get('Labels')[:40]!r}: misspelt"
            )
        person, session = _session(get)
        if "unchanged" in one:
            one = last.get(person, {})
            if not one:
                problems.add("unlabelled", where, "'unchanged', and nothing before")
        last[person] = one
        by_session[person, session] = one
    return by_session


def _session(get: Get) -> tuple[str, str]:
    """Return (participant, session) of a report's row, without "ses-"."""
    session = get("ReportID").rpartition("ses-")[2]
    return get("PatientID"), session


def _joined(
    root: Path, join: Path | None, name: str, problems: Problems
) -> dict[str, str]:
    """Return the patients of this release that the other one has too."""
    if join is None:
        there = [p for p in (root / JOIN, root.parent / JOIN) if p.is_file()]
        join = there[0] if there else None
    if join is None:
        problems.add(
            "grouping",
            JOIN,
            "not given: patients of both releases have two names, so the two must "
            "not be on opposite sides of a split",
        )
        return {}
    lines = join.read_text().splitlines()
    cells = [line.split("\t") for line in lines if line.strip()]
    people = {}
    for line, row in enumerate(cells, start=1):
        ids = [cell.strip() for cell in row if cell.strip().startswith("sub-")]
        if len(ids) == 2:
            own = ids[1] if name == POSITIVE_NAME else ids[0]
            people[own] = f"bimcv/{ids[1]}"
        elif line > 1:  # the first line may be a header
            problems.add("bad value", f"{join.name}, line {line}", "expected two ids")
    return people


def _side_file(
    root: Path, path: str, rows: Rows, problems: Problems
) -> dict[str, Any] | None:
    """Return a radiograph's tags, or None if they are missing or broken."""
    side = str(PurePosixPath(path).with_suffix(".json"))
    if not rows.listing.has(side):
        problems.add("missing", side, f"the tags of {path}")
        return None
    try:
        return _tags(root / side)
    except ImageError as error:
        problems.add("corrupt", side, error.reason)
        return None


def _tags(path: Path) -> dict[str, Any]:
    """Return a file's tags by 8-digit key."""
    try:
        tags = json.loads(contents(path))
    except ValueError as error:
        raise ImageError(path, f"not JSON ({type(error).__name__})") from error
    if not isinstance(tags, dict):
        raise ImageError(path, "expected an object of DICOM tags")
    return tags


def _tag(tags: dict[str, Any], key: str, default: Any = None) -> Any:
    """Return a tag's first value, from ``{"Value": [...]}`` or a bare value."""
    value = tags.get(key, default)
    if isinstance(value, dict):
        value = value.get("Value", default)
    if isinstance(value, list):
        value = value[0] if value else default
    return value


def _view(
    tags: dict[str, Any] | None, named: str, path: str, problems: Problems
) -> str:
    """Return the view: the tag's, else the series' description, else the name's."""
    from_name = _VIEWS.get(named, "UNKNOWN")
    position = str(_tag(tags or {}, _SHOWN, "")).strip().lower()
    series = str(_tag(tags or {}, _SERIES, "")).lower()
    view = _VIEWS.get(position)
    if view is None and re.search(r"\blat", series):
        view = "L"
    if view is None:
        return from_name
    if view != from_name:
        problems.add("bad value", path, f"named {named}, but its tags say {view}")
    return view


def _sources() -> tuple[Source, Source]:
    return tuple(  # pyright: ignore[reportReturnType]
        Source(
            name,
            build,
            detect=lambda root, name=name: _release(root) == name,
            tables=(PARTICIPANTS, LABELS[name]),
            read=read_radiograph,
        )
        for name in (POSITIVE_NAME, NEGATIVE_NAME)
    )


SOURCES = _sources()
