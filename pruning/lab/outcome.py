"""The end of a run: every operating point tested once, and the summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pruning.lab import loop, runs, snapshots
from pruning.lab.config import Config
from pruning.lab.context import Run
from pruning.lab.keeping import alive, member_of
from pruning.lab.members import operating_points, targets_of
from pruning.trees import named_leaves


class Point(NamedTuple):
    """One operating point of one seed, after fine-tuning.

    Attributes:
        seed: the training seed.
        target: the compression asked for; ``None`` for the accepted point, 1.0 for
            dense.
        reached: whether the run offered that compression.
        compression: total over kept, all parameters.
        kept: per leaf, parameters kept.
        validation_error: a fraction; on it the weights were chosen.
        test_error: a fraction; computed once, at the end of the run.
    """

    seed: int
    target: float | None
    reached: bool
    compression: float
    kept: dict[str, int]
    validation_error: float
    test_error: float


@dataclass(frozen=True)
class Result:
    """What a finished run offers.

    Attributes:
        config: what was asked.
        folder: the run folder's path.
        points: operating points, dense first, per seed and target.
        shapes: per leaf, its shape.
        wall_s: wall time over all sittings, in seconds.
    """

    config: Config
    folder: Path
    points: tuple[Point, ...]
    shapes: dict[str, tuple[int, ...]]
    wall_s: float


def report(run: Run, members: Any) -> Result:
    """Test every operating point, once, and write the summary."""
    config = run.config
    test = jax.device_put(run.data.test)
    errors = jax.jit(
        lambda params, test: lax.map(
            lambda p: loop.evaluate(run.apply_fn, p, test)[1], params
        )
    )
    chosen = operating_points(run)
    targets = targets_of(config)
    table = {(s.member, s.name): s for s in snapshots.listing(run.snapshots)}
    like = jax.eval_shape(run.init_fn, jax.random.key(0))
    dense = [
        snapshots.read(run.snapshots, table[m, "dense"], like)[0]
        for m in range(len(config.seeds))
    ]
    tuned = [member_of(members.best.params, i) for i in range(len(chosen))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *dense, *tuned)
    tested = np.asarray(errors(stacked, test))
    validation = jax.device_put(run.data.validation)
    validated = np.asarray(errors(stacked, validation))[len(dense) :]
    points = []
    for member, seed in enumerate(config.seeds):
        record = table[member, "dense"]
        points.append(
            _point(seed, 1.0, True, dense[member], record.error, tested[member])
        )
    for i, (snapshot, reached) in enumerate(chosen):
        points.append(
            _point(
                config.seeds[snapshot.member],
                targets[i % len(targets)],
                reached,
                tuned[i],
                float(validated[i]),
                tested[len(dense) + i],
            )
        )
    shapes = {name: tuple(leaf.shape) for name, leaf in named_leaves(like)}
    wall = time.monotonic() - run.started
    result = Result(config, run.folder.path, tuple(points), shapes, wall)
    for i, params in enumerate(tuned):
        snapshot = chosen[i][0]._replace(member=i, name="tuned")
        snapshots.write(run.folder.path / "tuned", snapshot, params, alive(params))
    runs.write_summary(
        run.folder,
        {"points": [p._asdict() for p in points], "shapes": shapes},
        config=config,
        seeds=config.seeds,
        wall_s=wall,
    )
    return result


def _point(
    seed: int,
    target: float | None,
    reached: bool,
    params: Any,
    validation: float,
    test: Any,
) -> Point:
    kept = {n: int(np.count_nonzero(leaf)) for n, leaf in named_leaves(params)}
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    compression = total / max(sum(kept.values()), 1)
    return Point(
        seed, target, reached, compression, kept, float(validation), float(test)
    )


def finished(config: Config, folder: runs.RunFolder) -> Result:
    """Return the result of a run that had already ended."""
    summary = runs.read_json(folder.summary)
    results = summary["results"]
    points = tuple(Point(**point) for point in results["points"])
    shapes = {name: tuple(shape) for name, shape in results["shapes"].items()}
    return Result(config, folder.path, points, shapes, summary["wall_s"])
