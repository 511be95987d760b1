"""What the loaders share: tables read strictly, folders listed once, results typed."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import gzip
import io
import math
import os
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.images.radiograph import Radiograph
from covid_cxr.images.reader import read, read_mask
from covid_cxr.index import Index, Row, build, inside, resolve
from covid_cxr.problems import Problems

PICTURES = (".png", ".jpg", ".jpeg")
Get = Callable[[str], str]
_JUNK = re.compile(
    r"^(\._.*|\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX|DICOMDIR)$", re.I
)
_OLDEST = 120
_END = "\x1e"  # a last row of one's own: where an open quote takes it in, it is told
MAX_TABLE = 2**30  # bytes of an inflated table; MIMIC-CXR's has 60 million


class Built(NamedTuple):
    """What a loader made of a folder.

    Attributes:
        index: the images that can be used.
        problems: everything that was found wrong, or left out, one by one.

    Example:
        >>> import pathlib
        >>> from PIL import Image
        >>> pathlib.Path("kermany/train/NORMAL").mkdir(parents=True, exist_ok=True)
        >>> Image.new("L", (8, 8)).save("kermany/train/NORMAL/IM-0115-0001.jpeg")
        >>> built = covid_cxr.sources.build("kermany")
        >>> len(built.index), built.index.patient.tolist()
        (1, ['kermany/IM-0115'])
    """

    index: Index
    problems: Problems


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set's format.

    Attributes:
        name: the source column's value.
        build: ``(root, *, files=True, **options) -> Built``; pure but for reading the
            folder. With ``files=False`` nothing but tables is looked at.
        detect: whether a folder has this layout.
        tables: the files that make it this source.
        masks: the structures that it has masks of.
        read: ``file -> Radiograph``, where the common reader does not do.
        read_mask: ``file -> (H, W) bool``.
        paired: whether a mask has its image's size.

    Example:
        >>> covid_cxr.sources.by_name("kermany").name
        'kermany'
    """

    name: str
    build: Callable[..., Built]
    detect: Callable[[Path], bool]
    tables: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    read: Callable[[Path], Radiograph] = read
    read_mask: Callable[[Path], np.ndarray] = read_mask
    paired: bool = True


class Table:
    """A CSV or TSV table: every row has every column, all cells are stripped text.

    Attributes:
        name: the file's name, for messages.
        columns: lower-case names, stripped. A name that is there twice is refused
            where it is read, for nothing says which of the two is meant.
    """

    def __init__(
        self, name: str, header: Sequence[str], cells: list[tuple[int, list[str]]]
    ) -> None:
        self.name = name
        self.columns: dict[str, int] = {}
        self._twice: set[str] = set()
        for position, column in enumerate(header):
            column = column.strip().lower()
            if self.columns.setdefault(column, position) != position:
                self._twice.add(column)
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def need(self, *columns: str) -> None:
        """Raise a ValueError that names the columns that are missing."""
        missing = [column for column in columns if column.lower() not in self.columns]
        if missing:
            raise ValueError(
                f"{self.name}: no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(self.columns)}"
            )
        for column in columns:
            self._once(column)

    def _once(self, column: str) -> None:
        if column.lower() in self._twice:
            raise ValueError(f"{self.name}: two columns are called {column!r}")

    def has(self, column: str) -> bool:
        """Say whether there is such a column."""
        return column.lower() in self.columns

    def rows(self) -> Iterator[tuple[str, Get]]:
        """Yield (where, get): "table, line 7", and a cell by its column's name.

        ``get`` returns "" for a column that the table does not have.
        """
        for line, cells in self._cells:

            def get(column: str, cells: list[str] = cells) -> str:
                self._once(column)
                position = self.columns.get(column.lower())
                return "" if position is None else cells[position].strip()

            yield f"{self.name}, line {line}", get


