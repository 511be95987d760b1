"""The table that every source becomes: one row an image, no pixels.

An :class:`Index` is a frozen set of NumPy columns. The order of its rows carries no
meaning: :meth:`Index.digest` and all that is built on it (splits, manifests) come out
the same however the rows are shuffled. Labels keep what is known apart from what is
not: 1 is present, 0 absent, -1 unknown.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synaptax.checks import check_integer

VIEWS = ("PA", "AP", "AP_SUPINE", "L", "UNKNOWN")
POSITIVE, NEGATIVE, UNKNOWN = 1, 0, -1
_TEXT = ("path", "patient", "source", "site", "view", "sex", "licence")
_FLOATS = ("age", "spacing", "date")
_INTEGERS = ("height", "width")
_SINGLE = _TEXT + _FLOATS + _INTEGERS
_KEYED = ("labels", "masks", "flags")
_DTYPES = {"labels": np.dtype(np.int8), "masks": np.dtype(str), "flags": np.dtype(bool)}
_UNSAID = {"labels": UNKNOWN, "masks": "", "flags": False}


class Row(NamedTuple):
    """One image, as a source describes it; what is not said is unknown.

    Attributes:
        path: relative to the source's folder, with ``/``; never leads out of it.
        patient: whose image; the same person has the same text in every source.
        source: the data set's name.
        site: hospital or institution, "" if unknown.
        view: one of :data:`VIEWS`.
        sex: "M", "F" or "".
        licence: the image's own licence, "" if unknown.
        age: in years, NaN if unknown.
        spacing: millimetres a pixel of the stored image, NaN if unknown.
        date: year of the examination with its fraction, NaN if unknown.
        height: rows of the stored or original image as the table says, 0 if unknown.
        width: columns, 0 if unknown.
        labels: name to 1 (present), 0 (absent) or -1 (unknown).
        masks: structure to the mask's path, as ``path``.
        flags: names of what applies, such as "child".
    """

    path: str
    patient: str
    source: str
    site: str = ""
    view: str = "UNKNOWN"
    sex: str = ""
    licence: str = ""
    age: float = float("nan")
    spacing: float = float("nan")
    date: float = float("nan")
    height: int = 0
    width: int = 0
    labels: Mapping[str, int] = {}
    masks: Mapping[str, str] = {}
    flags: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """A frozen table of n images; see :class:`Row` for what the columns mean.

    Attributes:
        path: (n,) text.
        patient: (n,) text.
        source: (n,) text.
        site: (n,) text.
        view: (n,) text.
        sex: (n,) text.
        licence: (n,) text.
        age: (n,) float32.
        spacing: (n,) float32.
        date: (n,) float32.
        height: (n,) int32.
        width: (n,) int32.
        labels: name to (n,) int8.
        masks: structure to (n,) text, "" where there is none.
        flags: name to (n,) bool.
        roots: source to its folder on this machine; no part of the contents.
    """

    path: np.ndarray
    patient: np.ndarray
    source: np.ndarray
    site: np.ndarray
    view: np.ndarray
    sex: np.ndarray
    licence: np.ndarray
    age: np.ndarray
    spacing: np.ndarray
    date: np.ndarray
    height: np.ndarray
    width: np.ndarray
    labels: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    flags: Mapping[str, np.ndarray]
    roots: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, column in self.columns().items():
            if column.shape != self.path.shape or column.ndim != 1:
                raise ValueError(
                    f"{name}: expected shape {self.path.shape}, got {column.shape}"
                )
            column.flags.writeable = False
        for name, column in self.labels.items():
            if column.dtype != np.int8 or not np.isin(column, (-1, 0, 1)).all():
                raise ValueError(f"labels[{name!r}]: expected int8 of -1, 0 and 1")
        for name, fits, domain in (
            ("age", (self.age >= 0) & (self.age <= 150), "0 to 150 years, or NaN"),
            ("spacing", (self.spacing > 0) & (self.spacing < np.inf), "> 0, or NaN"),
            ("height", self.height >= 0, ">= 0"),
            ("width", self.width >= 0, ">= 0"),
        ):
            column = getattr(self, name)
            wrong = column[~(fits | np.isnan(column))]
            if wrong.size:
                raise ValueError(f"{name}: expected {domain}, got {wrong[0]:g}")
        _check_among("view", self.view, VIEWS)
        _check_among("sex", self.sex, ("", "M", "F"))
        for name in ("path", "patient", "source"):
            if (getattr(self, name) == "").any():
                raise ValueError(f"{name}: expected text in every row, got ''")
        for column in (self.path, *self.masks.values()):
            for path in column:
                if path and not inside(str(path)):
                    raise ValueError(f"path: {str(path)!r} leads out of its folder")
        keys, counts = np.unique(self.uid, return_counts=True)
        if (counts > 1).any():
            raise ValueError(
                f"path: {str(keys[counts > 1][0])!r} is in the table twice"
            )

    def __len__(self) -> int:
        return int(self.path.shape[0])

    def __repr__(self) -> str:
        people, sources = np.unique(self.patient), np.unique(self.source)
        return (
            f"Index({len(self)} images of {len(people)} patients from "
            f"{', '.join(map(str, sources)) or 'no source'})"
        )

    @property
    def uid(self) -> np.ndarray:
        """Return (n,) text that tells each image from every other: source/path."""
        return np.char.add(np.char.add(self.source, "/"), self.path)

    def columns(self) -> dict[str, np.ndarray]:
        """Return every column by name, the keyed ones as ``labels/covid``."""
        single = {name: getattr(self, name) for name in _SINGLE}
        keyed = {
            f"{group}/{name}": column
            for group in _KEYED
            for name, column in getattr(self, group).items()
        }
        return single | keyed

    def select(self, rows: Any) -> Index:
        """Return the table of some rows.

        Args:
            rows: a boolean (n,) array, integer positions, or a slice.

        Returns:
            A table with those rows, in that order.

        Raises:
            ValueError: if a boolean array has another length.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "biu"):
                kind = f"{rows.dtype}{rows.shape}"
                raise ValueError(f"rows: expected booleans or positions, got {kind}")
            if rows.size == 0 and rows.dtype != bool:
                rows = rows.astype(np.intp)
            if rows.dtype == bool and rows.shape != self.path.shape:
                raise ValueError(
                    f"rows: expected a boolean array of length {len(self)}, got "
                    f"shape {rows.shape}"
                )
        single: dict[str, Any] = {n: getattr(self, n)[rows] for n in _SINGLE}
        keyed: dict[str, Any] = {
            group: {name: c[rows] for name, c in getattr(self, group).items()}
            for group in _KEYED
        }
        return Index(**single, **keyed, roots=self.roots)

    def label(self, name: str) -> np.ndarray:
        """Return (n,) int8 of a label, -1 throughout if no source knows it."""
        if name in self.labels:
            return self.labels[name]
        return np.full(len(self), UNKNOWN, np.int8)

    def flag(self, name: str) -> np.ndarray:
        """Return (n,) bool of a flag, False throughout if no source sets it."""
        if name in self.flags:
            return self.flags[name]
        return np.zeros(len(self), bool)

    def mask(self, name: str) -> np.ndarray:
        """Return (n,) text, the paths of a structure's masks, "" for none."""
        if name in self.masks:
            return self.masks[name]
        return np.full(len(self), "", str)

    def file(self, row: int) -> Path:
        """Return where an image lies on this machine.

        Args:
            row: which image.

        Returns:
            The file's path.

        Raises:
            ValueError: if the source has no folder here (a phantom's has none), or
                a link leads out of the folder.
        """
        return resolve(self._root(row), str(self.path[row]))

    def mask_file(self, row: int, name: str) -> Path:
        """Return where a mask lies on this machine; as :meth:`file`."""
        path = str(self.mask(name)[row])
        if not path:
            raise ValueError(f"masks: {self.uid[row]} has no {name!r} mask")
        return resolve(self._root(row), path)

    def _root(self, row: int) -> str:
        source = str(self.source[row])
        if source not in self.roots:
            raise ValueError(f"roots: the source {source!r} has no folder")
        return self.roots[source]

    def digest(self) -> str:
        """Return the SHA-256 of the contents, whatever the order of the rows."""
        order = np.argsort(self.uid, kind="stable")
        columns = self.columns()
        digest = hashlib.sha256()
        for name in sorted(columns):
            column = columns[name]
            group = name.split("/")[0]
            silent = group in _KEYED and (column == _UNSAID[group]).all()
            # Splits were frozen before there were dates.
            silent = silent or (name == "date" and np.isnan(column).all())
            if silent:
                continue
            digest.update(f"\x00{name}\x00".encode())
            cells = (str(cell) for cell in column[order].tolist())
            # A file's name need not be UTF-8; its stray bytes count as they are.
            digest.update("\x01".join(cells).encode(errors="surrogatepass"))
        return digest.hexdigest()


