"""Pruning as an optax transform: masks in the state, exact zeros in the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from pruning import _packed, _select, _transform, scores
from pruning._allocation import Scope
from pruning._by_path import Structures, of_leaves
from pruning._roles import (
    Stacked,
    check_prunable,
    leaves_of,
    weights_only,
)
from pruning._varying import vary, varying_axes
from pruning.masks import full_mask
from pruning.schedules import Manual, Schedule
from pruning.selection import (
    SelectionInfo,
    check_options,
    itself,
    layer_axes,
    select_by,
)
from synaptax.checks import check_flags, wide_dtype
from synaptax.trees import Prunable, with_arrays
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
        prune_masks: boolean tree like the parameters, True = kept; with ``packed``,
            of bits. :func:`pruning.masks_of` reads either.
        prune_count: int32, updates done.
        prune_info: the :class:`PruneInfo` of the last choice.
        prune_target: float32, the density that the last choice aimed at; 1 before,
            NaN where the schedule asks for none.
    """

    prune_masks: PyTree
    prune_count: Array
    prune_info: PruneInfo
    prune_target: Array


def applied(weight: Array, update: Array) -> Array:
    """Return a leaf as :func:`optax.apply_updates` would, under any dtype promotion."""
    wide = wide_dtype(weight.dtype, update.dtype)
    return (weight.astype(wide) + update.astype(wide)).astype(weight.dtype)


def magnitude_reached(weight: Array, update: Array) -> Array:
    """Return |w + u|, the magnitude that a weight would have."""
    return jnp.abs(applied(weight, update))


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
    if not isinstance(score, str) or score not in SCORES:
        raise ValueError(
            f"score: expected one of {', '.join(SCORES)} or a function of the "
            f"parameters, got {score!r}"
        )
    return SCORES[score]


def _check_prunable(
    params: PyTree,
    prunable: Prunable,
    structure: Structures,
    stacked: Stacked | None = None,
) -> None:
    """Raise ValueError if nothing can be pruned, or not in the structure's units."""
    if isinstance(params, optax.LookaheadParams):  # two views of one network
        params = params.fast
    leaves = leaves_of(params, prunable)
    if leaves and not any(leaf.prunable for leaf in leaves):
        raise ValueError("prunable: no leaf of params is prunable")
    for name, leaf, is_prunable in leaves:
        if is_prunable and not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise ValueError(
                f"prunable: leaf {name} is {leaf.dtype}, expected floating weights"
            )
    axes = layer_axes(params, leaves, stacked)
    stacks = [(leaf, n) for leaf, n in zip(leaves, axes, strict=True) if leaf.prunable]
    shapes = [tuple(leaf.value.shape[n:]) for leaf, n in stacks]
    of_leaves(structure, [leaf.name for leaf, _ in stacks], shapes)


def _described(
    params: PyTree,
    old: PyTree,
    new: PyTree,
    selection: SelectionInfo,
    prunable: Prunable,
) -> PruneInfo:
    """Return what there is to read about a choice of masks."""
    roles = leaves_of(params, prunable)
    counts = [
        _select.totals(mask, mask != before)
        for mask, before in zip(*map(jax.tree.leaves, (new, old)), strict=True)
    ]
    survivors = [
        one for (one, _), leaf in zip(counts, roles, strict=True) if leaf.prunable
    ]
    floored = jnp.stack(list(selection.floored.values()))
    return PruneInfo(
        sum(survivors, jnp.int32(0)).astype(jnp.float32) / np.float32(selection.total),
        selection.threshold,
        sum((flips for _, flips in counts), jnp.int32(0)),
        jnp.sum(floored, dtype=jnp.int32),
    )


