"""Sparse networks in files that others read, without pickle.

The container is `safetensors <https://github.com/huggingface/safetensors>`_: 8 bytes
with the length of a JSON header, the header (name -> dtype, shape, place), the data.
Two layouts lie in it:

``dense``
    each leaf under its path, ``Dense_0.kernel``; a mask that drops something beside
    it, boolean, as ``mask.Dense_0.kernel``.
``bitmask``
    that of the compressed-tensors project: of a leaf that lost something the values
    kept (``NAME.compressed``), one bit for each entry, rows padded to bytes, the lowest
    bit first (``NAME.bitmask``), where each row's values begin (``NAME.row_offsets``)
    and ``NAME.shape``; every other leaf is dense. A row is all but the last axis.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import traverse_util

from pruning._transform import like as matched
from pruning._transform import pure
from synaptax.checks import check_boolean
from synaptax.runs.files import FileError, replacing
from synaptax.trees import named_leaves
from synaptax.typing import PyTree

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PARTS = ("compressed", "bitmask", "row_offsets", "shape")
_LONGEST = 100_000_000  # bytes of a header, as the format's own readers allow
_MASK = "mask."


class Saved(NamedTuple):
    """What a file holds.

    Attributes:
        params: nested dicts of NumPy arrays, or a tree like the template.
        mask: boolean tree of the same structure.
    """

    params: PyTree
    mask: PyTree


def save_safetensors(
    path: str | Path, params: PyTree, mask: PyTree | None = None, *, layout: str
) -> None:
    """Write parameters and masks; the file is whole or not there.

    Args:
        path: of the file.
        params: any pytree of arrays, or an NNX model; what the mask drops is written
            as zero.
        mask: boolean tree of the same paths, True = kept. Default: in ``bitmask`` what
            is not zero, in ``dense`` none.
        layout: "dense", which any reader of safetensors takes, or "bitmask"; see
            :mod:`pruning.export`.

    Raises:
        ValueError: for another layout, a mask that does not fit, a dtype that the
            format has not, or paths that cannot be told apart in a file.
        OSError: if the file cannot be written.
    """
    if layout not in ("dense", "bitmask"):
        raise ValueError(f"layout: expected 'dense' or 'bitmask', got {layout!r}")
    params = pure(params)
    if mask is None:
        dropping = lambda w: (np.asarray(w) != 0) | (layout == "dense")
        mask = jax.tree.map(dropping, params)
    mask = matched(params, mask, argument="mask")
    check_boolean(mask)
    tensors: dict[str, np.ndarray] = {}
    for (name, leaf), keep in zip(
        named_leaves(params), jax.tree.leaves(mask), strict=True
    ):
        own = name.replace("/", ".")
        value, keep = np.asarray(leaf), np.asarray(keep)
        if value.dtype not in _NAMES:
            raise ValueError(f"params: leaf {name} is {value.dtype}: not in the format")
        value = np.where(keep, value, np.zeros_like(value))
        if layout == "dense" or keep.all() or not value.ndim:
            new = {own: value}
            if not keep.all():
                new[_MASK + own] = keep
        else:
            new = {f"{own}.{part}": a for part, a in _packed(value, keep).items()}
        if not tensors.keys().isdisjoint(new) or "." in name:
            raise ValueError(f"params: leaf {name} has no name of its own in a file")
        tensors |= new
    _write(Path(path), tensors, {"format": "flax", "layout": layout})


def load_safetensors(path: str | Path, like: PyTree | None = None) -> Saved:
    """Read parameters and masks, of either layout.

    Args:
        path: of the file.
        like: a tree of the same paths and shapes that sets the structure; default:
            nested dicts.

    Returns:
        A :class:`Saved`; all-True masks where the file has none.

    Raises:
        FileError: naming the file and the tensor, if it is damaged or foreign, or does
            not fit ``like``.
        OSError: if the file cannot be read at all.
    """
    path = Path(path)
    tensors = _read(path)
    masks = {
        name.removeprefix(_MASK): tensors[name]
        for name in tensors
        if name.startswith(_MASK)
    }
    dense = {
        name: value for name, value in tensors.items() if not name.startswith(_MASK)
    }
    packed = {
        name.removesuffix(".bitmask") for name in dense if name.endswith(".bitmask")
    }
    for name in packed:
        parts = {part: dense.pop(f"{name}.{part}", None) for part in _PARTS}
        try:
            dense[name], masks[name] = _unpacked(parts)
        except ValueError as error:
            raise FileError(f"{path}: {name}: {error}") from error
    for name, keep in masks.items():
        if name not in dense or keep.dtype != bool or keep.shape != dense[name].shape:
            raise FileError(f"{path}: {name}: its mask does not fit")
    params = _nested(path, dense)
    whole = {name: masks.get(name, np.ones(dense[name].shape, bool)) for name in dense}
    mask = _nested(path, whole)
    if like is None:
        return Saved(params, mask)
    try:
        return Saved(
            matched(like, params, argument="params"),
            matched(like, mask, argument="mask"),
        )
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error


def to_bcoo(params: PyTree, mask: PyTree | None = None) -> PyTree:
    """Return each leaf as a ``jax.experimental.sparse.BCOO``: for study, not speed.

    Args:
        params: any pytree of arrays.
        mask: boolean tree, True = kept; default: what is not zero. A weight that is
            kept at 0 is stored.

    Returns:
        A tree like ``params``; each leaf with ``n_sparse`` equal to its rank. Made on
        the host, not under ``jit``.

    Raises:
        ValueError: if the mask does not fit.
    """
    from jax.experimental import sparse

    mask = jax.tree.map(lambda w: w != 0, params) if mask is None else mask
    check_boolean(mask)

    def leaf(weight: Any, keep: Any) -> Any:
        places = np.argwhere(np.asarray(keep))
        values = jnp.asarray(weight)[tuple(places.T)]
        return sparse.BCOO((values, jnp.asarray(places)), shape=weight.shape)

    return jax.tree.map(leaf, params, matched(params, mask, argument="mask"))


def _packed(value: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Return a leaf as values, bits, beginnings of rows and shape."""
    rows = keep.reshape(-1, keep.shape[-1])
    counts = np.count_nonzero(rows, axis=1)
    return {
        "compressed": value[keep],
        "bitmask": np.packbits(rows, axis=-1, bitorder="little"),
        "row_offsets": np.cumsum(counts) - counts,
        "shape": np.asarray(value.shape, np.int64),
    }


