"""Dataclasses out of the tables of a file; a wrong field is named by its place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
_KINDS = {  # annotation to what may stand for it, and its name in a message
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
}


def make(kind: type[_T], given: Any, where: str) -> _T:
    """Return a dataclass of a table, or raise a ValueError naming the wrong field."""
    table = mapping(given, where)
    fields: Any = dataclasses.fields(kind)  # pyright: ignore
    names = {field.name for field in fields}
    unknown = sorted(set(table) - names)
    if unknown:
        raise ValueError(
            f"{where}: unknown field {unknown[0]!r}, expected some of "
            f"{', '.join(sorted(names))}"
        )
    types = {field.name: str(field.type) for field in fields}
    values = {
        name: plain(value, types[name], f"{where}.{name}".removeprefix("the study."))
        for name, value in table.items()
    }
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def plain(value: Any, kind: str, where: str) -> Any:
    """Return a value of a file as its field's type has it, or raise naming the field.

    1 may stand for 1.0, but not "1" for 1, nor "no" for false, nor a text for a list:
    a text is true, and a list of letters.
    """
    if kind.startswith("tuple["):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where}: expected a list, got {value!r}")
        inner = kind.removeprefix("tuple[").split(",")[0]
        return tuple(plain(one, inner, where) for one in value)
    if kind.startswith("Mapping[str, float"):
        table = mapping(value, where)
        return {n: plain(one, "float", f"{where}.{n}") for n, one in table.items()}
    if kind not in _KINDS:
        return value
    types, name = _KINDS[kind]
    fits = isinstance(value, types) and isinstance(value, bool) == (kind == "bool")
    if not fits or (kind == "float" and not math.isfinite(value)):
        raise ValueError(f"{where}: expected {name}, got {value!r}")
    return float(value) if kind == "float" else value


def located(table: dict[str, Any], field: str, folder: Path, where: str) -> None:
    """Make a path in a table relative to a folder, where there is one."""
    if table.get(field):
        table[field] = str(folder / plain(table[field], "str", f"{where}.{field}"))


def mapping(given: Any, where: str) -> Mapping[str, Any]:
    """Return a table of a file, or raise a ValueError naming where it is none."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: expected a table, got {type(given).__name__}")
    return given
