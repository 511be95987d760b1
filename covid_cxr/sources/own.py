"""Anybody's data set: a table that says what its columns are called, or class folders.

A table is CSV (commas or semicolons), TSV or Parquet, a row an image, its paths
relative to the set's folder (an absolute one inside it will do, and so will Windows'
backslashes; an ending may be left out). Without a table the folder of an image is its
class. Ids are told apart by :func:`covid_cxr.sources.base.patient_id`, spellings of
labels likewise and in any case; a spelling that nothing names is an unknown label and a
problem, never a negative. A DICOM file is told by its contents, and fills in what the
table does not say of view, sex, age and spacing; ids are never taken from a header.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError
from covid_cxr.images.reader import stored_size
from covid_cxr.index import UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    PICTURES,
    Built,
    Get,
    Rows,
    Source,
    Table,
    age_of,
    child,
    patient_id,
    sex_of,
    view_of,
)
from covid_cxr.sources.formats import read_any

FOLDERS = "folders"  # the source's name of a set whose classes are folders
ENDINGS = (*PICTURES, ".gif", ".dcm", ".dicom")
_VIEWS = {
    "UNKNOWN": "UNKNOWN",
    "AP SUPINE": "AP_SUPINE",
    "AP_SUPINE": "AP_SUPINE",
    **dict.fromkeys(("L", "LL", "RL", "LAT", "LATERAL"), "L"),
}
_SEXES = ("", "m", "f", "male", "female", "o", "other", "u", "unknown")
_CLOCK = r"(?:[T ].*)?"  # a time of day may follow
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"(?P<y>[0-9]{{4}})([-/])(?P<m>[0-9]{{1,2}})\2(?P<d>[0-9]{{1,2}}){_CLOCK}",
        rf"(?P<d>[0-9]{{1,2}})\.(?P<m>[0-9]{{1,2}})\.(?P<y>[0-9]{{4}}){_CLOCK}",
        r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
        r"(?P<y>[0-9]{4})(?:\.0*)?(?P<m>)(?P<d>)",  # ".0" of a table of numbers
    )
)
_YEARS = (1895, 2100)  # the first radiograph; a number out of these is no year
_NOBODY = ("", "nan", "none", "null", "na", "n/a", "<na>", "unknown", "?", "-", "#n/a")


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a table calls its columns.

    One that is called otherwise than here must be there; one that is called as here
    may lack, but for ``image`` and ``patient``.

    Attributes:
        image: file of the image.
        patient: whose image; "" if no two images are of one patient.
        label: what is to be told, unless a label names a column of its own.
        source: hospital, machine or collection that it comes from.
        view: PA, AP, AP supine or lateral; lateral ones are left out.
        age: in years, or as DICOM writes it.
        sex: M, F, male or female.
        mask: file of the lung mask.
        date: of the examination: 2020-03-31, 20200331, 2020/03/31, 31.03.2020 or 2020.
    """

    image: str = "image"
    patient: str = "patient"
    label: str = "label"
    source: str = "source"
    view: str = "view"
    age: str = "age"
    sex: str = "sex"
    mask: str = "mask"
    date: str = "date"

    def __post_init__(self) -> None:
        if not self.image:
            raise ValueError("image: expected the name of a column, got none")
        owners = {}  # a label may be told by another field, such as the sex
        for field in dataclasses.fields(self):
            called = str(getattr(self, field.name)).strip().lower()
            other = owners.setdefault(called or field.name, field.name)
            both = {other, field.name}
            if len(both) > 1 and ("label" not in both or both & {"image", "patient"}):
                raise ValueError(f"{field.name}: {called!r} is the column of {other}")