def read_table(
    path: Path, problems: Problems, *, need: Sequence[str], delimiter: str = ","
) -> Table:
    """Read a table; rows that have too few or too many cells are problems.

    Args:
        path: the file, UTF-8 with or without a mark, UTF-16 with one, or Latin-1; one
            whose name ends in ``.gz`` is inflated.
        problems: where bad rows go.
        need: columns that must be there.
        delimiter: between cells; "" for commas, or the semicolons or tabs of a head
            without a comma.

    Returns:
        The table.

    Raises:
        FileNotFoundError: naming the table.
        ValueError: naming the table, if it is empty, no text, or lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table")
    data = path.read_bytes() if path.suffix != ".gz" else _inflated(path)
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if not delimiter:  # Excel writes semicolons where commas are decimal
        head = text.lstrip().partition("\n")[0]
        delimiter = next((m for m in ";\t" if m in head and "," not in head), ",")
    lines = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=delimiter)
    try:
        parsed = [(lines.line_num, cells) for cells in lines if any(cells)]
    except csv.Error as error:
        raise ValueError(
            f"{path.name}, line {lines.line_num}: not a table: {error}"
        ) from error
    if "\x00" in text:
        raise ValueError(f"{path.name}: not a table: it holds zero bytes")
    if parsed.pop()[1] != [_END]:  # all rows behind it are in one cell
        line = parsed[-1][0] + 1 if parsed else 1
        raise ValueError(f"{path.name}, line {line}: a quote is opened and not closed")
    if not parsed:
        raise ValueError(f"{path.name}: the table is empty")
    header, whole = parsed[0][1], []
    while header and not header[-1].strip():  # a comma at the end of the line
        header = header[:-1]
    for line, cells in parsed[1:]:
        spare = cells[len(header) :]
        if len(cells) < len(header) or any(cell.strip() for cell in spare):
            problems.add(
                "bad value",
                f"{path.name}, line {line}",
                f"expected {len(header)} cells, got {len(cells)}",
            )
            continue
        whole.append((line, cells))
    table = Table(path.name, header, whole)
    table.need(*need)
    return table


def _inflated(path: Path) -> bytes:
    """Return what a gzip file holds, up to a bound; a ValueError names the table."""
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_TABLE + 1)
    except (OSError, EOFError, zlib.error) as error:
        kind = type(error).__name__
        raise ValueError(f"{path.name}: not a gzip file ({kind})") from None
    if len(data) > MAX_TABLE:
        raise ValueError(f"{path.name}: inflates to more than {MAX_TABLE} bytes")
    return data


class Listing:
    """The files of a folder, each directory listed once, junk left out.

    Junk is what systems leave in archives: ``._*``, ``.DS_Store``, ``Thumbs.db``,
    ``desktop.ini`` and ``__MACOSX``; and ``DICOMDIR``, a table of contents.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, set[str]] = {}

    def names(self, folder: str) -> set[str]:
        """Return the names of a directory's files; empty if it is none."""
        if folder not in self._known:
            try:
                with os.scandir(self.root / folder) as entries:
                    files = {e.name for e in entries if not _JUNK.match(e.name)}
            except OSError:
                files = set()
            self._known[folder] = files
        return self._known[folder]

    def has(self, path: str) -> bool:
        """Say whether a relative path is a file or link of the folder."""
        parts = PurePosixPath(path)
        return inside(path) and parts.name in self.names(str(parts.parent))

    def files(self, folder: str, suffixes: Sequence[str] = PICTURES) -> list[str]:
        """Return the sorted relative paths of a directory's files by suffix."""
        return [
            f"{folder}/{name}"
            for name in sorted(self.names(folder))
            if PurePosixPath(name).suffix.lower() in suffixes
        ]

    def walk(self, folder: str, suffixes: Sequence[str] | None = PICTURES) -> list[str]:
        """Return the sorted relative paths of all files below a directory by suffix.

        With None, whatever their suffix, and links to folders, which are not followed.
        """
        paths = []
        for base, folders, names in os.walk(self.root / folder):
            folders[:] = sorted(name for name in folders if not _JUNK.match(name))
            linked = [name for name in folders if os.path.islink(Path(base) / name)]
            for name in names + (linked if suffixes is None else []):
                suffix = PurePosixPath(name).suffix.lower()
                listed = suffixes is None or suffix in suffixes
                if listed and not _JUNK.match(name):
                    paths.append((Path(base) / name).relative_to(self.root).as_posix())
        return sorted(paths)


