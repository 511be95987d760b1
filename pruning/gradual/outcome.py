"""The end of a run: every operating point tested once, and the summary."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pruning.gradual import snapshots
from pruning.gradual.config import Config
from pruning.gradual.handover import (
    Run,
    Target,
    host_replica,
    operating_points,
    read_point,
    targets_of,
)
from pruning.transforms import masks_of
from synaptax import runs
from synaptax.nets import models
from synaptax.runs import processes
from synaptax.runs.reading import typed
from synaptax.training import evaluation
from synaptax.trees import named_leaves


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


def report(run: Run, state: Any, started: float) -> None:
    """Test every operating point, once, and write the summary.

    Args:
        run: what the stages shared.
        state: of the tuning stage, a replica for each operating point.
        started: when the run began, on the monotonic clock.
    """
    config = run.config
    test, validation = jax.device_put((run.data.test, run.data.validation))

    def error_of(network: tuple[Any, Any], data: Any) -> Any:
        params, stats = network
        apply_fn = evaluation.evaluating(run.net, stats)
        return evaluation.evaluate(apply_fn, params, data)[1]

    errors = jax.jit(
        lambda networks, data: lax.map(lambda n: error_of(n, data), networks)
    )
    pairs = operating_points(run)
    targets = targets_of(config)
    table = {(s.replica, s.name): s for s in run.listing()}
    records = [table[index, "dense"] for index in range(len(config.seeds))]
    dense = [(params, s) for params, _, s in (read_point(run, r) for r in records)]
    best = state.best.params, state.best.stats
    tuned = [host_replica(best, i) for i in range(len(pairs))]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *dense, *tuned)
    test_errors = np.asarray(errors(stack, test))
    validation_errors = np.asarray(errors(stack, validation))
    points = [
        _point(seed, 1.0, True, dense[i][0], records[i].error, test_errors[i])
        for i, seed in enumerate(config.seeds)
    ]
    for i, (snapshot, reached) in enumerate(pairs):
        target = _compression(targets[i % len(targets)], snapshot.total)
        seed, errors_at = config.seeds[snapshot.replica], len(dense) + i
        points.append(
            _point(
                seed,
                target,
                reached,
                tuned[i][0],
                validation_errors[errors_at],
                test_errors[errors_at],
            )
        )
    if processes.first():
        masks = masks_of(state.opt_state)
        masks = [host_replica(masks, i) for i in range(len(pairs))]
        _write(run, points, [c[0] for c in pairs], tuned, masks, started)
    processes.barrier("synaptax run: summary")


def _compression(target: Target, total: int) -> float | None:
    """Return the compression that a target stands for; None: the accepted point."""
    return target.compression if target.keep is None else total / max(target.keep, 1)


def _write(
    run: Run,
    points: list[Point],
    chosen: list[Any],
    tuned: list[Any],
    masks: list[Any],
    started: float,
) -> None:
    """Write the fine-tuned networks and the summary."""
    for i, (params, stats) in enumerate(tuned):
        snapshot = chosen[i]._replace(replica=i, name="tuned")
        snapshots.write(
            run.folder.path / "tuned",
            snapshot,
            params,
            masks[i],
            stats,
            run=run.folder.digest,
        )
    runs.write_summary(
        run.folder,
        {
            "points": [point._asdict() for point in points],
            "shapes": {name: leaf.shape for name, leaf in named_leaves(run.like[0])},
            "classes": run.data.classes,
            "image_shape": run.data.train.image.shape[1:],
        },
        config=run.config,
        seeds=run.config.seeds,
        wall_s=time.monotonic() - started,
    )


def _point(
    seed: int,
    target: float | None,
    reached: bool,
    params: Any,
    validation: Any,
    test: Any,
) -> Point:
    counts = {n: int(np.count_nonzero(leaf)) for n, leaf in named_leaves(params)}
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    compression = total / max(sum(counts.values()), 1)
    return Point(
        seed, target, reached, compression, counts, float(validation), float(test)
    )


def finished(config: Config, folder: runs.RunFolder) -> Result:
    """Return what the summary of a run that has ended says."""
    results, wall_s = _results_of(folder)
    return Result(config, folder.path, results.points, results.shapes, wall_s)


class _Results(NamedTuple):
    """The results in the summary of a finished run."""

    points: tuple[Point, ...]
    shapes: dict[str, tuple[int, ...]]
    classes: int
    image_shape: tuple[int, ...]


class Loaded(NamedTuple):
    """One operating point of a finished run with its network.

    Attributes:
        point: what the run reported of it.
        params: the weights, nested dicts of arrays.
        stats: batch-norm's running moments; ``{}`` for a network without state.
        mask: True where a parameter is kept; all True for a dense point.
    """

    point: Point
    params: Any
    stats: Any
    mask: Any


def load_points(run_dir: str | Path) -> list[Loaded]:
    """Return the operating points of a finished run, each with its network.

    Args:
        run_dir: a run folder as :func:`pruning.gradual.train.fit` leaves it.

    Returns:
        In the order of ``Result.points``: the dense networks, one for each seed, then
        the fine-tuned ones, by seed and target.

    Raises:
        ValueError: naming the folder or file, if the run is not finished or a file is
            damaged.

    Example:
        >>> net = load_network("runs/lenet5-1")  # doctest: +SKIP
        >>> for point, params, stats, mask in load_points("runs/lenet5-1"):
        ...     logits = net.apply(params, stats, images)  # doctest: +SKIP
    """
    folder = runs.RunFolder(Path(run_dir).expanduser().absolute())
    points = _results_of(folder)[0].points
    seeds = len({point.seed for point in points})
    results = []
    for index, point in enumerate(points):
        # The dense networks come first, one for each seed: see report.
        dense = index < seeds
        where = folder.path / ("snapshots" if dense else "tuned")
        replica, name = (index, "dense") if dense else (index - seeds, "tuned")
        trees = snapshots.read_all(where, replica, name)
        params, mask, stats = jax.tree.map(jnp.asarray, trees)
        results.append(Loaded(point, params, stats, mask))
    return results


def load_network(run_dir: str | Path, **options: Any) -> models.Network:
    """Return the network of a finished run.

    Args:
        run_dir: a run folder.
        options: of the network, such as ``rectify="full"``; they change how it is
            computed, not what its parameters are.

    Raises:
        ValueError: if the run is not finished, or an option is not the network's.
    """
    folder = runs.RunFolder(Path(run_dir).expanduser().absolute())
    results, _ = _results_of(folder)
    name = runs.read_json(folder.config)["model"]
    return models.network(name, results.classes, results.image_shape, **options)


def _results_of(folder: runs.RunFolder) -> tuple[_Results, float]:
    """Return the results and the seconds in a finished run's summary."""
    path = folder.summary
    if not path.exists():
        raise ValueError(
            f"{folder.path}: expected a finished run, but there is no {path.name}"
        )
    summary = runs.read_summary(path)
    fields = {name: summary["results"].get(name) for name in _Results._fields}
    results = typed(path, fields, _Results)
    for number, point in enumerate(results.points, start=1):
        _check(path, number, point, results.shapes)
    return results, float(summary["wall_s"])


def _check(
    path: Path, number: int, point: Point, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Raise a FileError that names a field of a point that cannot be."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    counts = point.kept
    inside = counts.keys() == sizes.keys() and all(
        0 <= counts[name] <= sizes[name] for name in sizes
    )
    compression = sum(sizes.values()) / max(sum(counts.values()), 1)
    good = {
        "kept": inside,
        "compression": inside and math.isclose(point.compression, compression),
        "validation_error": 0 <= point.validation_error <= 1,
        "test_error": 0 <= point.test_error <= 1,
    }
    for name, is_good in good.items():
        if not is_good:
            raise runs.FileError(
                f"{path}: point {number}: field {name}: {getattr(point, name)!r}"
            )
