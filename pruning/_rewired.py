"""Sparse from the start: masks of constant density that move (SET, RigL) or do not."""

from __future__ import annotations

import functools
import math
from numbers import Integral
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.core import Tracer

from pruning import _transform, scores
from pruning._allocation import Scope
from pruning._prune import (
    ALL_SPLIT,
    PruneInfo,
    PruneState,
    _check_prunable,
    applied,
    of_all_devices,
    project,
    prune,
)
from pruning._pruned import cleared
from pruning._roles import check_prunable, leaves_of, weights_only
from pruning._select import LIMIT
from pruning._solve import solve
from pruning._varying import varying_axes
from pruning.masks import flips, full_mask
from pruning.selection import (
    check_options,
    itself,
    select_with_info,
)
from pruning.structures import element
from synaptax.checks import (
    check_boolean,
    check_choice,
    check_key,
    check_number,
    wide_dtype,
)
from synaptax.trees import Prunable, map_named, with_arrays
from synaptax.typing import Array, PyTree

GROWTH = ("gradient", "random", "none")


class RewiredState(NamedTuple):
    """The state of :func:`rewired`.

    Attributes:
        rewired_inner: the inner transform's state.
        rewired_prune: the masks and what there is to read about their last change.
    """

    rewired_inner: Any
    rewired_prune: PruneState