@_transform.injectable()
def prune(
    schedule: Any,
    *,
    score: str | Callable[..., PyTree] = "magnitude",
    scope: Scope = "global",
    structure: Structures = "element",
    prunable: Prunable = weights_only,
    min_per_leaf: int = 1,
    regrow: bool = False,
    stacked: Stacked | None = None,
    packed: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Prune while training: the last transform of a chain.

    .. math:: u_i \leftarrow u_i \text{ if kept, else } -w_i

    When the schedule says so, new masks are chosen from the scores of the weights as
    this update would leave them. After :func:`optax.apply_updates` a pruned weight is
    exactly 0.0. Nothing that changes updates may follow in the chain, nothing may
    hold weights of its own from which it computes those that are evaluated
    (``schedule_free``, ``lookahead``, an average), and no wrapper may add to them
    after: ``docs/wrappers.md`` has the table.

    A traced density cannot be refused: where it is NaN or outside [0, 1], the updates
    are NaN, so that nobody trains on unaware.

    A state goes on under another schedule: if that asks for another density than the
    last choice aimed at, because one of its steps has passed, the masks are chosen
    once, at the next update.

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
        stacked: as ``scope``.
        packed: hold the masks as bits: an eighth of a byte a weight instead of one,
            unpacked in each update. A leaf whose last axis is no multiple of 8 stays
            boolean.

    Returns:
        A transform whose state is a :class:`PruneState`. A weight that is NaN or inf
        before the update cannot be brought to zero by adding, so it is kept.

    Raises:
        ValueError: for an unknown score or option; in ``init`` if no leaf is
            prunable, or one is that holds integers; in ``update``, naming a missing
            argument or a bad leaf.

    Reference:
        Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878: masks of the
        smallest magnitudes, chosen anew as the density falls.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.one_shot(0, 0.5)))
        >>> params = {"w": jnp.array([[1.0, -2.0], [3.0, 0.5]])}
        >>> grads = {"w": jnp.zeros((2, 2))}
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["w"].tolist()
        [[0.0, -2.0], [3.0, 0.0]]
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule: expected a pruning schedule, got {schedule!r}")
    check_prunable(prunable)
    check_options(scope, structure, min_per_leaf)
    check_flags(regrow=regrow, packed=packed)
    options = _Options(
        schedule,
        _score_function(score),
        scope,
        structure,
        prunable,
        min_per_leaf,
        regrow,
        stacked,
        packed,
    )

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        params = _transform.need_params(params, "prune", state, PruneState, updates)
        _transform.check_state(state.prune_info, PruneInfo, "prune")
        return _update(options, updates, state, params, extra)

    return optax.GradientTransformationExtraArgs(
        lambda params: _init(options, params), update
    )


class _Options(NamedTuple):
    """What :func:`prune` was told."""

    schedule: Schedule
    score: Callable[..., PyTree]
    scope: Scope
    structure: Structures
    prunable: Prunable
    min_per_leaf: int
    regrow: bool
    stacked: Stacked | None
    packed: bool


def _init(options: _Options, params: PyTree) -> PruneState:
    params = with_arrays(params)
    _check_prunable(params, options.prunable, options.structure, options.stacked)
    # A buffer for each: one that stood twice in the state could not be donated.
    zero = lambda dtype: jnp.zeros([], dtype)
    one = lambda: jnp.ones([], jnp.float32)
    info = PruneInfo(one(), zero(jnp.float32), zero(jnp.int32), zero(jnp.int32))
    masks = full_mask(params)
    if options.packed:
        masks = _packed.packed(masks)
    return PruneState(masks, zero(jnp.int32), info, one())


def _update(
    options: _Options,
    updates: PyTree,
    state: PruneState,
    params: PyTree,
    extra: dict[str, Any],
) -> tuple[PyTree, PruneState]:
    masks, count, info, target = state
    forms = jax.tree.map(_packed.packed_shape, params) if options.packed else params
    masks = _transform.like(forms, masks, argument="prune_masks")
    leaves = leaves_of(params, options.prunable)
    able = any(leaf.prunable for leaf in leaves)
    if able and not isinstance(options.schedule, Manual):
        step = options.schedule.last(count)
        density = _transform.density_or_nan(options.schedule(step))
        # Another schedule than the one that the masks come from: it acts once, late.
        other = _transform.differs(density, target)
        if not options.regrow:
            # Nothing returns: a density above the last one asks for nothing.
            other = other & (density < target)
        # At a step of the schedule; or once later, for a target
        # that the masks do not have.
        due = (step == count) | ((step >= 0) & other)
        _transform.check_shared(params, updates, "prune: updates", _MEAN)
        # A choice of masks has no derivative, and a while loop none in reverse.
        weights, change = jax.tree.map(lax.stop_gradient, (params, updates))

        def fresh(carry: Any) -> Any:
            current, info, _, change = carry
            # Plus 0, from what the loop carries: see _select.anew.
            now = step + jnp.minimum(info.prune_flips, 0)
            old = _packed.unpacked(current)
            new, summary = _choose(options, old, now, weights, change, extra)
            summary = of_all_devices(summary, new, info)
            change = _written(change, new, summary)
            if options.packed:
                new = _packed.packed(new)
            return new, summary, density, change

        carry = (masks, info, target, change)
        masks, info, target, change = _transform.run_if(due, fresh, carry)
        updates = _as_carried(updates, change)
        target = jnp.where(jnp.isnan(density), density, target)
    # u_i where kept, else -w_i
    updates = project(updates, params, _packed.unpacked(masks))
    updates = _transform.nan_where(jnp.isnan(target), updates)
    return updates, PruneState(masks, _transform.increment(count), info, target)


