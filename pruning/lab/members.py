"""The networks of a run, side by side: one for each seed or operating point."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pruning.lab import loop, snapshots
from pruning.lab.config import Config
from pruning.lab.context import Run
from pruning.masks import full_mask


def over_members(axis: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Map ``function(member, *shared)`` over the leading axis of the members.

    Args:
        axis: ``map`` (one after the other), ``vmap`` (at once) or ``auto``.
        function: of one member.

    """
    if axis == "auto":
        # A batched matrix product is slower on a CPU than the same products in turn.
        axis = "map" if jax.default_backend() == "cpu" else "vmap"
    if axis == "vmap":
        return lambda members, *shared: jax.vmap(lambda m: function(m, *shared))(
            members
        )
    return lambda members, *shared: lax.map(lambda m: function(m, *shared), members)


def starting(run: Run, index: int) -> Any:
    """Return the members at the start of a stage."""
    stage, config = run.stages[index], run.config
    begin = partial(loop.start, tx=stage.tx, rules=stage.rules)
    if stage.name == "dense":
        keys = jnp.stack([jax.random.key(seed) for seed in config.seeds])
        params = jax.jit(jax.vmap(lambda k: run.init_fn(jax.random.fold_in(k, 0))))(
            keys
        )
        orders = jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)
        return jax.jit(jax.vmap(lambda p, k: begin(p, k, masks=full_mask(p))))(
            params, orders
        )
    if stage.name == "prune":
        chosen = [(member, "dense") for member in range(len(config.seeds))]
    else:
        chosen = [(s.member, s.name) for s, _ in operating_points(run)]
    like = jax.eval_shape(run.init_fn, jax.random.key(0))
    table = {(s.member, s.name): s for s in snapshots.listing(run.snapshots)}
    pairs = [snapshots.read(run.snapshots, table[c], like) for c in chosen]
    if stage.name == "tune" and config.method == "one-shot-rewind":
        rewound = [
            snapshots.read(run.snapshots, table[member, "rewind"], like)[0]
            for member, _ in chosen
        ]
        pairs = [(params, pair[1]) for params, pair in zip(rewound, pairs, strict=True)]
    params, masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)
    each = len(chosen) // len(config.seeds)
    keys = jnp.stack(
        [
            jax.random.fold_in(
                jax.random.fold_in(jax.random.key(config.seeds[member]), 2 + index),
                i % each,  # its place among the seed's own: other seeds change nothing
            )
            for i, (member, _) in enumerate(chosen)
        ]
    )
    return jax.jit(jax.vmap(lambda p, k, m: begin(p, k, masks=m)))(params, keys, masks)


def starting_shape(run: Run, index: int) -> Any:
    """Return members of a stage for their shapes alone."""
    stage, seeds = run.stages[index], len(run.config.seeds)
    count = seeds * len(targets_of(run.config)) if stage.name == "tune" else seeds

    def one(key: Any) -> Any:
        params = run.init_fn(key)
        return loop.start(params, key, stage.tx, full_mask(params), stage.rules)

    return jax.vmap(one)(jax.random.split(jax.random.key(0), count))


def operating_points(run: Run) -> list[tuple[snapshots.Snapshot, bool]]:
    """Choose on validation, for each seed, the points to fine-tune and test."""
    everything = snapshots.listing(run.snapshots)
    points = []
    for member in range(len(run.config.seeds)):
        own = [s for s in everything if s.member == member]
        for target in targets_of(run.config):
            if target is not None and run.config.method.startswith("one-shot"):
                (cut,) = (s for s in own if s.name == one_shot_name(target))
                points.append((cut, True))
                continue
            points.append(
                snapshots.choose(own, target=target, accept=run.config.accept)
            )
    return points


def one_shot_name(target: float) -> str:
    """Return the name of the snapshot that one-shot pruning cuts to a compression."""
    return f"one-shot-{target:g}"


def targets_of(config: Config) -> list[float | None]:
    """Return the compressions wanted; ``None`` stands for the accepted point."""
    accepted = [] if config.method.startswith("one-shot") else [None]
    return [*accepted, *config.targets]