def _unpacked(parts: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return (value, mask) of :func:`_packed`'s parts; a ValueError if they lie."""
    for part in _PARTS:
        if parts[part] is None:
            raise ValueError(f"{part} is missing")
    bits, values, sides = parts["bitmask"], parts["compressed"], parts["shape"]
    if sides.dtype.kind not in "iu" or sides.ndim != 1 or not len(sides):
        raise ValueError("shape is not a list of integers")
    shape = tuple(int(side) for side in sides)
    rows, width = math.prod(shape[:-1]), -(-shape[-1] // 8)
    if min(shape) < 0 or bits.dtype != np.uint8 or bits.size != rows * width:
        raise ValueError(f"the bitmask {bits.dtype}{bits.shape} is not that of {shape}")
    flat = np.unpackbits(bits.reshape(rows, width), axis=-1, bitorder="little")
    keep = flat[:, : shape[-1]].astype(bool)
    counts = np.count_nonzero(keep, axis=1)
    if flat[:, shape[-1] :].any() or values.shape != (int(counts.sum()),):
        raise ValueError(f"{int(flat.sum())} bits for {values.shape} values")
    if not np.array_equal(parts["row_offsets"].ravel(), np.cumsum(counts) - counts):
        raise ValueError("row_offsets do not follow from the bitmask")
    keep = keep.reshape(shape)
    value = np.zeros(shape, values.dtype)
    value[keep] = values
    return value, keep


def _nested(path: Path, flat: Mapping[str, np.ndarray]) -> PyTree:
    for name in flat:
        parts = name.split(".")
        if any(".".join(parts[:depth]) in flat for depth in range(1, len(parts))):
            raise FileError(f"{path}: {name}: its name lies within another's")
    return traverse_util.unflatten_dict(dict(flat), sep=".")


def _write(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    for name, value in tensors.items():
        header[name] = {
            "dtype": _NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [place, place + value.nbytes],
        }
        place += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            little = value.astype(value.dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).tobytes())


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return a file's tensors; every byte of it must belong to one."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or size > min(_LONGEST, len(raw) - 8):
        raise FileError(f"{path}: not a safetensors file, or cut short")
    try:
        header = json.loads(raw[8 : 8 + size], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FileError(f"{path}: the header is no object")
    header.pop("__metadata__", None)
    data, tensors, end = raw[8 + size :], {}, 0
    places = {}
    for name, entry in header.items():
        try:
            dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
            begin, stop = entry["data_offsets"]
            whole = all(type(n) is int and n >= 0 for n in (*shape, begin, stop))
            if not whole or stop - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError("its shape and place do not agree")
            if stop > len(data):
                raise ValueError("it ends behind the file's end")
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{path}: {name}: {error!r}") from error
        places[name] = (begin, stop, dtype, tuple(shape))
    for name, (begin, stop, dtype, shape) in sorted(
        places.items(), key=lambda one: one[1][:2]
    ):
        if begin != end:
            raise FileError(f"{path}: {name}: expected to begin at {end}, not {begin}")
        # Little-endian in the file, the machine's own order in memory.
        value = np.frombuffer(data[begin:stop], dtype.newbyteorder("<")).astype(dtype)
        if dtype.kind == "b" and not np.isin(value.view(np.uint8), (0, 1)).all():
            raise FileError(f"{path}: {name}: booleans other than 0 and 1")
        tensors[name], end = value.reshape(shape), stop
    if end != len(data):
        raise FileError(f"{path}: {len(data) - end} bytes belong to no tensor")
    return {name: tensors[name] for name in header}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)