def _check_among(name: str, column: np.ndarray, allowed: Sequence[str]) -> None:
    wrong = ~np.isin(column, allowed)
    if wrong.any():
        raise ValueError(
            f"{name}: expected one of {', '.join(map(repr, allowed))}, got "
            f"{str(column[wrong][0])!r}"
        )


def inside(path: str) -> bool:
    """Say whether a relative path stays in its folder, on any system."""
    parts = path.split("/")
    return (
        parts[0] != ""
        and ".." not in parts
        and "\\" not in path
        and "\x00" not in path
        and path[1:2] != ":"
    )


def resolve(root: str, path: str) -> Path:
    """Return ``root/path``; a ValueError if it leads out, be it by a link."""
    # os.path, not pathlib: before Python 3.13 the latter raises RuntimeError for a
    # link that leads to itself. Reading that says what is wrong with it.
    base = Path(os.path.realpath(root))
    full = Path(os.path.realpath(base / path)) if inside(path) else base
    if not inside(path) or not full.is_relative_to(base):
        raise ValueError(f"path: {path!r} leads out of its folder")
    return full


def build(rows: Iterable[Row], *, roots: Mapping[str, str] | None = None) -> Index:
    """Return the table of some rows.

    Args:
        rows: what the source found, in any order.
        roots: source to folder.

    Returns:
        The table; a label, mask or flag that any row names is a column.

    Raises:
        ValueError: naming the column, for a value that it cannot hold, a path that
            leads out of its folder, or an image that is there twice.
    """
    listed = list(rows)
    data: dict[str, Any] = {}
    for row in listed:
        _check_row(row)
    for name in _TEXT:
        data[name] = np.array([getattr(row, name) for row in listed], str)
    for name in _FLOATS:
        data[name] = np.array([getattr(row, name) for row in listed], np.float32)
    for name in _INTEGERS:
        data[name] = np.array([getattr(row, name) for row in listed], np.int32)
    for group in ("labels", "masks"):
        names = sorted({name for row in listed for name in getattr(row, group)})
        data[group] = {
            name: np.array(
                [getattr(row, group).get(name, _UNSAID[group]) for row in listed],
                _DTYPES[group],
            )
            for name in names
        }
    flags = sorted({name for row in listed for name in row.flags})
    data["flags"] = {
        name: np.array([name in row.flags for row in listed], bool) for name in flags
    }
    return Index(**data, roots=dict(roots or {}))


