"""Boolean mask trees: selection, application, counting and algebra.

A mask has exactly the structure of the parameters and boolean leaves: True is kept.
A leaf that is not prunable is all True. Nothing here needs an optimizer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning import _select
from pruning._roles import leaves_of, weights_only
from pruning._transform import like, pure
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
from synaptax.checks import check_boolean, check_number, is_traced, wide_dtype
from synaptax.trees import Prunable, check_same_structure, with_arrays
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
    "mask_metrics",
    "masks_from_zeros",
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

    Example:
        >>> pruning.full_mask({"w": jnp.ones((2, 2)), "b": jnp.ones(2)})["w"].tolist()
        [[True, True], [True, True]]
    """
    return jax.tree.map(lambda leaf: jnp.ones_like(leaf, dtype=bool), params)


def apply_mask(params: PyTree, mask: PyTree) -> PyTree:
    """Return ``params`` with every dropped weight set to zero.

    Args:
        params: any pytree of arrays; of an NNX model, ``nnx.state(model, nnx.Param)``.
        mask: boolean tree of the same paths and shapes, True = kept, in containers of
            its own if need be (:func:`pruning.transforms.masks_of` of an
            ``nnx.Optimizer``).

    Returns:
        A tree like ``params``, same dtypes. A NaN or inf under a False becomes 0.

    Raises:
        ValueError: if the paths, shapes or the mask's dtypes do not fit.

    Example:
        >>> params = {"w": jnp.array([[1.0, 2.0]])}
        >>> mask = {"w": jnp.array([[True, False]])}
        >>> pruning.apply_mask(params, mask)["w"].tolist()
        [[1.0, 0.0]]
    """
    params = with_arrays(params)
    mask = like(params, mask, argument="mask")
    check_boolean(mask)
    return jax.tree.map(lambda w, m: jnp.where(m, w, jnp.zeros_like(w)), params, mask)


def masks_from_zeros(params: PyTree, *, prunable: Prunable = weights_only) -> PyTree:
    """Return the mask that drops the weights that are zero already.

    With it one goes on from a sparse checkpoint:
    ``with_masks(optimizer.init(params), masks_from_zeros(params))``.

    Args:
        params: any pytree of arrays.
        prunable: which leaves may have lost weights, a predicate on (path, leaf). A
            zero elsewhere, as in a fresh bias, means nothing.

    Returns:
        A boolean tree like ``params``, False where a prunable weight is 0 or -0.

    Raises:
        ValueError: if ``prunable`` is no predicate.

    Example:
        >>> pruning.masks_from_zeros({"w": jnp.array([[1.0, 0.0]])})["w"].tolist()
        [[True, False]]
    """
    leaves = leaves_of(with_arrays(params), prunable)
    masks = [
        value != 0 if is_prunable else jnp.ones_like(value, dtype=bool)
        for _, value, is_prunable in leaves
    ]
    return jax.tree.unflatten(jax.tree.structure(params), masks)


def count(
    mask: PyTree, *, prunable: Prunable = weights_only, params: PyTree | None = None
) -> Counts:
    """Count the weights a mask keeps, in integers.

    Args:
        mask: boolean tree, True = kept.
        prunable: which leaves to count, a predicate on (path, leaf). For all
            parameters, biases included, pass ``lambda name, leaf: True``.
        params: the parameters, where the predicate asks for more than path and shape:
            the mask of an integer table looks like that of a kernel.

    Returns:
        Python integers for concrete masks; under tracing the kept numbers are int32.

    Raises:
        ValueError: if a leaf is not boolean, a leaf has 2**31 entries or more, or two
            leaves have one path.

    Example:
        >>> counted = pruning.count({"w": jnp.array([[True, False], [True, True]])})
        >>> counted
        Counts(kept=3, total=4, leaves={'w': LeafCount(kept=3, total=4)})
    """
    check_boolean(mask)
    roles = leaves_of(mask if params is None else pure(params), prunable)
    if params is not None:
        mask = like(pure(params), mask, argument="mask")
    flat = jax.tree.leaves(mask)
    leaves = [(r.name, m) for r, m in zip(roles, flat, strict=True) if r.prunable]
    for name, leaf in leaves:
        if leaf.size > _select.LIMIT:
            raise ValueError(f"mask: leaf {name} has {leaf.size} entries, over 2**31-1")
    # int32 holds the count of one leaf; over leaves they are added up as
    # Python integers where the mask is known.
    survivors = [jnp.sum(jnp.asarray(leaf), dtype=jnp.int32) for _, leaf in leaves]
    if not is_traced(mask):
        survivors = [int(number) for number in jax.device_get(survivors)]
    each = {
        name: LeafCount(number, leaf.size)
        for (name, leaf), number in zip(leaves, survivors, strict=True)
    }
    if len(each) < len(leaves):
        names = [name for name, _ in leaves]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"mask: two leaves have the path {twice}")
    total = sum(leaf.total for leaf in each.values())
    return Counts(sum(survivors), total, each)