@dataclasses.dataclass(frozen=True)
class Label:
    """How one label is spelt, in any case.

    Attributes:
        column: where it stands; "" for the label's column, or the name of the folder.
        positive: spellings of present.
        negative: spellings of absent.
        unknown: spellings of not known, beside an empty cell.
    """

    column: str = ""
    positive: tuple[str, ...] = ("1", "true", "yes", "positive")
    negative: tuple[str, ...] = ("0", "false", "no", "negative")
    unknown: tuple[str, ...] = ("-1", "unknown", "nan", "none", "na", "n/a", "?")

    def __post_init__(self) -> None:
        kinds = (self.positive, self.negative, self.unknown)
        for kind in kinds:  # a text would be taken for a list of letters
            if isinstance(kind, str) or not all(isinstance(one, str) for one in kind):
                raise ValueError(f"labels: expected lists of texts, got {kind!r}")
        spelt = [{_spelling(text) for text in kind} for kind in kinds]
        twice = (spelt[0] & spelt[1]) | (spelt[0] & spelt[2]) | (spelt[1] & spelt[2])
        if twice:
            raise ValueError(f"{min(twice)!r} is spelt for two values of one label")

    def value(self, text: str) -> int | None:
        """Return 1, 0 or -1, or None for a spelling that nothing names."""
        spelt = _spelling(text)
        for value, spellings in ((1, self.positive), (0, self.negative)):
            if spelt in map(_spelling, spellings):
                return value
        return UNKNOWN if spelt in ("", *map(_spelling, self.unknown)) else None


class _Entry(NamedTuple):
    """An image before its cells are read: where it is told of, and how to ask."""

    where: str
    path: str
    get: Get


def build(
    root: Path,
    *,
    name: str,
    labels: Mapping[str, Label],
    table: Path | None = None,
    columns: Columns = Columns(),
    patients: str = "",
    files: bool = True,
) -> Built:
    """Build the table.

    Args:
        root: the folder that paths are relative to.
        name: of the set; the source of its images, before "/" and their own if they
            have one.
        labels: what is to be told, by name.
        table: the file; None for a folder a class.
        columns: what it calls its columns.
        patients: without a column, a pattern that finds the patient in an image's
            path: its first group, or all that it matches.
        files: look for the files too.

    Returns:
        The images, and everything that was missing or could not be understood.

    Raises:
        FileNotFoundError: without the table, or an image.
        ValueError: naming a column that is not there, a pattern that is none, or a
            table that cannot be read.
    """
    problems = Problems()
    rows = Rows(name, root, problems, files)
    try:
        pattern = re.compile(patients) if patients else None
    except re.error as error:
        raise ValueError(f"patients: {patients!r} is no pattern: {error}") from error
    if table is None:
        entries, fields = _in_folders(rows, bool(labels)), set()
    else:
        sheet = read_any(table, problems)
        fields = _columns(sheet, columns, labels, pattern, problems)
        entries = _in_table(sheet, columns, rows)
    if pattern is None and "patient" not in fields:
        detail = (
            "every image counts as its own patient, and a study will not split them: "
            "name a column for the patient, or a pattern, see `patients`"
        )
        problems.add("grouping", table.name if table else ".", detail)
    paths: set[str] = set()
    for entry in entries:
        row = _row(entry, rows, columns, fields, labels, pattern)
        paths.add(entry.path)
        if row is not None:
            rows.add(row, entry.where)
            paths |= set(row.masks.values())
    if not paths:
        raise FileNotFoundError(f"{table or root}: no image in it")
    if table is not None and files:
        files_there = set(rows.listing.walk(".", None)) - paths
        rows.unlisted([p for p in sorted(files_there) if shows(root / p)])
    built = rows.built()
    if pattern is not None or "patient" in fields:
        _spelt_alike(built)
    return built


def _spelt_alike(built: Built) -> None:
    """Say which patients' ids differ by case, zeros, dashes or blanks alone."""
    spelt: dict[str, str] = {}
    for patient in sorted(set(built.index.patient.tolist())):
        like = re.sub(r"(?<![\d.])0+(?=\d)", "", patient.casefold())
        first = spelt.setdefault(re.sub(r"[\s_-]", "", like), patient)
        if first != patient:
            detail = (
                f"taken for another person than {first!r}: if not, spell them alike"
            )
            built.problems.add("grouping", patient, detail)


