"""One selection over layers: keys, the choice among them, masks."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pruning import _select
from pruning._varying import vary, varying_axes
from pruning.structures import Structure
from synaptax.typing import Array


@functools.partial(
    jax.jit, static_argnames=("score", "origin", "together", "structures")
)
def solve(
    leaves: tuple[tuple[Array, ...], ...],
    allowed: tuple[Array, ...] | None,
    budget: Array,
    floor: Array,
    *,
    score: Callable[..., Array],
    origin: tuple[tuple[int, tuple[int, ...]], ...],
    together: bool,
    structures: tuple[Structure, ...],
) -> tuple[tuple[Array, ...], Array, Array, list[Array]]:
    """Return masks of the layers, the weights kept, the smallest score, floored flags.

    Args:
        leaves: of each prunable leaf, what its scores are computed from.
        allowed: boolean, entries that may be kept; None where all may.
        budget: (layers,) int32; one number in all entries where ``together``.
        floor: int32, groups that each layer keeps at least.
        score: from the arrays of a leaf to its scores.
        origin: of each layer its leaf, and its place in a stack.
        together: rank all layers in one.
        structures: of each layer.
    """
    # In shard_map each device chooses among its own part of the weights.
    budget = vary(budget, varying_axes((leaves, allowed)))

    def scored(layer: int, turn: Array = budget[0]) -> tuple[Array, Array | None]:
        index, place = origin[layer]
        at = lambda leaf: _select.anew(leaf[place] if place else leaf, turn)
        gate = None if allowed is None else at(allowed[index])
        return score(*map(at, leaves[index])), gate

    layers = range(len(origin))
    forms = [jax.eval_shape(functools.partial(scored, layer))[0] for layer in layers]
    # One float64 layer makes all keys 64-bit: those of two
    # widths cannot be ranked together.
    wide = any(leaf.dtype == jnp.float64 for leaf in forms)

    def keys_of(layer: int, turn: Array) -> Array:
        leaf, gate = scored(layer, turn)
        structure = structures[layer]
        key = _select.ordered_keys(structure.group_scores(leaf, gate), wide=wide)
        eligible = structure.eligible(leaf, gate)
        if eligible is None:
            return key
        return jnp.where(eligible, key, jnp.asarray(_select.EXCLUDED, key.dtype))

    keys = []
    for layer in layers:
        make = functools.partial(keys_of, layer)
        if type(structures[layer]) is not Structure:
            # Of a group, or of a rank among neighbours, once is enough.
            group_keys = make(budget[0])
            make = lambda turn, group_keys=group_keys: group_keys
        keys.append(_select.Keys(jax.eval_shape(make, budget[0]).shape, make))
    sizes = [
        structure.group_size(tuple(leaf.shape))
        for structure, leaf in zip(structures, forms, strict=True)
    ]
    choice = _select.choose(
        keys,
        jnp.uint64 if wide else jnp.uint32,
        sizes,
        budget,
        together=together,
        floor=floor,
    )
    survivors, lowest, masks = jnp.int32(0), jnp.float32(jnp.inf), []
    for i in layers:
        turn = choice.kept[i]
        leaf, gate = scored(i, turn)
        groups = _select.chosen(keys[i].make(turn), choice.bound[i], choice.cut[i])
        mask = structures[i].expand(groups, tuple(leaf.shape))
        # The group's decision is spread over the leaf as the leaf itself is spread.
        mask = mask & (jnp.ones_like(leaf, dtype=bool) if gate is None else gate)
        masks.append(mask)
        value = structures[i].group_scores(leaf, gate)
        number, smallest = _select.least(groups, value.astype(jnp.float32))
        # Of a group that is kept only what ``allowed`` lets stay counts.
        survivors += number if sizes[i] == 1 else _select.total(mask)
        lowest = jnp.minimum(lowest, smallest)
    floored = [choice.floored[i] for i in layers]
    return tuple(masks), survivors, lowest, floored