def _written(updates: PyTree, masks: PyTree, info: PruneInfo) -> PyTree:
    """Return the updates where kept, else 0, after all else that reads them.

    A loop passes on in their place what it writes last; what it only reads XLA makes
    anew for its next use, and holds meanwhile what it is made of.
    """
    threshold, number = info.prune_threshold, info.prune_floored
    last = jnp.where(jnp.isnan(threshold), info.prune_flips, number)
    leaf = lambda u, m: jnp.where(m, _select.anew(u, last), jnp.zeros_like(u))
    return jax.tree.map(leaf, updates, masks)


@jax.custom_jvp
def _as_carried(updates: PyTree, carried: PyTree) -> PyTree:
    """Return what a loop carried of the updates, with their own derivatives."""
    return carried


@_as_carried.defjvp
def _as_carried_jvp(primals: Any, tangents: Any) -> tuple[PyTree, PyTree]:
    return primals[1], tangents[0]


def _choose(
    options: _Options,
    old: PyTree,
    step: Array,
    params: PyTree,
    updates: PyTree,
    extra: dict[str, Any],
) -> tuple[PyTree, PruneInfo]:
    """Return new masks, chosen among the weights that this update would leave."""
    if isinstance(params, optax.LookaheadParams):  # two views of one network
        mask, info = _choose(options, old.fast, step, params.fast, updates.fast, extra)
        return optax.LookaheadParams(mask, mask), info
    names = {leaf.name for leaf in leaves_of(params, options.prunable) if leaf.prunable}
    if options.score is scores.magnitude:
        # |w + u| is cheaper to compute anew than to hold: 4 bytes for each weight.
        score, trees = magnitude_reached, (params, updates)
    else:
        weights = jax.tree.map(applied, params, updates)
        values = _transform.call_with_known(options.score, weights, extra, "prune")
        values = _transform.like(params, values, argument="score")
        _transform.check_shared(params, values, "prune: score", _MEAN)
        score, trees = itself, (values,)
    new, selection = select_by(
        score,
        trees,
        lambda total: options.schedule.kept(step, total),
        scope=options.scope,
        structure=options.structure,
        prunable=lambda name, leaf: name in names,
        min_per_leaf=options.min_per_leaf,
        allowed=None if options.regrow else old,
        stacked=options.stacked,
    )
    # w + (-w) is 0 for every finite w and NaN for the others, which are kept.
    new = jax.tree.map(lambda m, w: m | ~jnp.isfinite(w), new, params)
    if not options.regrow:
        new = jax.tree.map(jnp.logical_and, new, old)
    _transform.check_shared(params, new, "prune: prune_masks", ALL_SPLIT)
    return new, _described(params, old, new, selection, options.prunable)


def of_all_devices(info: PruneInfo, masks: PyTree, held: PyTree) -> PruneInfo:
    """Join what devices of jax.shard_map say of their parts of the weights.

    Not along axes along which the state that is held differs: replicas, say.
    """
    names = tuple(sorted(varying_axes(masks) - varying_axes(held)))
    if not names:
        return info
    density, threshold, flips, floored = vary(info, names)
    return PruneInfo(
        lax.pmean(density, names),
        lax.pmin(threshold, names),
        lax.psum(flips, names),
        lax.psum(floored, names),
    )


_MEAN = "take the mean over devices first, lax.pmean"
ALL_SPLIT = (
    "split all prunable leaves or none, or leave the mesh to jax.jit, under which the "
    "choice is that of one device"
)