def _columns(
    table: Table,
    columns: Columns,
    labels: Mapping[str, Label],
    pattern: re.Pattern[str] | None,
    problems: Problems,
) -> set[str]:
    """Return the fields that a table has; what it must have and lacks is an error."""
    fields, lacking = set(), []
    own = {field.name for field in dataclasses.fields(columns)} - {"label"}
    optional = own - {"image", "patient"}
    for field in sorted(own):
        called = getattr(columns, field)
        if called and table.has(called):
            fields.add(field)
        elif field == "patient" and (pattern is not None or not called):
            continue
        elif field in optional and called in ("", field):
            lacking.append(field)
        else:
            table.need(called or field)
    for label in labels.values():
        table.need(label.column or columns.label)
    if lacking:
        detail = f"{', '.join(lacking)}: known by a DICOM header at most"
        problems.add("no column", table.name, detail)
    return fields


def _in_table(table: Table, columns: Columns, rows: Rows) -> Iterator[_Entry]:
    root = str(rows.root)
    for where, get in table.rows():
        path = get(columns.image).replace("\\", "/")
        if path.startswith(f"{root}/"):
            path = path.removeprefix(f"{root}/")
        path = str(PurePosixPath(path)) if path else ""
        if not path:
            detail = f"{columns.image}: expected a file's name, got none"
            rows.problems.add("bad value", where, detail)
            continue
        yield _Entry(where, _with_ending(path, rows), get)


def _with_ending(path: str, rows: Rows) -> str:
    """Return a path as the folder has it, where an ending was left out."""
    if not rows.files or rows.listing.has(path):
        return path
    parts = PurePosixPath(path)
    folder = str(parts.parent)
    same = [
        name
        for name in rows.listing.names(folder)
        if name.startswith(f"{parts.name}.") and name.lower().endswith(ENDINGS)
    ]
    return str(parts.parent / same[0]) if len(same) == 1 else path


def _in_folders(rows: Rows, classes: bool) -> Iterator[_Entry]:
    """Yield the images of class folders; other files are named and left out."""
    for path in rows.listing.walk(".", None):
        parts = PurePosixPath(path)
        if (rows.root / path).is_dir():
            rows.problems.add("unlisted", path, "a link to a folder, not followed")
        elif classes and len(parts.parts) < 2:
            rows.problems.add("unlisted", path, "in no folder, so of no class")
        elif shows(rows.root / path):
            yield _Entry(path, path, lambda column, name=parts.parent.name: name)
        else:
            rows.problems.add("unlisted", path, "neither PNG, JPEG, GIF nor DICOM")


def shows(path: Path) -> bool:
    """Say whether a file is an image by its ending, or DICOM by its contents."""
    return path.name.lower().endswith(ENDINGS) or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would never end
            return False
        with path.open("rb") as file:
            return dicom.recognised(file.read(512))
    except OSError:
        return False


