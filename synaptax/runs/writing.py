"""JSON as the runs write it: whole files, finite numbers, the same after reading."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from synaptax.runs.files import replacing


def jsonable(value: Any) -> Any:
    """Return a value as JSON holds it, the same after a round trip.

    Dataclasses, NamedTuples and mappings become objects; arrays, tuples and sets
    become lists; paths become text; non-finite numbers become ``"nan"``, ``"inf"`` or
    ``"-inf"``, which ``float`` reads back.

    Args:
        value: what to write.

    Returns:
        Only dicts with string keys, lists, strings, numbers, booleans and None.

    Raises:
        TypeError: naming the type that JSON cannot hold.

    Example:
        >>> synaptax.runs.jsonable({"loss": np.float32(0.5), "shape": (2, 3)})
        {'loss': 0.5, 'shape': [2, 3]}
    """
    # Before tuples, for a NamedTuple is one.
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return jsonable(value._asdict())  # pyright: ignore
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: jsonable(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        # A set has no order of its own, and equal configs must be equal files.
        return [jsonable(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return jsonable(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: {value!r}")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, so that ``path`` holds the old or the new, whole.

    Example:
        >>> import pathlib
        >>> path = pathlib.Path("one.json")
        >>> synaptax.runs.write_json(path, {"loss": np.float32(0.5)})
        >>> synaptax.runs.read_json(path)
        {'loss': 0.5}
    """
    text = json.dumps(jsonable(value), indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")
