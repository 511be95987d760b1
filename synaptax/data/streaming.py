"""Examples that stay in memory-mapped files and reach the device a batch at a time.

A :class:`Streamed` stands where an array (N, ...) of examples would: ``x[rows]`` reads
those rows, in NumPy and inside ``jit``, ``scan``, ``vmap`` and ``lax.map`` alike. There
the read is a callback to the host, so that a scanned epoch holds one batch of it at a
time and is the same program, to the bit, as with an array on the device.
"""

from __future__ import annotations

import itertools
import weakref
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from synaptax.checks import is_traced
from synaptax.typing import Array

#: Bytes up to which examples are put on the device whole (:func:`resident`).
FITS = 2**28
_AT_ONCE = 2**24  # bytes read at once where all examples are gone through
_numbers = itertools.count()
_open: weakref.WeakValueDictionary[int, Streamed] = weakref.WeakValueDictionary()


class Streamed:
    """N examples in the rows of one or several mapped arrays; read when asked for.

    A pytree whose one leaf is a number that finds the rows again on the host. So one
    compiled program serves all streams of a shape and dtype, as it does arrays. It is
    of one process; it is not laid along a mesh of devices.

    Attributes:
        shape: (N, ...), of all examples.
        dtype: of the arrays.
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        rows: np.ndarray | None = None,
        array: np.ndarray | None = None,
    ) -> None:
        """Choose rows of arrays.

        Args:
            arrays: each (n_k, ...), of one dtype and one shape but for n_k.
            rows: (N,) rows, in any order; default: all, of all arrays in turn.
            array: (N,) which array each row is of; default: the first.

        Raises:
            ValueError: for arrays that differ, or a row that there is not.
        """
        sizes = np.array([len(one) for one in arrays])
        if len({(one.shape[1:], one.dtype) for one in arrays}) != 1:
            raise ValueError("arrays: expected at least one, of one shape and dtype")
        if rows is None:
            array = np.repeat(np.arange(len(arrays)), sizes)
            rows = np.concatenate([np.arange(size) for size in sizes])
        rows = np.asarray(rows, np.int64)
        array = np.zeros(rows.shape, int) if array is None else np.asarray(array)
        if rows.shape != array.shape or rows.ndim != 1:
            raise ValueError(f"rows: expected (N,), got {rows.shape}")
        if ((rows < 0) | (rows >= sizes[array])).any():
            raise ValueError(f"rows: expected rows of arrays of {sizes.tolist()}")
        self._arrays, self._rows, self._array = tuple(arrays), rows, array
        self.shape = (len(rows), *arrays[0].shape[1:])
        self.dtype = arrays[0].dtype
        self._handle: Any = np.int32(next(_numbers))
        # Weak: the number finds the stream as long as somebody holds it.
        _open[int(self._handle)] = self

    @classmethod
    def join(cls, streams: Sequence[Streamed]) -> Streamed:
        """Return the examples of several streams, one after another."""
        first = np.cumsum([0, *(len(one._arrays) for one in streams)])
        return cls(
            [array for one in streams for array in one._arrays],
            np.concatenate([one._rows for one in streams]),
            np.concatenate(
                [one._array + k for one, k in zip(streams, first, strict=False)]
            ),
        )

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the bytes of all examples."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def take(self, rows: Any) -> Streamed:
        """Return some of the examples, unread."""
        rows = np.arange(len(self))[np.asarray(rows)]
        return Streamed(self._arrays, self._rows[rows], self._array[rows])

    def read(self, rows: Any) -> np.ndarray:
        """Return some of the examples as an array of NumPy.

        Args:
            rows: integers of any shape, in [0, N).
        """
        rows = np.asarray(rows)
        out = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        row, array = self._rows[rows], self._array[rows]
        for number in np.unique(array):
            here = array == number
            out[here] = self._arrays[number][row[here]]
        return out

    def __getitem__(self, rows: Any) -> Any:
        """Return examples: NumPy's of NumPy's rows, JAX's of JAX's."""
        if not isinstance(rows, jax.Array):
            return self.read(np.arange(len(self))[rows])
        out = jax.ShapeDtypeStruct((*rows.shape, *self.shape[1:]), self.dtype)
        # "expand_dims": under vmap one call for all replicas, whose rows have an axis
        # more; the number of the stream is theirs in common.
        return jax.pure_callback(
            _rows_of, out, self._handle, rows, vmap_method="expand_dims"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all examples, read into memory."""
        return self.read(np.arange(len(self))).astype(dtype or self.dtype, copy=False)

    def chunks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield all examples in order, some at a time.

        Args:
            size: examples at once; default: about 16 MiB.
        """
        each = max(self.nbytes // max(len(self), 1), 1)
        size = max(_AT_ONCE // each, 1) if size is None else size
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))


class _Place:
    """The static side of a stream as a pytree: shape and dtype are all that counts."""

    def __init__(self, stream: Streamed) -> None:
        self.stream = stream  # kept, so that the rows can be found while it is in use

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and (
            (self.stream.shape, self.stream.dtype)
            == (other.stream.shape, other.stream.dtype)
        )

    def __hash__(self) -> int:
        return hash((self.stream.shape, self.stream.dtype))


def _unflatten(place: _Place, leaves: Any) -> Streamed:
    stream, (handle,), origin = object.__new__(Streamed), leaves, place.stream
    # To jit places of one shape are equal, and it may bring another stream's: where
    # the number can be read, it says whose rows these are.
    if isinstance(handle, jax.Array) and not (is_traced(handle) or handle.ndim):
        origin = _open[int(handle)]
    stream.__dict__.update(origin.__dict__)
    stream._handle = handle
    stream._origin = origin  # pyright: ignore[reportAttributeAccessIssue]
    return stream


def _flatten(stream: Streamed) -> tuple[tuple[Any], _Place]:
    return (stream._handle,), _Place(getattr(stream, "_origin", stream))


jax.tree_util.register_pytree_node(Streamed, _flatten, _unflatten)


def _rows_of(handle: Any, rows: Any) -> np.ndarray:
    """Read rows on the host; under ``vmap`` both have leading axes, the handle's 1."""
    number = int(np.asarray(handle).reshape(-1)[0])
    return _open[number].read(np.asarray(rows))


