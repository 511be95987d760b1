"""Boolean mask trees: selection, application, counting and algebra.

A mask has exactly the structure of the parameters and boolean leaves: True is kept.
A leaf that is not prunable is all True. Nothing here needs an optimizer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pruning import _select
from pruning.selection import (
    SelectionInfo,
    collapsed,
    magnitude_mask,
    select,
    select_with_info,
)
from pruning.structures import (
    Structure,
    block,
    element,
    input_channel,
    n_m,
    neuron,
)
from synaptax.checks import check_boolean, is_traced, wide_dtype
from synaptax.trees import (
    Prunable,
    check_same_structure,
    map_named,
    named_leaves,
    weights_only,
)
from synaptax.typing import Array, PyTree

__all__ = [
    "Counts",
    "Flips",
    "LeafCount",
    "SelectionInfo",
    "Structure",
    "apply_mask",
    "block",
    "collapsed",
    "count",
    "density",
    "element",
    "flips",
    "full_mask",
    "input_channel",
    "intersect",
    "magnitude_mask",
    "n_m",
    "neuron",
    "select",
    "select_with_info",
    "threshold_mask",
    "union",
]


class LeafCount(NamedTuple):
    """How many weights one leaf keeps.

    Attributes:
        kept: integer; int32 array under tracing.
        total: integer, always static.
    """

    kept: Any
    total: int


class Counts(NamedTuple):
    """How many weights a mask keeps, in all and leaf by leaf.

    Attributes:
        kept: integer over all counted leaves; int32 array under tracing.
        total: number of weights in the counted leaves.
        leaves: path to :class:`LeafCount`, in flattening order.
    """

    kept: Any
    total: int
    leaves: dict[str, LeafCount]


class Flips(NamedTuple):
    """What changed between two masks, as integers (int32 arrays under tracing).

    Attributes:
        pruned: weights kept before and dropped after.
        regrown: weights dropped before and kept after.
    """

    pruned: Any
    regrown: Any


def full_mask(params: PyTree) -> PyTree:
    """Return the mask that keeps every weight.

    Args:
        params: any pytree of arrays or of :class:`jax.ShapeDtypeStruct`.

    Returns:
        A tree like ``params`` with boolean leaves, all True, sharded like them.
    """
    return jax.tree.map(lambda leaf: jnp.ones_like(leaf, dtype=bool), params)


def apply_mask(params: PyTree, mask: PyTree) -> PyTree:
    """Return ``params`` with every dropped weight set to zero.

    Args:
        params: any pytree of arrays.
        mask: boolean tree of the same structure and shapes, True = kept.

    Returns:
        A tree like ``params``, same dtypes. A NaN or inf under a False becomes 0.

    Raises:
        ValueError: if the structures, shapes or the mask's dtypes do not fit.
    """
    check_same_structure(params, mask, argument="mask")
    check_boolean(mask)
    return jax.tree.map(lambda w, m: jnp.where(m, w, jnp.zeros_like(w)), params, mask)


def count(mask: PyTree, *, prunable: Prunable = weights_only) -> Counts:
    """Count the weights a mask keeps, in integers.

    Args:
        mask: boolean tree, True = kept.
        prunable: which leaves to count, a predicate on (path, leaf). For all
            parameters, biases included, pass ``lambda name, leaf: True``.

    Returns:
        Python integers for concrete masks; under tracing the kept numbers are int32.

    Raises:
        ValueError: if a leaf is not boolean, or a leaf has 2**31 entries or more.
    """
    check_boolean(mask)
    leaves = [(name, leaf) for name, leaf in named_leaves(mask) if prunable(name, leaf)]
    for name, leaf in leaves:
        if leaf.size > _select.LIMIT:
            raise ValueError(f"mask: leaf {name} has {leaf.size} entries, over 2**31-1")
    kept = [jnp.sum(jnp.asarray(leaf), dtype=jnp.int32) for _, leaf in leaves]
    if not is_traced(mask):
        kept = [int(number) for number in jax.device_get(kept)]
    each = {
        name: LeafCount(number, leaf.size)
        for (name, leaf), number in zip(leaves, kept, strict=True)
    }
    total = sum(leaf.total for leaf in each.values())
    return Counts(sum(kept), total, each)


def density(mask: PyTree, *, prunable: Prunable = weights_only) -> Any:
    """Return kept / total over the prunable leaves of a mask.

    Args:
        mask: boolean tree, True = kept.
        prunable: which leaves count, a predicate on (path, leaf).

    Returns:
        A Python float for a concrete mask; a float32 scalar under tracing.

    Raises:
        ValueError: if no leaf is prunable, or a leaf is not boolean.
    """
    counts = count(mask, prunable=prunable)
    if counts.total == 0:
        raise ValueError("mask: no leaf is prunable, so density has no denominator")
    if isinstance(counts.kept, int):
        return counts.kept / counts.total
    return counts.kept.astype(jnp.float32) / np.float32(counts.total)


def _checked_pair(**masks: PyTree) -> tuple[PyTree, PyTree]:
    """Return two masks, checked to be boolean and of one structure."""
    (one, first), (other, second) = masks.items()
    check_same_structure(first, second, argument=other)
    check_boolean(first, one)
    check_boolean(second, other)
    return first, second


def intersect(first: PyTree, second: PyTree) -> PyTree:
    """Return the mask that keeps what both masks keep.

    Raises:
        ValueError: if the masks differ in structure or shape or are not boolean.
    """
    return jax.tree.map(jnp.logical_and, *_checked_pair(first=first, second=second))


def union(first: PyTree, second: PyTree) -> PyTree:
    """Return the mask that keeps what at least one of two masks keeps.

    Raises:
        ValueError: if the masks differ in structure or shape or are not boolean.
    """
    return jax.tree.map(jnp.logical_or, *_checked_pair(first=first, second=second))


def flips(before: PyTree, after: PyTree) -> Flips:
    """Count what two masks decide differently, over every leaf.

    Raises:
        ValueError: if the masks differ in structure or shape or are not boolean.
    """
    _checked_pair(before=before, after=after)

    def every(name: str, leaf: Any) -> bool:
        del name, leaf
        return True

    pruned = jax.tree.map(lambda old, new: old & ~new, before, after)
    regrown = jax.tree.map(lambda old, new: new & ~old, before, after)
    return Flips(
        count(pruned, prunable=every).kept, count(regrown, prunable=every).kept
    )


def threshold_mask(
    params: PyTree, threshold: Any, *, prunable: Prunable = weights_only
) -> PyTree:
    """Return the mask that keeps the weights of magnitude >= threshold.

    Args:
        params: any pytree of arrays.
        threshold: a scalar >= 0, one for all leaves; may be traced.
        prunable: which leaves may lose weights, a predicate on (path, leaf).

    Returns:
        A boolean tree like ``params``. A NaN weight reaches no threshold: it goes.

    Raises:
        ValueError: if a concrete threshold is negative or NaN.
    """
    if not isinstance(threshold, Tracer) and not float(threshold) >= 0:
        raise ValueError(f"threshold: expected a number >= 0, got {threshold}")

    def leaf_mask(name: str, leaf: Array) -> Array:
        if not prunable(name, leaf):
            return jnp.ones_like(leaf, dtype=bool)
        wide = wide_dtype(leaf.dtype, jnp.float32)
        return jnp.abs(leaf.astype(wide)) >= jnp.asarray(threshold).astype(wide)

    return map_named(leaf_mask, params)
