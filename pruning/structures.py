"""What is kept or removed as one: an element, a neuron, a block, or N of every M.

A structure turns a leaf's scores into one score per group and a decision per group
back into a mask of the leaf. Kernels are read as Flax lays them out: outputs on the
last axis, inputs on the one before it, spatial axes first.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from synaptax.checks import check_integer, wide_dtype
from synaptax.typing import Array

_REDUCTIONS = {
    "mean": jnp.mean,
    "sum": jnp.sum,
    "l2": lambda split, axis: jnp.sqrt(jnp.sum(split**2, axis=axis)),
    "max": jnp.max,
}


def _unshard_cut_runs(leaf: Array, runs: tuple[int, ...]) -> Array:
    """Gather an explicitly sharded axis whose shards would cut a run in two."""
    sharding = jax.typeof(leaf).sharding
    spec = list(sharding.spec)
    for axis, names in enumerate(spec):
        if names is None:
            continue
        parts = math.prod(
            sharding.mesh.shape[name]
            for name in (names if isinstance(names, tuple) else (names,))
        )
        if (leaf.shape[axis] // runs[axis]) % parts:
            spec[axis] = None
    if spec == list(sharding.spec):
        return leaf
    whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*spec))
    return jax.sharding.reshard(leaf, whole)


@dataclasses.dataclass(frozen=True)
class Structure:
    """Single weights, and the base of every other structure.

    Attributes:
        reduction: how the absolute scores of a group's weights become its score:
            "mean", "sum" (the L1 norm), "l2" or "max". The mean compares groups of
            different sizes fairly; sum and norm favour large ones.
    """

    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Check the reduction."""
        if not isinstance(self.reduction, str) or self.reduction not in _REDUCTIONS:
            raise ValueError(
                "reduction: expected 'mean' or 'sum', 'l2' or 'max', got "
                f"{self.reduction!r}"
            )

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise a ValueError that names the leaf if its shape does not fit."""

    def group_size(self, shape: tuple[int, ...]) -> int:
        """Return the number of weights in each group of a leaf."""
        del shape
        return 1

    def eligible(self, scores: Array, allowed: Array | None) -> Array | None:
        """Return which groups may be kept; None when all may."""
        del scores
        return allowed

    def group_scores(self, scores: Array, allowed: Array | None) -> Array:
        """Return one score per group."""
        del allowed
        return scores

    def expand(self, kept: Array, shape: tuple[int, ...]) -> Array:
        """Return the leaf's mask for a decision per group."""
        del shape
        return kept


