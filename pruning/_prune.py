"""Pruning as an optax transform: masks in the state, exact zeros in the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax

from pruning import _transform, scores
from pruning.masks import density, flips, full_mask
from pruning.schedules import Manual, Schedule
from pruning.selection import SelectionInfo, check_options, select_with_info
from pruning.structures import Structure
from synaptax.checks import wide_dtype
from synaptax.trees import Prunable, named_leaves, weights_only
from synaptax.typing import Array, PyTree

SCORES: dict[str, Callable[..., PyTree]] = {
    "magnitude": scores.magnitude,
    "random": scores.random,
    "saliency": scores.saliency,
    "sensitivity": scores.sensitivity,
}


class PruneInfo(NamedTuple):
    """What a person wants to read about the last choice of masks by the schedule.

    Masks set by :func:`with_masks` are not described here; count them instead.

    Attributes:
        prune_density: float32, kept / total over the prunable weights; 1 before.
        prune_threshold: float32, the smallest score kept; 0 before.
        prune_flips: int32, weights whose fate changed.
        prune_floored: int32, leaves that only the floor kept from emptying.
    """

    prune_density: Array
    prune_threshold: Array
    prune_flips: Array
    prune_floored: Array


class PruneState(NamedTuple):
    """The state of :func:`prune`.

    Attributes:
        prune_masks: boolean tree like the parameters, True = kept.
        prune_count: int32, updates done.
        prune_info: the :class:`PruneInfo` of the last choice.
    """

    prune_masks: PyTree
    prune_count: Array
    prune_info: PruneInfo


class PrunedState(NamedTuple):
    """The state of :func:`pruned`.

    Attributes:
        pruned_inner: the inner transform's state.
        pruned_prune: the :class:`PruneState`.
    """

    pruned_inner: Any
    pruned_prune: PruneState


def applied(params: PyTree, updates: PyTree) -> PyTree:
    """Return what :func:`optax.apply_updates` would, under any dtype promotion."""

    def leaf(weight: Array, update: Array) -> Array:
        wide = wide_dtype(weight.dtype, update.dtype)
        return (weight.astype(wide) + update.astype(wide)).astype(weight.dtype)

    return jax.tree.map(leaf, params, updates)


def project(updates: PyTree, params: PyTree, masks: PyTree) -> PyTree:
    """Return the updates with -w where a weight is pruned.

    The update's dtype is kept if it can hold every value of the weight's dtype and
    is widened if not: a rounded -w would leave a residue.
    """

    def leaf(update: Array, weight: Array, mask: Array) -> Array:
        wide = wide_dtype(update.dtype, weight.dtype)
        return jnp.where(mask, update.astype(wide), -weight.astype(wide))

    return jax.tree.map(leaf, updates, params, masks)


def _score_function(score: Any) -> Callable[..., PyTree]:
    if callable(score):
        return score
    if score not in SCORES:
        raise ValueError(
            f"score: expected one of {', '.join(SCORES)} or a function of the "
            f"parameters, got {score!r}"
        )
    return SCORES[score]


def _check_prunable(params: PyTree, prunable: Prunable, structure: Structure) -> None:
    """Raise ValueError if nothing can be pruned, or not in the structure's units."""
    named = named_leaves(params)
    if named and not any(prunable(name, leaf) for name, leaf in named):
        raise ValueError("prunable: no leaf of params is prunable")
    for name, leaf in named:
        if prunable(name, leaf):
            structure.check(name, tuple(leaf.shape))


def _described(
    old: PyTree, new: PyTree, selection: SelectionInfo, prunable: Prunable
) -> PruneInfo:
    """Return what there is to read about a choice of masks."""
    changed = flips(old, new)
    floored = jnp.stack(list(selection.floored.values()))
    return PruneInfo(
        jnp.asarray(density(new, prunable=prunable), jnp.float32),
        selection.threshold,
        jnp.asarray(changed.pruned + changed.regrown, jnp.int32),
        jnp.sum(floored, dtype=jnp.int32),
    )