@_transform.injectable("density", "drop")
def rewired(
    inner: optax.GradientTransformation,
    density: float | int | Array,
    *,
    key: Any,
    grow: str = "gradient",
    every: Any = 100,
    end: Any,
    drop: float | Array = 0.3,
    scope: Scope = "erk",
    prunable: Prunable = weights_only,
) -> optax.GradientTransformationExtraArgs:
    r"""Wrap an optimizer so that it trains a network that is sparse from the start.

    Masks are drawn at random. At each ``every``-th update t before ``end`` each leaf
    drops the k smallest of its n kept weights and grows k others, so that n never
    changes:

    .. math:: k = \lfloor n\, \tfrac{d}{2} (1 + \cos(\pi t / t_{end})) \rfloor

    Grown are those of the largest absolute gradient (RigL) or any (SET). What has been
    dropped just now may grow again, and then keeps its value; others start at 0, with
    the inner state's moments at 0. Unlike in the paper the weights take their gradient
    step at these updates, too.

    The gradients must be those of the masked network with respect to all weights,
    which :func:`jax.grad` gives: a pruned weight is exactly 0. That holds from the
    first update on; before it, apply ``masks_of(state)`` to the parameters.

    A state goes on under another density, as one that
    :func:`optax.inject_hyperparams` changes: at the next update the smallest weights
    go, or others grow, until it is met. A traced density or drop cannot be refused:
    where it is NaN or outside [0, 1], the updates are NaN.

    Args:
        inner: any optax transform, a whole optimizer as a rule.
        density: kept / total over the prunable weights; it may be traced.
        key: a typed PRNG key, for the masks and for random growth.
        grow: "gradient" (RigL), "random" (SET) or "none": static random masks.
        every: updates between two changes; static, as ``end``.
        end: from this update on the masks stay.
        drop: d, the share that the first change may drop; it may be traced.
        scope: how leaves share the density, as :func:`pruning.masks.select`.
        prunable: as there.

    Returns:
        A transform whose state is a :class:`RewiredState`. A weight that is not finite
        is never dropped.

    Raises:
        ValueError: for an argument out of range; in ``update``, without ``params``.

    References:
        Mocanu et al., arXiv 1707.04780 (SET); Evci et al., arXiv 1911.11134 (RigL).

    Example:
        >>> tx = pruning.rewired(
        ...     optax.sgd(0.1), 0.25, key=jax.random.key(0), end=1000, scope="layer"
        ... )
        >>> masks = pruning.masks_of(tx.init({"kernel": jnp.ones((4, 4))}))
        >>> float(pruning.density(masks))
        0.25
    """
    check_choice("grow", grow, GROWTH)
    for name, value in (("density", density), ("drop", drop)):
        check_number(name, value, "a number in [0, 1]", lambda share: 0 <= share <= 1)
    whole = isinstance(every, Integral) and isinstance(end, Integral)
    if not whole or not (1 <= int(every) <= LIMIT and 0 <= int(end) <= LIMIT):
        raise ValueError(
            "every, end: expected integers >= 1 and >= 0, below 2**31, got "
            f"{every}, {end}; optax.inject_hyperparams keeps them so where they are "
            'among its static_args, ("every", "end")'
        )
    check_key(key)
    check_prunable(prunable)
    check_options(scope, "element", 0)
    inner = _transform.with_extra(inner, "rewired")

    def at_density(
        ranks: PyTree, params: PyTree, names: set[str]
    ) -> tuple[PyTree, Array]:
        masks, info = select_with_info(
            ranks,
            density,
            scope=scope,
            prunable=lambda name, leaf: name in names,
            min_per_leaf=0,
        )
        # What is not prunable: as its weight, the same on devices that share it.
        own = lambda name, w, m: m if name in names else jnp.ones_like(w, dtype=bool)
        masks = map_named(own, params, masks)
        _transform.check_shared(params, masks, "rewired: prune_masks", ALL_SPLIT)
        return masks, (info.kept / info.total).astype(jnp.float32)

    def drawn(params: PyTree, key: Array) -> PyTree:
        # In float32 whatever the weights are: halves would tie too often.
        wide = jax.tree.map(lambda w: jnp.zeros_like(w, dtype=jnp.float32), params)
        return scores.random(wide, key)

    def drawn_masks(params: PyTree, names: set[str]) -> tuple[PyTree, Array]:
        ranks = jax.tree.map(_placed, drawn(params, _own(key, params)), params)
        return at_density(ranks, params, names)

    def init(params: PyTree) -> RewiredState:
        params = with_arrays(params)
        way = "write optax.chain(lookahead(...), prune(...)) instead"
        _transform.refuse_two_views(params, "rewired", way)
        _check_prunable(params, prunable, "element")
        names = _names(params, prunable)
        target = _transform.density_or_nan(density)
        if not names:  # optax asks so for what in the state is like the parameters
            masks, share = full_mask(params), jnp.ones([], jnp.float32)
        else:
            masks, share = drawn_masks(params, names)
        zero = lambda dtype: jnp.zeros([], dtype)
        info = PruneInfo(share, zero(jnp.float32), zero(jnp.int32), zero(jnp.int32))
        info = of_all_devices(info, masks, zero(jnp.int32))
        state = PruneState(masks, zero(jnp.int32), info, target)
        return RewiredState(inner.init(params), state)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        params = _transform.need_params(params, "rewired", state, RewiredState, updates)
        _transform.check_state(state.rewired_prune, PruneState, "rewired")
        masks, count, info, target = state.rewired_prune
        _transform.check_state(info, PruneInfo, "rewired")
        masks = _transform.like(params, masks, argument="prune_masks")
        # The inner optimizer sees no gradient of pruned weights: they get no moments.
        grads = jax.tree.map(
            lambda g, m: jnp.where(m, g, jnp.zeros_like(g)), updates, masks
        )
        steps, moments = inner.update(grads, state.rewired_inner, params, **extra)
        names = _names(params, prunable)
        weights_after = lambda: jax.tree.map(
            applied, params, project(steps, params, masks)
        )
        goal = _transform.density_or_nan(density)

        def change(carry: Any) -> Any:
            # k / n = (d / 2) (1 + cos(pi t / t_end)), t the updates done.
            progress = count.astype(jnp.float32) / max(end, 1)
            share = (
                jnp.asarray(drop, jnp.float32) / 2 * (1 + jnp.cos(math.pi * progress))
            )
            own = jax.random.fold_in(_own(key, params), count)
            new = _moved(names, carry[0], weights_after(), updates, share, grow, own)
            return new, _told(carry[0], carry[1], new, carry[1].prune_density)

        def resize(carry: Any) -> Any:
            own = jax.random.fold_in(_own(key, params), count)
            wish = updates if grow == "gradient" else drawn(params, own)
            rank = functools.partial(_ranked, goal < target)
            ranks = jax.tree.map(rank, carry[0], weights_after(), wish)
            new, share = at_density(ranks, params, names)
            return new, _told(carry[0], carry[1], new, share)

        due = (count % every == 0) & (count > 0) & (count < end) & (grow != "none")
        new = masks
        if names:  # none inside optax.partition, where another label has all leaves
            other = _transform.differs(goal, target)
            new, info = _transform.run_if(other, resize, (new, info))
            new, info = _transform.run_if(jnp.asarray(due), change, (new, info))
        # Kept before and after: of what grows the moments start at 0, as of what goes.
        survivors = jax.tree.map(jnp.logical_and, masks, new)
        moments = cleared(inner, moments, survivors, "rewired")
        prune_state = PruneState(new, _transform.increment(count), info, goal)
        # A weight that grows starts at the 0 at which it was held.
        steps = jax.tree.map(
            lambda u, m: jnp.where(m, u, jnp.zeros_like(u)), steps, masks
        )
        invalid = jnp.isnan(goal) | jnp.isnan(_transform.density_or_nan(drop))
        steps = _transform.nan_where(invalid, project(steps, params, new))
        return steps, RewiredState(moments, prune_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _own(key: Array, params: PyTree) -> Array:
    """Return a key of this device, where those of shard_map hold other weights."""
    for axis in sorted(varying_axes(params)):
        key = jax.random.fold_in(key, lax.axis_index(axis))
    return key


def _placed(drawn: Array, weight: Any) -> Array:
    """Return what was drawn on the devices of a weight that is bound to some."""
    concrete = isinstance(weight, jax.Array) and not isinstance(weight, Tracer)
    # A mask bound to a device where its weight is free could not join a mesh.
    bound = concrete and weight.committed
    return jax.device_put(drawn, weight.sharding) if bound else drawn


def _names(params: PyTree, prunable: Prunable) -> set[str]:
    return {leaf.name for leaf in leaves_of(params, prunable) if leaf.prunable}


def _told(old: PyTree, info: PruneInfo, new: PyTree, density: Array) -> PruneInfo:
    """Return what there is to read about a change of masks."""
    change = flips(old, new)
    number = jnp.asarray(change.pruned + change.regrown, jnp.int32)
    own = info._replace(prune_density=density, prune_flips=number)
    return of_all_devices(own, new, info)


def _ranked(smaller: Array, mask: Array, weight: Array, wish: Array) -> Array:
    """Return scores by which kept weights go first or last, others as is wished."""
    # An infinite size is never among the smallest.
    size = jnp.where(jnp.isfinite(weight), jnp.abs(weight), jnp.inf)
    wide = wide_dtype(size.dtype, jnp.float32)
    size, wish = size.astype(wide), jnp.abs(wish).astype(wide)
    # Fewer: pruned weights come last, below every size. More: kept ones come first.
    return jnp.where(smaller, jnp.where(mask, size, -1), jnp.where(mask, jnp.inf, wish))


def _moved(
    names: set[str],
    masks: PyTree,
    weights: PyTree,
    grads: PyTree,
    share: Array,
    grow: str,
    key: Array,
) -> PyTree:
    """Return masks after dropping and growing a share of each prunable leaf."""
    roles = leaves_of(weights, lambda name, leaf: name in names)
    indices = [i for i, leaf in enumerate(roles) if leaf.prunable]
    flat = jax.tree.leaves(masks)
    gates = tuple(flat[i] for i in indices)
    own = [roles[i].value for i in indices]
    counts = jnp.stack([jnp.sum(gate, dtype=jnp.int32) for gate in gates])
    # k of n: in float32 an n above 2**24 is rounded, by less than one part in 10**7.
    drops = jnp.floor(share * counts.astype(jnp.float32)).astype(jnp.int32)
    drops = jnp.clip(drops, 0, counts)
    size = tuple(jnp.where(jnp.isfinite(w), jnp.abs(w), jnp.inf) for w in own)
    origin = tuple((place, ()) for place in range(len(indices)))
    best = lambda values, gates, budget: solve(
        tuple((value,) for value in values),
        gates,
        budget,
        jnp.int32(0),
        score=itself,
        origin=origin,
        together=False,
        structures=(element(),) * len(origin),
    )[0]
    stay = best(size, gates, counts - drops)
    if grow == "gradient":
        slopes = jax.tree.leaves(grads)
        wish = tuple(jnp.abs(slopes[i]) for i in indices)
    else:
        keys = [jax.random.fold_in(key, i) for i in indices]
        wish = tuple(
            jax.random.uniform(k, w.shape, jnp.float32)
            for k, w in zip(keys, own, strict=True)
        )
    free = tuple(~mask for mask in stay)
    growth = best(wish, free, drops)
    for i, old, more in zip(indices, stay, growth, strict=True):
        flat[i] = old | more
    return jax.tree.unflatten(jax.tree.structure(masks), flat)


def straight_through(params: PyTree, masks: PyTree) -> PyTree:
    """Return masked parameters whose gradient is that of all.

    The value is w where the mask keeps and exactly 0 elsewhere; the derivative is 1
    everywhere. A loss of ``straight_through(params, masks_of(state))`` so trains the
    dense weights behind a mask that :func:`straight_through_masks` moves.

    Args:
        params: any pytree of arrays.
        masks: boolean tree like it.

    Raises:
        ValueError: if the masks do not fit.

    Reference:
        Bengio et al., arXiv 1308.3432.

    Example:
        >>> w, mask = {"w": jnp.ones(2)}, {"w": jnp.array([True, False])}
        >>> slope = jax.grad(lambda w: pruning.straight_through(w, mask)["w"].sum())(w)
        >>> pruning.straight_through(w, mask)["w"].tolist(), slope["w"].tolist()
        ([1.0, 0.0], [1.0, 1.0])
    """
    masks = _transform.like(params, masks, argument="masks")
    check_boolean(masks, "masks")
    return jax.tree.map(_masked, params, masks)


# By a rule of its own: w + stop_gradient(masked - w) is NaN where w is not finite.
@jax.custom_jvp
def _masked(weight: Array, mask: Array) -> Array:
    return jnp.where(mask, weight, jnp.zeros_like(weight))


@_masked.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> Any:
    return _masked(*primals), tangents[0]


def straight_through_masks(
    schedule: Any, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Choose masks as :func:`prune` does, and leave the dense weights as they are.

    Let the schedule choose at every step: behind a mask that holds for long, weights
    that the loss does not see run away.

    Args:
        schedule: from :mod:`pruning.schedules`.
        **options: those of :func:`prune`; weights may always return.

    Returns:
        A transform that passes updates on; its state is a :class:`PruneState`.

    Example:
        >>> move = pruning.straight_through_masks(pruning.one_shot(0, 0.5))
        >>> params, grads = {"w": jnp.array([[1.0, 2.0]])}, {"w": jnp.zeros((1, 2))}
        >>> updates, state = move.update(grads, move.init(params), params)
        >>> pruning.masks_of(state)["w"].tolist(), updates["w"].tolist()
        ([[False, True]], [[0.0, 0.0]])
    """
    pruner = prune(schedule, **{"regrow": True, **options})

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        new = cast(PruneState, pruner.update(updates, state, params, **extra)[1])
        return _transform.nan_where(jnp.isnan(new.prune_target), updates), new

    return optax.GradientTransformationExtraArgs(pruner.init, update)