@dataclasses.dataclass(frozen=True)
class _Grouped(Structure):
    """Groups that tile a leaf: each leaf axis is divided into equal runs.

    Kept groups have shape ``counts``: the number of runs along each axis.
    """

    def runs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the length of a run along each axis."""
        raise NotImplementedError

    def group_size(self, shape: tuple[int, ...]) -> int:
        return math.prod(self.runs(shape))

    def _split(self, leaf: Array) -> tuple[Array, tuple[int, ...]]:
        """Return the leaf with (count, run) axis pairs, and the run axes."""
        # One axis at a time, last first: a sharded axis may be split but not while
        # its neighbours are.
        runs = self.runs(leaf.shape)
        leaf = _unshard_cut_runs(leaf, runs)
        for axis in reversed(range(len(runs))):
            shape, run = leaf.shape, runs[axis]
            pair = (shape[axis] // run, run)
            leaf = jnp.reshape(leaf, (*shape[:axis], *pair, *shape[axis + 1 :]))
        return leaf, tuple(range(1, 2 * len(runs), 2))

    def eligible(self, scores: Array, allowed: Array | None) -> Array | None:
        del scores
        if allowed is None:
            return None
        split, axes = self._split(allowed)
        return jnp.any(split, axis=axes)

    def group_scores(self, scores: Array, allowed: Array | None) -> Array:
        wide = wide_dtype(scores.dtype, jnp.float32)
        # In float32 at least: the l2 norm squares, and a half overflows from 256 on.
        size = jnp.abs(scores.astype(wide))
        if allowed is not None:
            # What may not be kept adds nothing to the worth of its group.
            size = jnp.where(allowed, size, 0)
        split, axes = self._split(size)
        return _REDUCTIONS[self.reduction](split, axis=axes)

    def expand(self, kept: Array, shape: tuple[int, ...]) -> Array:
        for axis, run in enumerate(self.runs(shape)):
            wide = jnp.expand_dims(kept, axis + 1)
            wide = jnp.broadcast_to(
                wide, (*wide.shape[: axis + 1], run, *wide.shape[axis + 2 :])
            )
            new_shape = (*shape[: axis + 1], *kept.shape[axis + 1 :])
            kept = jnp.reshape(wide, new_shape)
        return kept


@dataclasses.dataclass(frozen=True)
class _Channel(_Grouped):
    """Every weight that shares one index on one axis."""

    def axis(self, ndim: int) -> int:
        """Return the axis whose entries are the groups."""
        raise NotImplementedError

    def runs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        own = self.axis(len(shape))
        return tuple(1 if axis == own else size for axis, size in enumerate(shape))


@dataclasses.dataclass(frozen=True)
class _Neuron(_Channel):
    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if not shape:
            raise ValueError(f"leaf {name}: a scalar has no output axis")

    def axis(self, ndim: int) -> int:
        return ndim - 1


@dataclasses.dataclass(frozen=True)
class _InputChannel(_Channel):
    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(
                f"leaf {name}: input channels need at least 2 axes, got shape {shape}"
            )

    def axis(self, ndim: int) -> int:
        return ndim - 2


@dataclasses.dataclass(frozen=True)
class _Along(_Channel):
    number: int = 0

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if not -len(shape) <= self.number < len(shape):
            raise ValueError(f"leaf {name}: shape {shape} has no axis {self.number}")

    def axis(self, ndim: int) -> int:
        return self.number % ndim


@dataclasses.dataclass(frozen=True)
class _Block(_Grouped):
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"block: expected positive sides, got {self.shape}")

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        trailing = shape[-len(self.shape) :]
        if len(shape) < len(self.shape) or any(
            size % side for size, side in zip(trailing, self.shape, strict=True)
        ):
            raise ValueError(
                f"leaf {name}: blocks of {self.shape} do not tile the shape {shape}"
            )

    def runs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * (len(shape) - len(self.shape)) + self.shape


@dataclasses.dataclass(frozen=True)
class _NOfM(Structure):
    n: int = 2
    m: int = 4
    axis: int = -2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n <= self.m:
            raise ValueError(f"n_m: expected 1 <= n <= m, got n={self.n}, m={self.m}")

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if not -len(shape) <= self.axis < len(shape):
            raise ValueError(f"leaf {name}: shape {shape} has no axis {self.axis}")
        if shape[self.axis] % self.m:
            raise ValueError(
                f"leaf {name}: axis {self.axis} of shape {shape} is not a multiple of "
                f"m={self.m}"
            )

    def eligible(self, scores: Array, allowed: Array | None) -> Array | None:
        """Return the n best of every m consecutive entries, ties by index."""
        from pruning._select import EXCLUDED, ordered_keys

        key = ordered_keys(scores, wide=scores.dtype == jnp.float64)
        if allowed is not None:
            key = jnp.where(allowed, key, jnp.asarray(EXCLUDED, key.dtype))
        axis = self.axis % scores.ndim
        shape = scores.shape
        runs = tuple(self.m if i == axis else 1 for i in range(scores.ndim))
        pair = (shape[axis] // self.m, self.m)
        key = _unshard_cut_runs(key, runs)
        key = jnp.reshape(key, (*shape[:axis], *pair, *shape[axis + 1 :]))
        column = [
            jnp.squeeze(part, axis + 1) for part in jnp.split(key, self.m, axis + 1)
        ]
        flags = []
        for mine, own in enumerate(column):
            # Entries ahead of this one: larger, or equal and earlier.
            ahead = [
                (other >= own if index < mine else other > own)
                for index, other in enumerate(column)
                if index != mine
            ]
            none = jnp.zeros_like(own, dtype=jnp.int32)  # where m = 1
            rank = sum((flag.astype(jnp.int32) for flag in ahead), none)
            flags.append(rank < self.n)
        best = jnp.reshape(jnp.stack(flags, axis + 1), shape)
        return best if allowed is None else best & allowed


def element() -> Structure:
    """Return the structure that keeps or removes single weights.

    Example:
        >>> scores = {"w": jnp.array([[4.0, 1.0]])}
        >>> pruning.select(scores, 0.5, structure=pruning.element())["w"].tolist()
        [[True, False]]
    """
    return Structure()


def neuron(reduction: str = "mean") -> Structure:
    """Return the structure of output units: neurons, or the filters of a convolution.

    Args:
        reduction: how absolute scores become one: "mean", "sum", "l2" or "max".

    Returns:
        Groups along the last axis of each leaf.

    Example:
        >>> scores = {"w": jnp.array([[4.0, 1.0], [3.0, 2.0]])}  # a column a neuron
        >>> pruning.select(scores, 0.5, structure=pruning.neuron())["w"].tolist()
        [[True, False], [True, False]]
    """
    return _Neuron(reduction)


def input_channel(reduction: str = "mean") -> Structure:
    """Return the structure of input units: groups along the axis before the last.

    Args:
        reduction: how absolute scores become one: "mean", "sum", "l2" or "max".

    Example:
        >>> scores = {"w": jnp.array([[4.0, 1.0], [3.0, 0.0]])}  # a row an input
        >>> pruning.select(scores, 0.5, structure=pruning.input_channel())["w"].tolist()
        [[True, True], [False, False]]
    """
    return _InputChannel(reduction)


def along(axis: int, reduction: str = "mean") -> Structure:
    """Return the structure of all weights that share an index on any axis.

    Args:
        axis: such as that of the heads: -2 of Flax's query, key and value kernels
            (inputs, heads, features), -3 of its output kernel.
        reduction: how absolute scores become one: "mean", "sum", "l2" or "max".

    Example:
        >>> scores = {"query": jnp.arange(8.0).reshape(2, 2, 2)}  # two heads
        >>> mask = pruning.select(scores, 0.5, structure=pruning.along(-2, "max"))
        >>> mask["query"][0].tolist()
        [[False, False], [True, True]]
    """
    return _Along(reduction, check_integer("axis", axis))


def block(shape: tuple[int, ...], reduction: str = "mean") -> Structure:
    """Return the structure of blocks on the trailing axes.

    Args:
        shape: the sides of a block; they must divide the leaf's last axes.
        reduction: how absolute scores become one: "mean", "sum", "l2" or "max".

    Raises:
        ValueError: for an empty shape or a side below 1.

    Example:
        >>> scores = {"w": jnp.array([[4.0, 4.0, 1.0, 1.0]])}
        >>> pruning.select(scores, 0.5, structure=pruning.block((1, 2)))["w"].tolist()
        [[True, True, False, False]]
    """
    try:
        sides = tuple(check_integer("block: side", side) for side in shape)
    except TypeError as error:  # no sequence
        raise ValueError(f"block: expected positive sides, got {shape!r}") from error
    return _Block(reduction, sides)


def n_m(n: int, m: int, axis: int = -2) -> Structure:
    """Return N:M sparsity: at most n of every m consecutive weights are kept.

    The pattern binds at once: a density above n/m keeps n/m, a lower one keeps the
    best of what the pattern leaves.

    Args:
        n: weights kept in each run.
        m: length of a run.
        axis: the axis along which runs lie; -2 is a kernel's input axis.

    Raises:
        ValueError: unless 1 <= n <= m.

    Example:
        >>> scores = {"w": jnp.array([[4.0], [1.0], [3.0], [2.0]])}  # along the inputs
        >>> mask = pruning.select(scores, 0.5, structure=pruning.n_m(2, 4))
        >>> mask["w"].ravel().tolist()
        [True, False, True, False]
    """
    n, m = check_integer("n_m: n", n), check_integer("n_m: m", m)
    return _NOfM("mean", n, m, check_integer("axis", axis))