def density(
    mask: PyTree, *, prunable: Prunable = weights_only, params: PyTree | None = None
) -> Any:
    """Return kept / total over the prunable leaves of a mask.

    Args:
        mask: boolean tree, True = kept.
        prunable: which leaves count, a predicate on (path, leaf).
        params: see :func:`count`.

    Returns:
        A Python float for a concrete mask; a float32 scalar under tracing.

    Raises:
        ValueError: if no leaf is prunable, or a leaf is not boolean.

    Example:
        >>> float(pruning.density({"w": jnp.array([[True, False], [True, True]])}))
        0.75
    """
    counts = count(mask, prunable=prunable, params=params)
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

    Example:
        >>> first = {"w": jnp.array([True, True])}
        >>> second = {"w": jnp.array([True, False])}
        >>> pruning.intersect(first, second)["w"].tolist()
        [True, False]
    """
    return jax.tree.map(jnp.logical_and, *_checked_pair(first=first, second=second))


def union(first: PyTree, second: PyTree) -> PyTree:
    """Return the mask that keeps what at least one of two masks keeps.

    Raises:
        ValueError: if the masks differ in structure or shape or are not boolean.

    Example:
        >>> first = {"w": jnp.array([False, True])}
        >>> second = {"w": jnp.array([True, False])}
        >>> pruning.union(first, second)["w"].tolist()
        [True, True]
    """
    return jax.tree.map(jnp.logical_or, *_checked_pair(first=first, second=second))


def flips(before: PyTree, after: PyTree) -> Flips:
    """Count what two masks decide differently, over every leaf.

    Raises:
        ValueError: if the masks differ in structure or shape or are not boolean.

    Example:
        >>> before = {"w": jnp.array([True, True])}
        >>> after = {"w": jnp.array([True, False])}
        >>> pruning.flips(before, after)
        Flips(pruned=1, regrown=0)
    """
    _checked_pair(before=before, after=after)

    def every(name: str, leaf: Any) -> bool:
        del name, leaf
        return True

    trees = _changed(before, after)
    return Flips(*(count(mask, prunable=every).kept for mask in trees))


def _changed(before: PyTree, after: PyTree) -> Flips:
    """Return boolean trees: where a weight was pruned, where one was regrown."""
    return Flips(
        jax.tree.map(lambda old, new: old & ~new, before, after),
        jax.tree.map(lambda old, new: new & ~old, before, after),
    )


def mask_metrics(mask: PyTree, before: PyTree | None = None) -> dict[str, float]:
    """Return what there is to log of a mask, leaf by leaf, for any metrics writer.

    Args:
        mask: boolean tree, True = kept; prunable leaves alone count.
        before: the mask before it changed.

    Returns:
        ``density`` and ``density/PATH``; with ``before`` also ``pruned``,
        ``pruned/PATH``, ``regrown`` and ``regrown/PATH``, numbers of weights.

    Raises:
        ValueError: if the masks differ in structure or shape, are not boolean, or no
            leaf is prunable.

    Example:
        >>> before = {"w": jnp.array([[True, True]])}
        >>> after = {"w": jnp.array([[True, False]])}
        >>> pruning.mask_metrics(after, before)["pruned/w"]
        1.0
    """
    if is_traced((mask, before)):
        raise ValueError("mask: expected concrete masks, got traced ones, inside jit")
    metrics = {"density": float(density(mask))}
    for name, leaf in count(mask).leaves.items():
        metrics[f"density/{name}"] = leaf.kept / max(leaf.total, 1)
    if before is None:
        return metrics
    old, new = _checked_pair(before=before, mask=mask)
    for kind, tree in _changed(old, new)._asdict().items():
        counts = count(tree)
        metrics[kind] = float(counts.kept)
        for name, leaf in counts.leaves.items():
            metrics[f"{kind}/{name}"] = float(leaf.kept)
    return metrics


def threshold_mask(
    params: PyTree, threshold: Any, *, prunable: Prunable = weights_only
) -> PyTree:
    """Return the mask that keeps the weights of magnitude >= threshold.

    Args:
        params: any pytree of arrays.
        threshold: a scalar >= 0, one for all leaves; may be traced.
        prunable: which leaves may lose weights, a predicate on (path, leaf).

    Returns:
        A boolean tree like ``params``. A NaN weight reaches no threshold: it goes. Of
        a complex weight the modulus counts.

    Raises:
        ValueError: if a concrete threshold is negative or NaN.

    Example:
        >>> pruning.threshold_mask({"w": jnp.array([[0.5, -0.01]])}, 0.1)["w"].tolist()
        [[True, False]]
    """
    check_number("threshold", threshold, "a number >= 0", lambda size: size >= 0)

    def leaf_mask(weight: Array) -> Array:
        # |w| is compared in at least float32: in half precision the threshold itself
        # would be rounded, and cut weights that it should not.
        size = jnp.abs(weight.astype(wide_dtype(weight.dtype, jnp.float32)))
        return size >= jnp.asarray(threshold).astype(size.dtype)

    masks = [
        leaf_mask(value) if is_prunable else jnp.ones_like(value, dtype=bool)
        for _, value, is_prunable in leaves_of(with_arrays(params), prunable)
    ]
    return jax.tree.unflatten(jax.tree.structure(params), masks)
