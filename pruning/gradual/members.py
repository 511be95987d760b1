"""The networks of a run, side by side: one for each seed or operating point."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pruning.gradual import loop, snapshots
from pruning.gradual.config import Config
from pruning.gradual.stages import Run
from pruning.masks import full_mask


def starting(run: Run, index: int) -> Any:
    """Return the members at the start of a stage."""
    stage, config = run.stages[index], run.config
    begin = partial(loop.start, tx=stage.tx, rules=stage.rules)
    if stage.name == "dense":
        keys = jnp.stack([jax.random.key(seed) for seed in config.seeds])
        params, stats = jax.jit(
            jax.vmap(lambda k: run.net.init(jax.random.fold_in(k, 0)))
        )(keys)
        orders = jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)
        return jax.jit(
            jax.vmap(lambda p, s, k: begin(p, k, masks=full_mask(p), stats=s))
        )(params, stats, orders)
    if stage.name == "prune":
        chosen = [(member, "dense") for member in range(len(config.seeds))]
    else:
        chosen = [(s.member, s.name) for s, _ in operating_points(run)]
    table = {(s.member, s.name): s for s in snapshots.listing(run.snapshots)}
    found = [read_point(run, table[c]) for c in chosen]
    if stage.name == "tune" and config.method == "one-shot-rewind":
        rewound = [read_point(run, table[member, "rewind"]) for member, _ in chosen]
        found = [
            (params, masks, stats)
            for (params, _, stats), (_, masks, _) in zip(rewound, found, strict=True)
        ]
    params, masks, stats = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
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
    return jax.jit(jax.vmap(lambda p, k, m, s: begin(p, k, masks=m, stats=s)))(
        params, keys, masks, stats
    )


def read_point(run: Run, snapshot: snapshots.Snapshot) -> tuple[Any, Any, Any]:
    """Return (params, masks, stats) of one of the run's snapshots."""
    like, stats = run.like
    return (
        *snapshots.read(run.snapshots, snapshot, like),
        snapshots.read_stats(run.snapshots, snapshot, stats),
    )


def starting_shape(run: Run, index: int) -> Any:
    """Return members of a stage for their shapes alone."""
    stage, seeds = run.stages[index], len(run.config.seeds)
    count = seeds * len(targets_of(run.config)) if stage.name == "tune" else seeds

    def one(key: Any) -> Any:
        params, stats = run.net.init(key)
        return loop.start(params, key, stage.tx, full_mask(params), stage.rules, stats)

    return jax.vmap(one)(jax.random.split(jax.random.key(0), count))


def operating_points(run: Run) -> list[tuple[snapshots.Snapshot, bool]]:
    """Choose on validation, for each seed, the points to fine-tune and test."""
    config, everything = run.config, snapshots.listing(run.snapshots)
    points = []
    for member in range(len(config.seeds)):
        own = [s for s in everything if s.member == member]
        for target in targets_of(config):
            if config.method.startswith("one-shot"):
                (cut,) = (s for s in own if s.name == one_shot_name(target))
                points.append((cut, True))
                continue
            points.append(
                snapshots.choose(own, target=target.compression, accept=config.accept)
            )
    return points


class Target(NamedTuple):
    """What an operating point is asked for; neither: the accepted point.

    Attributes:
        compression: total over kept.
        keep: the exact number of parameters kept, of all (one-shot).
    """

    compression: float | None = None
    keep: int | None = None


def one_shot_name(target: Target) -> str:
    """Return the name of the snapshot that one-shot pruning cuts to a target."""
    if target.keep is not None:
        return f"one-shot-keep-{target.keep}"
    return f"one-shot-{target.compression:g}"


def targets_of(config: Config) -> list[Target]:
    """Return what the operating points of each seed are asked for, in order."""
    compressions = [Target(compression=target) for target in config.targets]
    if config.method.startswith("one-shot"):
        return [*compressions, *(Target(keep=keep) for keep in config.keep)]
    return [Target(), *compressions]