def spans(count: int, size: int) -> Iterator[slice]:
    """Yield slices of one size that together are all rows, for one compiled program.

    The last begins early where ``size`` does not divide ``count``.
    """
    size = min(size, count)
    for start in range(0, count, max(size, 1)):
        first = min(start, count - size)
        yield slice(first, first + size)


def resident(examples: Any, *, fits: int = FITS) -> Any:
    """Return a stream's examples as an array on the device, if they are few.

    Args:
        examples: a :class:`Streamed`, or an array, which is returned as it is.
        fits: bytes up to which they are put there.
    """
    if isinstance(examples, Streamed) and examples.nbytes <= fits:
        return jax.numpy.asarray(np.asarray(examples))
    return examples


def fingerprint(data: Any) -> int:
    """Return the CRC-32 of all arrays of a tree, streamed ones read a part at a time.

    It binds a run's checkpoints to its data; it is no proof against intent.
    """
    total = 0
    streamed = lambda leaf: isinstance(leaf, Streamed)
    for leaf in jax.tree.leaves(data, is_leaf=streamed):
        parts = leaf.chunks() if streamed(leaf) else (np.asarray(leaf),)
        for part in parts:
            # Of the bytes in a row, wherever they are cut.
            total = zlib.crc32(part.tobytes(), total)
    return total


def take(examples: Any, rows: Array) -> Any:
    """Return rows of each array or stream of a tree, such as a batch of examples."""
    streamed = lambda leaf: isinstance(leaf, Streamed)
    return jax.tree.map(lambda leaf: leaf[rows], examples, is_leaf=streamed)
