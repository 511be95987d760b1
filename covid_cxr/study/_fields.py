"""Dataclasses out of the tables of a file; a wrong field is named by its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")


def make(kind: type[_T], given: Any, where: str) -> _T:
    """Return a dataclass of a table, or raise a ValueError naming the wrong field."""
    table = mapping(given, where)
    fields: Any = dataclasses.fields(kind)  # pyright: ignore
    known = {field.name for field in fields}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(
            f"{where}: unknown field {unknown[0]!r}, expected some of "
            f"{', '.join(sorted(known))}"
        )
    types = {field.name: str(field.type) for field in fields}
    values = {name: _plain(value, types[name]) for name, value in table.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _plain(value: Any, kind: str) -> Any:
    """Return a value of a file as its field's type has it: 1 may stand for 1.0."""
    if isinstance(value, list):
        return tuple(value)
    if kind.startswith("Mapping[str, float") and isinstance(value, Mapping):
        return {name: _plain(one, "float") for name, one in value.items()}
    if kind == "float" and type(value) is int:
        return float(value)
    return value


def mapping(given: Any, where: str) -> Mapping[str, Any]:
    """Return a table of a file, or raise a ValueError naming where it is none."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: expected a table, got {type(given).__name__}")
    return given