def _row(
    entry: _Entry,
    rows: Rows,
    columns: Columns,
    known: set[str],
    labels: Mapping[str, Label],
    pattern: re.Pattern[str] | None,
) -> Row | None:
    """Return an image's row, None where it is of no use and a problem says why."""
    cell = lambda field: entry.get(getattr(columns, field)) if field in known else ""
    where, problems = entry.where, rows.problems
    patient = _patient(entry, cell("patient"), known, pattern, problems)
    view = view_of(cell("view"), where, problems, **_VIEWS)
    if cell("sex").lower() not in _SEXES:
        problems.add("bad value", where, f"sex: {cell('sex')!r} is not known")
    written = dicom.age_in_years(cell("age"))
    age = age_of(cell("age"), where, problems) if math.isnan(written) else written
    height, width, header = _header(rows, entry.path)
    if header is not None:
        view = header.view if view == "UNKNOWN" else view
        age = header.age if math.isnan(age) else age
    if view == "L":
        problems.add("not a radiograph", entry.path, f"{where}: a lateral view")
        return None
    if patient is None:
        return None
    source = " ".join(cell("source").replace("/", " ").split())
    # Nobody has said that no two images of a class folder are of one patient.
    loose = "patient" not in known and bool(columns.patient)
    flags = frozenset({"ungrouped"} if loose else ())
    mask = cell("mask").replace("\\", "/").removeprefix(f"{rows.root}/")
    return Row(
        entry.path,
        f"{rows.source}/{patient}",
        f"{rows.source}/{source}" if source else rows.source,
        view=view,
        sex=sex_of(cell("sex")) or (header.sex if header else ""),
        age=age,
        spacing=header.spacing if header else math.nan,
        date=_date(cell("date"), where, problems),
        height=height,
        width=width,
        labels={n: _label(n, one, entry, columns, rows) for n, one in labels.items()},
        masks={"lungs": mask} if mask else {},
        flags=child(age) | (flags if pattern is None else frozenset()),
    )


def _patient(
    entry: _Entry,
    text: str,
    known: set[str],
    pattern: re.Pattern[str] | None,
    problems: Problems,
) -> str | None:
    """Return whose image it is: by the column, the pattern, or the image alone."""
    if "patient" in known:
        patient = patient_id(text)
        if patient.casefold() not in _NOBODY:
            return patient
        # All that have none would be one patient, on one side of every split.
        detail = f"patient: expected an id, got {text or 'none'!r}"
        problems.add("bad value", entry.where, detail)
        return None
    if pattern is None:
        return entry.path
    match = pattern.search(entry.path)
    if match is None or not (match[1] if pattern.groups else match[0]):
        problems.add("bad value", entry.path, "patients: the pattern finds none")
        return None
    return patient_id(match[1] if pattern.groups else match[0])


def _header(rows: Rows, path: str) -> tuple[int, int, dicom.Attributes | None]:
    """Return height and width of a file, 0 if they cannot be read, and its header."""
    if not rows.files or not rows.listing.has(path):
        return 0, 0, None
    try:
        file = rows.root / path
        if _is_dicom(file):
            attributes = dicom.attributes(file)
            return attributes.height, attributes.width, attributes
        return *stored_size(file), None
    except ImageError:  # said, with its reason, when it is read
        return 0, 0, None


def _label(name: str, label: Label, entry: _Entry, columns: Columns, rows: Rows) -> int:
    text = entry.get(label.column or columns.label)
    value = label.value(text)
    if value is None:
        detail = f"{entry.where}: {name}: {text!r} is a spelling that nothing names"
        rows.problems.add("bad value", entry.path, detail)
    elif value == UNKNOWN:
        rows.problems.add("unlabelled", entry.path, f"{entry.where}: {name}: {text!r}")
    return UNKNOWN if value is None else value


def _date(text: str, where: str, problems: Problems) -> float:
    """Return a date as a year with its fraction, NaN if blank or not understood."""
    for form in _DATES if text else ():
        match = form.fullmatch(text)
        if match is None:
            continue
        year, month, day = (int(match[part] or 1) for part in "ymd")
        try:
            passed = datetime.date(year, month, day).timetuple().tm_yday - 1
        except ValueError:  # there is no 31st of April
            break
        if _YEARS[0] <= year <= _YEARS[1]:
            # 366: the last day of a leap year is still of its year.
            return year + passed / 366
    if text:
        problems.add("bad value", where, f"date: {text!r} is none of its forms")
    return math.nan


def _spelling(text: str) -> str:
    return patient_id(text).casefold()


#: How images and masks of such a set are read; it has no layout of its own.
SOURCE = Source("own", build, detect=lambda root: False, masks=("lungs",))

#: Any folder of images, whatever it is of: nothing is known of them but by headers.
ANY = dataclasses.replace(
    SOURCE, name=FOLDERS, build=partial(build, name=FOLDERS, labels={})
)
