"""One reader for each kind of file; whatever is wrong is a FileError that names it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import types
import typing
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synaptax.runs.files import FileError

_LONGEST = 2**34  # bytes of an array; a header may claim anything
_LARGEST = int(np.finfo(np.float64).max)  # JSON's integers have no bound


def read_json(path: Path) -> Any:
    """Read a JSON file whose numbers are finite; a FileError names it if it is not.

    Example:
        >>> import pathlib
        >>> synaptax.runs.write_json(pathlib.Path("one.json"), {"seeds": [0, 1]})
        >>> synaptax.runs.read_json(pathlib.Path("one.json"))
        {'seeds': [0, 1]}
    """
    try:
        return parsed(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not JSON: {error}") from error


def parsed(text: bytes | str) -> Any:
    """Return what JSON text holds; a ValueError for a number that is not finite."""
    return json.loads(
        text, parse_constant=_refused, parse_float=_finite, parse_int=_bounded
    )


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _bounded(text: str) -> int:
    number = int(text)
    return number if abs(number) <= _LARGEST else _refused(f"{text[:20]}...")


def read_arrays(path: Path, only: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file of arrays, never of pickled objects.

    Args:
        path: the file.
        only: the arrays to read; default: all.

    Raises:
        FileError: naming the file and the array that is damaged.
        OSError: if the file cannot be read at all.

    Example:
        >>> import pathlib
        >>> np.savez("arrays.npz", loss=np.ones(2))
        >>> synaptax.runs.read_arrays(pathlib.Path("arrays.npz"))["loss"].tolist()
        [1.0, 1.0]
    """
    raw, name = path.read_bytes(), "the archive"
    try:
        arrays = {}
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for info in archive.infolist():
                name = info.filename
                if only and name.removesuffix(".npy") not in only:
                    continue
                if info.file_size > _LONGEST or name.removesuffix(".npy") in arrays:
                    raise ValueError("too large, or there twice")
                content = io.BytesIO(archive.read(info))  # checks its CRC
                arrays[name.removesuffix(".npy")] = _array(content)
    # What a damaged archive raises, NotImplementedError for an unknown compression.
    except (
        *(ValueError, KeyError, EOFError, OSError, RuntimeError, OverflowError),
        *(zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError, TypeError),
        *(AttributeError, IndexError, RecursionError),
    ) as error:
        raise FileError(f"{path}: {name}: not whole: {error}") from error
    return arrays


def _array(content: io.BytesIO) -> np.ndarray:
    """Return the array of a member, which must hold it and no more."""
    version = np.lib.format.read_magic(content)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = readers[version](content)
    size = len(content.getvalue()) - content.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{shape} of {dtype} in {size} bytes")
    content.seek(0)
    return np.lib.format.read_array(content, allow_pickle=False)


def check_array(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, like: Any
) -> np.ndarray:
    """Return an array of a file.

    Args:
        path: of the file, for the message.
        arrays: its arrays.
        name: of the array.
        like: has the shape and dtype it must have; without a dtype only its name.

    Raises:
        FileError: naming file and array, if it is absent, of another shape or dtype,
            or not finite.
    """
    if name not in arrays:
        raise FileError(f"{path}: {name}: missing")
    array = arrays[name]
    kind = f"{array.dtype}{array.shape}"
    if hasattr(like, "dtype"):
        expected = f"{like.dtype}{tuple(like.shape)}"
        if kind != expected:
            raise FileError(f"{path}: {name}: is {kind}, expected {expected}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FileError(f"{path}: {name}: has numbers that are not finite")
    return array


def typed(path: Path, fields: Any, kind: Any) -> Any:
    """Return a NamedTuple or dataclass of the fields that a file holds.

    Args:
        path: of the file, for the message.
        fields: names to values, as JSON gives them.
        kind: the class; its annotations say what each field must be.

    Raises:
        FileError: naming file and field, for one that is missing, unknown or of
            another type.
    """
    hints = typing.get_type_hints(kind)
    names = getattr(kind, "_fields", None) or tuple(kind.__dataclass_fields__)
    if not isinstance(fields, Mapping):
        raise FileError(f"{path}: expected named fields, got {_shown(fields)}")
    for name in fields:
        if name not in names:
            raise FileError(f"{path}: field {name}: unknown")
    values = {}
    for name, value in fields.items():
        try:
            values[name] = _as(value, hints[name])
        except ValueError as error:
            raise FileError(f"{path}: field {name}: {error}") from error
    optional = getattr(kind, "_field_defaults", None)
    if optional is None:
        optional = [
            name
            for name, field in kind.__dataclass_fields__.items()
            if field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        ]
    missing = [name for name in names if name not in values and name not in optional]
    if missing:
        raise FileError(f"{path}: field {missing[0]}: missing")
    return kind(**values)


def _as(value: Any, hint: Any) -> Any:
    """Return a value of JSON as its annotation has it; a ValueError if it is not."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is typing.Annotated:
        return _as(value, inner[0])
    if origin in (typing.Union, types.UnionType):
        for one in inner:
            try:
                return _as(value, one)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if value in inner:
            return value
    elif origin is tuple and isinstance(value, list | tuple):
        if inner[1:] == (...,):
            return tuple(_as(one, inner[0]) for one in value)
        if len(inner) == len(value):
            return tuple(map(_as, value, inner))
    elif origin is list and isinstance(value, list):
        return [_as(one, inner[0]) for one in value]
    elif origin is dict and isinstance(value, dict):
        return {_as(k, inner[0]): _as(v, inner[1]) for k, v in value.items()}
    elif hint is float:
        if type(value) is float or (type(value) is int and abs(value) <= _LARGEST):
            return value
    elif hint in (int, str, bool, type(None)):
        # By type and not isinstance: True is no number here. Integers are those of
        # int64, as arrays of them are.
        if type(value) is hint and not (hint is int and abs(value) >= 2**63):
            return value
    elif hint is Path:
        if isinstance(value, str):
            return Path(value)
    elif hasattr(hint, "__dataclass_fields__") or hasattr(hint, "_fields"):
        return typed(Path(), value, hint)
    raise ValueError(f"expected {getattr(hint, '__name__', hint)}, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