def _check_row(row: Row) -> None:
    """Raise a ValueError for what a column would hold as something else.

    None would be the text "None", one patient for all that have none; 1.5 a label of 1.
    """
    for name in _TEXT:
        if not isinstance(getattr(row, name), str):
            raise ValueError(f"{name}: expected text, got {getattr(row, name)!r}")
    for name in _INTEGERS:
        check_integer(name, getattr(row, name), 0)
    for name, value in row.labels.items():
        if value not in (POSITIVE, NEGATIVE, UNKNOWN):
            raise ValueError(f"labels[{name!r}]: expected -1, 0 or 1, got {value!r}")
    for name, value in row.masks.items():
        if not isinstance(value, str):
            raise ValueError(f"masks[{name!r}]: expected a path, got {value!r}")
    if isinstance(row.flags, str):
        raise ValueError(f"flags: expected a set of names, got {row.flags!r}")


def concatenate(tables: Sequence[Index]) -> Index:
    """Return several tables as one; what a table does not know is unknown there.

    Args:
        tables: at least one.

    Returns:
        All rows, the tables' one after another.

    Raises:
        ValueError: for no table, an image in two of them, or one source with two
            folders.
    """
    if not tables:
        raise ValueError("tables: expected at least one")
    roots: dict[str, str] = {}
    for table in tables:
        for source, root in table.roots.items():
            if roots.setdefault(source, root) != root:
                raise ValueError(f"roots: the source {source!r} has two folders")
    data: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in _SINGLE
    }
    for group in _KEYED:
        names = sorted({name for table in tables for name in getattr(table, group)})
        data[group] = {
            name: np.concatenate([_column(t, group, name) for t in tables])
            for name in names
        }
    return Index(**data, roots=roots)


def _column(table: Index, group: str, name: str) -> np.ndarray:
    columns = getattr(table, group)
    if name in columns:
        return columns[name]
    return np.full(len(table), _UNSAID[group], _DTYPES[group])


def rows(table: Index) -> Iterator[Row]:
    """Yield the rows of a table, as :func:`build` takes them."""
    for i in range(len(table)):
        single = {name: getattr(table, name)[i].item() for name in _SINGLE}
        yield Row(
            **single,
            labels={name: int(c[i]) for name, c in table.labels.items()},
            masks={name: str(c[i]) for name, c in table.masks.items() if c[i]},
            flags=frozenset(name for name, c in table.flags.items() if c[i]),
        )


def order(names: Iterable[str], seed: int) -> np.ndarray:
    """Return positions that put names into a random order fixed by seed and names.

    Args:
        names: different texts.
        seed: another seed, another order.

    Returns:
        (n,) integers; the order of ``names`` makes no difference to who comes first.
    """
    seed = check_integer("seed", seed)
    # Of the name, not of its place: rows added later leave the order of the others.
    keys = [hashlib.sha256(f"{seed}\x00{name}".encode()).digest() for name in names]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.intp)
