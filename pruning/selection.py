"""Exact-k selection over a tree of scores: the public face of the kernel.

Nothing here needs an optimizer; see :mod:`pruning._select` for how it is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pruning import _allocation, _roles, _select
from pruning._allocation import SCOPES, Scope
from pruning._by_path import Structures, check_structures, of_leaves
from pruning._roles import Stacked, weights_only
from pruning._solve import solve
from pruning._transform import like
from pruning.scores import magnitude
from synaptax.checks import check_boolean, check_integer, is_traced
from synaptax.trees import Prunable, with_arrays
from synaptax.typing import Array, PyTree


class SelectionInfo(NamedTuple):
    """What a selection did.

    Attributes:
        kept: int32, prunable weights kept.
        total: number of prunable weights.
        threshold: float32, the smallest (group) score kept; inf when none is kept,
            NaN when a NaN had to be kept.
        floored: path to bool, True where only the floor kept the leaf from having
            fewer than ``min_per_leaf`` groups.
    """

    kept: Any
    total: int
    threshold: Any
    floored: dict[str, Any]


def magnitude_mask(params: PyTree, density: Any, **options: Any) -> PyTree:
    """Return the mask that keeps the weights of largest magnitude.

    Args:
        params: any pytree of arrays; of a complex weight the modulus counts.
        density: the fraction of prunable weights to keep, in [0, 1].
        **options: passed to :func:`select`.

    Returns:
        A boolean tree like ``params``.

    Example:
        >>> params = {"w": jnp.array([[0.1, -2.0], [3.0, 0.2]]), "b": jnp.zeros(2)}
        >>> mask = pruning.magnitude_mask(params, 0.5)
        >>> mask["w"].tolist(), mask["b"].tolist()  # biases are kept
        ([[False, True], [True, False]], [True, True])
    """
    params = with_arrays(params)
    prunable = options.pop("prunable", weights_only)
    leaves = _roles.leaves_of(params, prunable)
    names = {leaf.name for leaf in leaves if leaf.prunable}
    # Told by the weights: of its scores an integer table looks like a kernel.
    is_prunable = lambda name, leaf: name in names
    return select(magnitude(params), density, prunable=is_prunable, **options)


def select(
    scores: PyTree,
    density: Any,
    *,
    scope: Scope = "global",
    structure: Structures = "element",
    prunable: Prunable = weights_only,
    min_per_leaf: int = 1,
    on_collapse: str = "keep",
    allowed: PyTree | None = None,
    stacked: Stacked | None = None,
) -> PyTree:
    """Keep the prunable weights of highest score, exactly round(density * n) of them.

    Nothing is sorted and no leaves are joined: the k-th largest score is found by
    bisection on the float's ordered bits, with integer counts. Ties go to the earlier
    leaf, then to the lower flat index. NaN ranks below every number, -inf included.

    With a structure whose groups hold several weights the same budget of
    round(density * n) weights is filled with whole groups, best first, and never
    exceeded; a group competes by its own score, whatever its size. The floor comes
    before the budget: a leaf that the ranking would leave with fewer than
    ``min_per_leaf`` groups keeps its best ``min_per_leaf``, and only if the floors
    alone exceed the budget are more weights kept than asked.

    Args:
        scores: any pytree of floating arrays, one score per weight, higher is kept.
        density: the fraction of prunable weights to keep, in [0, 1]: a number, or a
            traced scalar (then clipped; see :func:`pruning._select.target_count`).
        scope: rank all leaves together ("global"), or give each leaf the same
            density ("layer"). A stack of layers counts as its layers. Or divide the
            budget of round(density * n) weights, to the weight: in equal densities
            ("uniform"), by Erdos-Renyi-kernel ("erk"), or in proportion to given
            densities, a map from path to number or a function of (path, shape): the
            leaf l gets min(1, s a_l) with the s that meets the budget. Densities that
            meet it by themselves hold as they are.
        structure: what is kept or removed as one; see :mod:`pruning.structures`. One
            for all leaves; a map from path to structure, by single weights where it
            names none; or a function of (path, shape), of a layer where layers are
            stacked.
        prunable: which leaves may lose weights, a predicate on (path, leaf).
        min_per_leaf: groups that each prunable leaf (of a stack, each layer) keeps at
            least; 0 for no floor.
        on_collapse: "raise" to refuse a selection that needed the floor; only
            outside jit.
        allowed: optional boolean tree like ``scores``: only entries True here may be
            kept, whatever the density.
        stacked: how many leading axes of a leaf count layers, a function of (path,
            leaf); by default told from the tree, see
            :func:`pruning._roles.stacked_axes`.

    Returns:
        A boolean tree like ``scores``, all True where not prunable, each leaf sharded
        like its scores.

    Raises:
        ValueError: for a density outside [0, 1] or NaN, scores that are not floating,
            no prunable leaf, 2**31 or more prunable weights, a structure that does
            not fit a leaf, or a collapse with ``on_collapse="raise"``.

    Example:
        >>> scores = {"w": jnp.array([[4.0, 1.0], [3.0, 2.0]])}
        >>> pruning.select(scores, 0.5)["w"].tolist()
        [[True, False], [True, False]]
    """
    if on_collapse not in ("keep", "raise"):
        raise ValueError(
            f"on_collapse: expected 'keep' or 'raise', got {on_collapse!r}"
        )
    mask, info = select_with_info(
        scores,
        density,
        scope=scope,
        structure=structure,
        prunable=prunable,
        min_per_leaf=min_per_leaf,
        allowed=allowed,
        stacked=stacked,
    )
    if on_collapse == "raise":
        if is_traced(info):
            raise ValueError("on_collapse: 'raise' works only outside jit and vmap")
        names = [name for name, low in info.floored.items() if bool(low)]
        if names:
            raise ValueError(
                f"density: {density} leaves fewer than min_per_leaf={min_per_leaf} "
                f"groups in {', '.join(names)}"
            )
    return mask


def select_with_info(
    scores: PyTree,
    density: Any,
    *,
    scope: Scope = "global",
    structure: Structures = "element",
    prunable: Prunable = weights_only,
    min_per_leaf: int = 1,
    allowed: PyTree | None = None,
    stacked: Stacked | None = None,
) -> tuple[PyTree, SelectionInfo]:
    """Select as :func:`select` does, and say what was done.

    Args:
        scores: see :func:`select`; likewise the other arguments.
        density: as there, or a function of a number of weights that returns how many
            of them to keep (int32 scalar or Python integer).
        scope: as there.
        structure: as there.
        prunable: as there.
        min_per_leaf: as there.
        allowed: as there.
        stacked: as there.

    Returns:
        ``(mask, info)``.

    Raises:
        ValueError: as :func:`select`.
    """
    return select_by(
        itself,
        (scores,),
        density,
        scope=scope,
        structure=structure,
        prunable=prunable,
        min_per_leaf=min_per_leaf,
        allowed=allowed,
        stacked=stacked,
    )


def select_by(
    score: Callable[..., Array],
    trees: tuple[PyTree, ...],
    density: Any,
    *,
    scope: Scope = "global",
    structure: Structures = "element",
    prunable: Prunable = weights_only,
    min_per_leaf: int = 1,
    allowed: PyTree | None = None,
    stacked: Stacked | None = None,
) -> tuple[PyTree, SelectionInfo]:
    """Select by scores that are computed where they are compared, and held nowhere.

    Args:
        score: from a leaf of each tree to its scores, entry by entry; a function of a
            module, so that what is compiled for it is found again.
        trees: trees of one structure.
        density: see :func:`select_with_info`, as the rest.
        scope: as there.
        structure: as there.
        prunable: as there.
        min_per_leaf: as there.
        allowed: as there.
        stacked: as there.

    Returns:
        ``(mask, info)``.
    """
    check_options(scope, structure, min_per_leaf)
    scores = trees[0] if score is itself else _shapes(score, trees)
    if allowed is not None:
        allowed = like(scores, allowed, argument="allowed")
        check_boolean(allowed, "allowed")
    leaves = _score_leaves(scores, prunable)
    indices = [i for i, leaf in enumerate(leaves) if leaf.prunable]
    _check_scores([leaves[i] for i in indices])
    shapes = [tuple(leaves[i].value.shape) for i in indices]
    axes = layer_axes(scores, leaves, stacked)
    # A stack is ranked as its layers: which leaf each is of, and where in it.
    origin = _roles.layers_of(shapes, [axes[i] for i in indices])
    names = [
        leaves[indices[i]].name + (str(list(place)) if place else "")
        for i, place in origin
    ]
    layers = [shapes[i][len(place) :] for i, place in origin]
    own = [leaves[indices[i]].name for i, _ in origin]
    structures = of_leaves(structure, own, layers, names)
    sizes = [math.prod(shape) for shape in layers]
    total = sum(sizes)
    if total > _select.LIMIT:
        raise ValueError(f"scores: {total} prunable weights, over the limit 2**31-1")
    counter = density if callable(density) else _counter(density)
    if isinstance(scope, str) and scope in ("global", "layer"):
        # (layers,): rounded layer by layer, or the one shared number, repeated.
        numbers = sizes if scope == "layer" else [total] * len(sizes)
        budget = jnp.stack([jnp.asarray(counter(n), jnp.int32) for n in numbers])
    else:
        parts = _allocation.proportions(scope, own, layers)
        budget = _allocation.divided(counter(total), sizes, parts)
    flat = [jax.tree.leaves(tree) for tree in trees]
    gates = None if allowed is None else jax.tree.leaves(allowed)
    layer_masks, survivors, threshold, floored = solve(
        tuple(tuple(part[i] for part in flat) for i in indices),
        None if gates is None else tuple(gates[i] for i in indices),
        budget,
        # An array and not static: another floor is the same compiled program.
        jnp.int32(min_per_leaf),
        score=score,
        origin=tuple(origin),
        together=scope == "global",
        structures=structures,
    )
    masks = dict(
        zip(indices, _roles.restacked(layer_masks, origin, shapes), strict=True)
    )
    whole = [
        masks[i] if i in masks else jnp.ones_like(leaf, dtype=bool)
        for i, leaf in enumerate(flat[0])
    ]
    info = SelectionInfo(
        survivors, total, threshold, dict(zip(names, floored, strict=True))
    )
    return jax.tree.unflatten(jax.tree.structure(scores), whole), info


def itself(scores: Array) -> Array:
    """Return scores that are given as they are."""
    return scores


def _shapes(score: Callable[..., Array], trees: tuple[PyTree, ...]) -> PyTree:
    return jax.eval_shape(lambda *trees: jax.tree.map(score, *trees), *trees)


def _score_leaves(scores: PyTree, prunable: Prunable) -> list[_roles.Leaf]:
    """Tell scores apart by path and shape: their dtype is not that of the weights."""
    # Boolean: of such a leaf the default predicate asks for path and shape alone.
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(jnp.shape(s), bool), scores)
    roles = _roles.leaves_of(shapes if prunable is weights_only else scores, prunable)
    values = jax.tree.leaves(scores)
    return [one._replace(value=v) for one, v in zip(roles, values, strict=True)]


def _check_scores(picked: list[_roles.Leaf]) -> None:
    """Raise unless there is something to rank, and all of it can be ranked."""
    if not picked:
        raise ValueError("prunable: no leaf is prunable, so there is nothing to select")
    for name, leaf, _ in picked:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"scores: leaf {name} is {leaf.dtype}, expected floats")


def layer_axes(
    scores: PyTree, leaves: list[_roles.Leaf], stacked: Stacked | None
) -> list[int]:
    """Return how many leading axes of each leaf count layers."""
    if stacked is None:
        return _roles.stacked_axes(scores)
    _roles.check_call(stacked, "stacked", "a function (path, leaf) -> int")
    return [
        check_integer(
            f"stacked: leaf {leaf.name}",
            stacked(leaf.name, leaf.value),
            0,
            jnp.ndim(leaf.value),
        )
        for leaf in leaves
    ]


def _counter(density: Any) -> Callable[[int], Any]:
    return lambda total: _select.target_count(density, total)


def _divides(scope: Any) -> bool:
    return isinstance(scope, Mapping) or callable(scope)


def check_options(scope: Any, structure: Any, min_per_leaf: Any) -> None:
    """Raise a ValueError for a bad option."""
    if scope not in SCOPES if isinstance(scope, str) else not _divides(scope):
        raise ValueError(
            f"scope: expected 'global' or 'layer', got {scope!r}; or one of 'uniform', "
            "'erk', a map from path to density, a function of (path, shape)"
        )
    check_structures(structure)
    check_integer("min_per_leaf", min_per_leaf, 0)


def collapsed(scores: PyTree, density: Any, **options: Any) -> tuple[str, ...]:
    """Name the leaves that would fall below the floor if there were none.

    Args:
        scores: as :func:`select`.
        density: as :func:`select`.
        **options: passed to :func:`select_with_info`.

    Returns:
        Paths, in flattening order; empty when the floor changes nothing.
    """
    floored = select_with_info(scores, density, **options)[1].floored
    return tuple(name for name, low in floored.items() if bool(low))