def prune(
    schedule: Any,
    *,
    score: str | Callable[..., PyTree] = "magnitude",
    scope: str = "global",
    structure: Structure | str = "element",
    prunable: Prunable = weights_only,
    min_per_leaf: int = 1,
    regrow: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Prune while training: the last transform of a chain.

    .. math:: u_i \leftarrow u_i \text{ if kept, else } -w_i

    When the schedule says so, new masks are chosen from the scores of the weights as
    this update would leave them. After :func:`optax.apply_updates` a pruned weight is
    exactly 0.0. Nothing that changes updates may follow in the chain.

    Args:
        schedule: from :mod:`pruning.schedules`.
        score: a name, or a function ``(params, ...) -> tree of scores``; it gets
            those of ``update``'s extra arguments that its signature names. "random"
            needs ``key=``, "saliency" ``grads=`` (``raw_grads=`` through an
            ``nnx.Optimizer``), "sensitivity" ``sensitivity=``.
        scope: as :func:`pruning.masks.select`; likewise the next three.
        structure: as there.
        prunable: as there.
        min_per_leaf: as there.
        regrow: let pruned weights return; by default they never do.

    Returns:
        A transform whose state is a :class:`PruneState`. A parameter that is NaN or
        inf before the update cannot be brought to zero by adding: it turns NaN.

    Raises:
        ValueError: for an unknown score or option; in ``init`` if no leaf is
            prunable; in ``update``, naming a missing argument or a bad leaf.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule: expected a pruning schedule, got {schedule!r}")
    function = _score_function(score)
    structure = check_options(scope, structure, min_per_leaf)

    def init(params: PyTree) -> Any:
        _check_prunable(params, prunable, structure)
        zero = jnp.zeros([], jnp.int32)
        info = PruneInfo(jnp.float32(1), jnp.float32(0), zero, zero)
        return PruneState(full_mask(params), zero, info)

    def choose(
        state: Any, params: PyTree, extra: dict[str, Any]
    ) -> tuple[PyTree, PruneInfo]:
        old, count = state.prune_masks, state.prune_count
        values = _transform.call_with_known(function, params, extra, "prune")
        new, selection = select_with_info(
            _transform.like(params, values, argument="score"),
            lambda total: schedule.kept(count, total),
            scope=scope,
            structure=structure,
            prunable=prunable,
            min_per_leaf=min_per_leaf,
            allowed=None if regrow else old,
        )
        if not regrow:
            new = jax.tree.map(jnp.logical_and, new, old)
        return new, _described(old, new, selection, prunable)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        params = _transform.need_params(params, "prune")
        masks, count, info = state
        masks = _transform.like(params, masks, argument="prune_masks")
        due = schedule.update(count)
        named = named_leaves(params)
        able = any(prunable(name, leaf) for name, leaf in named)
        if able and not isinstance(schedule, Manual):
            held = jax.tree.map(lax.stop_gradient, applied(params, updates))

            def fresh(carry: tuple[PyTree, PruneInfo]) -> tuple[PyTree, PruneInfo]:
                return choose(PruneState(carry[0], count, carry[1]), held, extra)

            masks, info = _transform.run_if(due, fresh, (masks, info))
        updates = project(updates, params, masks)
        return updates, PruneState(masks, _transform.increment(count), info)

    return optax.GradientTransformationExtraArgs(init, update)


def pruned(
    inner: optax.GradientTransformation, schedule: Any, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Wrap an optimizer so that pruned weights leave no trace in it.

    Gradients of pruned weights are masked on the way in, updates are projected on
    the way out as :func:`prune` does, and the inner state's moments of pruned
    weights are zero, so that a weight that returns starts afresh.

    Args:
        inner: any optax transform, a whole optimizer as a rule.
        schedule: from :mod:`pruning.schedules`.
        **options: those of :func:`prune`. A score that names ``grads`` gets the
            gradients as they came, unmasked.

    Returns:
        A transform whose state is a :class:`PrunedState`; extra arguments reach the
        inner transform and the score.

    Raises:
        ValueError: as :func:`prune`.
    """
    inner = optax.with_extra_args_support(inner)
    pruner = prune(schedule, **options)

    def init(params: PyTree) -> Any:
        return PrunedState(inner.init(params), cast(PruneState, pruner.init(params)))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        params = _transform.need_params(params, "pruned")
        before = _transform.like(
            params, state.pruned_prune.prune_masks, argument="prune_masks"
        )
        grads = jax.tree.map(
            lambda g, m: jnp.where(m, g, jnp.zeros_like(g)), updates, before
        )
        found, moments = inner.update(grads, state.pruned_inner, params, **extra)
        known = {"grads": updates, **extra}
        result, new = pruner.update(found, state.pruned_prune, params, **known)
        prune_state = cast(PruneState, new)
        moments = _clear(inner, moments, prune_state.prune_masks)
        return result, PrunedState(moments, prune_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _clear(inner: Any, state: Any, masks: PyTree) -> Any:
    """Zero what the inner state holds for pruned weights."""

    def leaf(moment: Any, mask: Any) -> Any:
        fits = getattr(moment, "shape", None) == getattr(mask, "shape", None)
        if _transform.is_masked(moment) or _transform.is_masked(mask) or not fits:
            return moment
        return jnp.where(mask, moment, jnp.zeros_like(moment))

    return optax.tree.map_params(
        inner, leaf, state, masks, is_leaf=_transform.is_masked
    )