class Rows:
    """Rows under construction: refuses escapes, repeats and absent files by name."""

    def __init__(self, source: str, root: Path, problems: Problems, files: bool):
        self.source, self.root, self.problems, self.files = (
            source,
            root,
            problems,
            files,
        )
        self.listing = Listing(root)
        self._rows: dict[str, Row] = {}
        self._dropped: set[str] = set()

    def add(self, row: Row, where: str) -> None:
        """Take a row, or say why not.

        Args:
            row: its ``path`` must be relative to the root.
            where: "table, line 7", for the message.
        """
        if not self._safe(row.path, where):
            return
        if self.files and not self.listing.has(row.path):
            self.problems.add("missing", row.path, f"{where} names it")
            return
        before = self._rows.get(row.path)
        if before is None and row.path not in self._dropped:
            self._rows[row.path] = row._replace(masks=self._masks(row.masks, where))
        elif before is not None and _same(before, row):
            self.problems.add("duplicate", row.path, f"{where} repeats an earlier row")
        else:
            # Neither row can be trusted, so neither is kept.
            self._rows.pop(row.path, None)
            self._dropped.add(row.path)
            self.problems.add(
                "ambiguous", row.path, f"{where} contradicts an earlier row"
            )

    def _safe(self, path: str, where: str) -> bool:
        """Say whether a path stays in the root; if not, that is a problem."""
        safe = inside(path)
        if safe and self.files:
            try:
                resolve(str(self.root), path)
            except ValueError:
                safe = False
        if not safe:
            self.problems.add("escapes", path or '""', f"{where} leads out")
        return safe

    def _masks(self, masks: Any, where: str) -> dict[str, str]:
        """Return the masks that are there; those that a rule expects may lack."""
        paths = {}
        for name, path in masks.items():
            if not self._safe(path, where):
                continue
            if self.files and not self.listing.has(path):
                self.problems.add("missing", path, f"the {name} mask of {where}")
                continue
            paths[name] = path
        return paths

    def unlisted(self, paths: Sequence[str]) -> None:
        """Say which files no row was made of."""
        for path in paths:
            if path not in self._rows and path not in self._dropped:
                self.problems.add("unlisted", path, "no table names it")

    def built(self) -> Built:
        """Return the table of the rows taken and all problems."""
        sources = {self.source, *(row.source for row in self._rows.values())}
        roots = dict.fromkeys(sources, str(self.root))
        index = build(self._rows.values(), roots=roots)
        return Built(index, self.problems)


def _same(before: Row, row: Row) -> bool:
    """Say whether two rows say the same, NaN equal to NaN; masks follow the path."""
    pairs = zip(before._replace(masks={}), row._replace(masks={}), strict=True)
    return all(a == b or (a != a and b != b) for a, b in pairs)


def number(text: str, where: str, column: str, problems: Problems) -> float:
    """Return a cell as a float, NaN if blank; a cell that is no number is a problem."""
    if text == "" or text.lower() in ("nan", "none", "?"):
        return math.nan
    try:
        return float(text)
    except ValueError:
        problems.add("bad value", where, f"{column}: expected a number, got {text!r}")
        return math.nan


def patient_id(text: str) -> str:
    """Return an id such that spellings of one number are one id.

    White space around it goes and runs of it inside are one blank; digits lose leading
    zeros, and ".0" behind them, which a table of numbers adds: "97.0", "97" and " 097 "
    are "97". Letters keep their case. To join two people costs a little data; to part
    one leaks. An accent is one, however it is composed, and what has no width is none.
    """
    text = unicodedata.normalize("NFKC", text)
    text = "".join(one for one in text if unicodedata.category(one) != "Cf")
    number = re.fullmatch(r"0*(\d+)(?:\.0*)?", text.strip())
    return number[1] if number else " ".join(text.split())


def age_of(text: str, where: str, problems: Problems) -> float:
    """Return an age in years, NaN if blank; outside [0, 120] is a problem, and NaN."""
    years = number(text, where, "age", problems)
    if not math.isnan(years) and not 0 <= years <= _OLDEST:
        problems.add("bad value", where, f"age: expected 0 to 120 years, got {text}")
        return math.nan
    return years


def sex_of(text: str) -> str:
    """Return "M", "F", or "" for anything else, from M, F, male, female."""
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(text.lower(), "")


def view_of(text: str, where: str, problems: Problems, **known: str) -> str:
    """Return one of the views; a view that is not known is a problem, and UNKNOWN.

    Args:
        text: the cell, any case; blank is UNKNOWN.
        where: for the message.
        problems: where it goes.
        **known: what the set calls a view, beside "PA" and "AP".

    Returns:
        One of :data:`covid_cxr.index.VIEWS`.
    """
    views = {"": "UNKNOWN", "PA": "PA", "AP": "AP"} | known
    if text.upper() not in views:
        problems.add("bad value", where, f"view: {text!r} is not known")
    return views.get(text.upper(), "UNKNOWN")


def doubtful(names: Iterable[str]) -> str:
    """Return a name that may be a pneumonia or a normal one misspelt, "" if none is.

    Sets with hundreds of findings are searched for these two alone; a misspelling
    would make the radiograph a negative. "Pneumothorax" and "pneumonitis" are far
    enough from "pneumonia".

    Args:
        names: lower-case findings.
    """
    for name in names:
        words = name.split()
        if "pneumonia" in words or name == "normal":
            continue
        close = difflib.get_close_matches("pneumonia", words, 1, 0.84)
        if (
            close
            or "neumonia" in name
            or difflib.get_close_matches("normal", [name], 1, 0.8)
        ):
            return name
    return ""


def child(age: float) -> frozenset[str]:
    """Return the flag "child" for an age known to be under 18."""
    return frozenset({"child"}) if age < 18 else frozenset()
