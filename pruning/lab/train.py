"""One run from data to report: train dense, prune gradually, fine-tune, test once.

:func:`fit` runs three stages for a vector of seeds. Inside an epoch everything is
one jitted call; between epochs the host records, keeps snapshots and checkpoints. A
run that is killed at any point and resumed ends in the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from pruning.lab import checkpoints, loop, models, runs, snapshots
from pruning.lab.config import Config, check
from pruning.lab.data import Dataset, load
from pruning.lab.methods import prunable_of, transform
from pruning.lab.progress import Progress
from pruning.masks import full_mask, magnitude_mask
from pruning.trees import named_leaves


class NonFiniteError(RuntimeError):
    """The training loss stopped being a number; the last checkpoint is kept."""


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


class Stage(NamedTuple):
    """One stage of a run.

    Attributes:
        name: ``dense``, ``prune`` or ``tune``.
        epochs: how many.
        tx: the optax chain.
        rules: when and how it cuts.
    """

    name: str
    epochs: int
    tx: optax.GradientTransformationExtraArgs
    rules: loop.Rules


class _Run(NamedTuple):
    """What all stages share."""

    config: Config
    folder: runs.RunFolder
    data: Dataset
    init_fn: Callable[[Any], Any]
    apply_fn: Callable[[Any, Any], Any]
    stages: tuple[Stage, ...]
    progress: Progress
    started: float

    @property
    def snapshots(self) -> Path:
        return self.folder.path / "snapshots"

    def epochs_before(self, stage: int) -> int:
        """Epochs of the run that lie before a stage."""
        return sum(s.epochs for s in self.stages[:stage])


def fit(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> Result:
    """Run (or take up) a training run.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`pruning.lab.runs`.
        resume: take up the run in the folder. The result is the same, bit for bit on
            the same device, as if it had not been interrupted.
        quiet: show no progress.

    Returns:
        The operating points; ``summary.json`` in the folder holds the same.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        pruning.lab.checkpoints.CheckpointError: a damaged or foreign checkpoint.
        NonFiniteError: a loss that is not finite; names the step.
    """
    check(config)
    data = load(
        config.dataset,
        data_dir=config.data_dir,
        limit=config.limit,
        progress=not quiet,
    )
    if config.batch > len(data.train.label):
        raise ValueError(
            f"batch: expected at most {len(data.train.label)} (the training examples), "
            f"got {config.batch}"
        )
    folder = runs.create(
        run_dir, config, resume=resume, ignore=("data_dir", "checkpoint_every")
    )
    if folder.summary.exists():
        return _finished(config, folder)
    init_fn, apply_fn = models.build(
        config.model, data.classes, data.train.image.shape[1:]
    )
    with Progress(quiet=quiet) as progress:
        run = _Run(
            config,
            folder,
            data,
            init_fn,
            apply_fn,
            _stages(config, apply_fn, data.classes),
            progress,
            time.monotonic(),
        )
        return _execute(run)


def _stages(
    config: Config, apply_fn: Callable[[Any, Any], Any], classes: int
) -> tuple[Stage, ...]:
    make = partial(transform, config, apply_fn, classes)
    rules = loop.Rules(
        False,
        config.patience,
        config.margin,
        config.tolerance,
        prunable_of(config),
    )
    one_shot = config.method.startswith("one-shot")
    return (
        Stage("dense", config.dense_epochs, make(lr=config.lr, decay=False), rules),
        Stage(
            "prune",
            0 if one_shot else config.prune_epochs,
            make(lr=config.lr, decay=True),
            rules._replace(cuts=True),
        ),
        Stage("tune", config.tune_epochs, make(lr=config.tune_lr, decay=False), rules),
    )


# --- members ---------------------------------------------------------------------


def _over_members(config: Config, function: Callable[..., Any]) -> Callable[..., Any]:
    """Map ``function(member, *shared)`` over the leading axis of the members.

    On a CPU one member after the other: a batched matrix product is slower there
    than the same products in turn.
    """
    axis = config.seed_axis
    if axis == "auto":
        axis = "map" if jax.default_backend() == "cpu" else "vmap"
    if axis == "vmap":
        return lambda members, *shared: jax.vmap(lambda m: function(m, *shared))(
            members
        )
    return lambda members, *shared: lax.map(lambda m: function(m, *shared), members)


def _starting(run: _Run, index: int) -> Any:
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
        chosen = [(s.member, s.name) for s, _ in _operating_points(run)]
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
    keys = jnp.stack(
        [
            jax.random.fold_in(
                jax.random.fold_in(jax.random.key(config.seeds[member]), 2 + index), i
            )
            for i, (member, _) in enumerate(chosen)
        ]
    )
    return jax.jit(jax.vmap(lambda p, k, m: begin(p, k, masks=m)))(params, keys, masks)


def _operating_points(run: _Run) -> list[tuple[snapshots.Snapshot, bool]]:
    """Choose on validation, for each seed, the points to fine-tune and test."""
    everything = snapshots.listing(run.snapshots)
    points = []
    for member in range(len(run.config.seeds)):
        own = [s for s in everything if s.member == member]
        for target in _targets(run.config):
            points.append(
                snapshots.choose(own, target=target, accept=run.config.accept)
            )
    return points


def _targets(config: Config) -> list[float | None]:
    accepted = [] if config.method.startswith("one-shot") else [None]
    return [*accepted, *config.targets]


# --- the run ---------------------------------------------------------------------


def _execute(run: _Run) -> Result:
    """Run each stage from the last checkpoint on, then test and report."""
    first, done, members = _restored(run)
    if first == 0 and done == 0:
        members = _starting(run, 0)
    for index in range(first, len(run.stages)):
        if index > first:
            members, done = _starting(run, index), 0
        members = _run_stage(run, index, members, done)
        _close_stage(run, index, members)
    return _report(run, members)


def _restored(run: _Run) -> tuple[int, int, Any]:
    """Return (stage, epochs done in it, members) of the newest checkpoint."""
    folder = run.folder.checkpoints
    if checkpoints.latest(folder) is None:
        runs.keep_metrics(run.folder, last=0)
        return 0, 0, None
    meta = checkpoints.read_meta(folder)
    stage, done = int(meta["stage"]), int(meta["done"])
    total = run.epochs_before(stage) + done
    runs.keep_metrics(run.folder, last=total)
    like = jax.eval_shape(lambda: _starting_shape(run, stage))
    restored = checkpoints.restore(folder, like, step=total)
    return stage, done, restored.state


def _starting_shape(run: _Run, index: int) -> Any:
    """Return members of a stage for their shapes alone."""
    stage, seeds = run.stages[index], len(run.config.seeds)
    count = seeds * len(_targets(run.config)) if stage.name == "tune" else seeds

    def one(key: Any) -> Any:
        params = run.init_fn(key)
        return loop.start(params, key, stage.tx, full_mask(params), stage.rules)

    return jax.vmap(one)(jax.random.split(jax.random.key(0), count))


def _run_stage(run: _Run, index: int, members: Any, done: int) -> Any:
    """Run the epochs of a stage that are not done yet."""
    stage, config = run.stages[index], run.config
    if done >= stage.epochs:
        return members
    train, validation = jax.device_put((run.data.train, run.data.validation))
    step = partial(
        loop.epoch,
        apply_fn=run.apply_fn,
        tx=stage.tx,
        rules=stage.rules,
        batch=config.batch,
    )
    run_epoch = jax.jit(
        lambda members, number, train, validation: _over_members(config, step)(
            members, number, train, validation
        )
    )
    before = run.epochs_before(index)
    with run.progress.stage(stage.name, done, stage.epochs) as report:
        for number in range(done, stage.epochs):
            if _rewind_now(run, stage, number):
                _keep_rewind(run, members, number)
            members, info = run_epoch(
                members, jnp.asarray(number, jnp.int32), train, validation
            )
            info = jax.device_get(info)
            _guard(run, stage, number, info)
            record = _record(run, stage, before + number + 1, info)
            _keep_cuts(run, before + number + 1, info)
            runs.append_metrics(run.folder, record)
            report(record)
            last = number + 1 == stage.epochs
            if last or (number + 1) % config.checkpoint_every == 0:
                checkpoints.save(
                    run.folder.checkpoints,
                    members,
                    step=before + number + 1,
                    meta={"stage": index, "done": number + 1},
                )
    return members


def _guard(run: _Run, stage: Stage, number: int, info: Any) -> None:
    """Stop at a loss that is not finite, before anything is saved over."""
    bad = ~np.isfinite(info.losses)
    if not bad.any() and np.isfinite(info.loss).all():
        return
    member = int(np.argmax(bad.any(1) | ~np.isfinite(info.loss)))
    where = np.flatnonzero(bad[member])
    step = int(where[0]) if where.size else bad.shape[1]
    raise NonFiniteError(
        f"stage {stage.name}, epoch {number + 1}, step {step + 1}: the loss of network "
        f"{member + 1} of {len(bad)} is not finite. The last checkpoint is kept in "
        f"{run.folder.checkpoints}; a smaller lr (now {run.config.lr}) may help."
    )


def _record(run: _Run, stage: Stage, total: int, info: Any) -> dict[str, Any]:
    """Return one line of ``metrics.jsonl``."""
    return {
        "epoch": total,
        "stage": stage.name,
        "train_loss": info.losses.mean(1),
        "validation_loss": info.loss,
        "validation_error": info.error,
        "cut": info.cut,
        "threshold": info.threshold,
        "searched": info.searched,
        "elapsed_s": round(time.monotonic() - run.started, 3),
    }


# --- snapshots -------------------------------------------------------------------


def _rewind_now(run: _Run, stage: Stage, number: int) -> bool:
    config = run.config
    return (
        config.method == "one-shot-rewind"
        and stage.name == "dense"
        and number == config.rewind_epoch
    )


def _keep(
    run: _Run, member: int, name: str, epoch: int, best: loop.Best, masks: Any
) -> None:
    """Write a snapshot of one member."""
    kept = sum(int(np.sum(leaf)) for leaf in jax.tree.leaves(masks))
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(masks))
    snapshots.write(
        run.snapshots,
        snapshots.Snapshot(
            member, name, epoch, float(best.loss), float(best.error), kept, total
        ),
        best.params,
        masks,
    )


def _member(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), tree)


def _alive(params: Any) -> Any:
    """Return the mask of what is not exactly zero."""
    return jax.tree.map(lambda leaf: leaf != 0, params)


def _keep_rewind(run: _Run, members: Any, epoch: int) -> None:
    for index in range(len(run.config.seeds)):
        params = _member(members.params, index)
        best = loop.Best(params, np.inf, np.ones(()))  # pyright: ignore
        _keep(run, index, "rewind", epoch, best, full_mask(params))


def _keep_cuts(run: _Run, epoch: int, info: Any) -> None:
    """Write the best weights that each cut of this epoch started from."""
    for index in np.flatnonzero(info.cut):
        best = _member(info.before, int(index))
        name = f"cut-{epoch:05d}"
        _keep(run, int(index), name, epoch, best, _alive(best.params))


def _close_stage(run: _Run, index: int, members: Any) -> None:
    """Write what later stages start from; the same bits however often it is done."""
    stage, config = run.stages[index], run.config
    epoch = run.epochs_before(index) + stage.epochs
    if stage.name == "tune":
        return
    for member in range(len(config.seeds)):
        best = _member(members.best, member)
        if stage.name == "dense":
            _keep(run, member, "dense", epoch, best, full_mask(best.params))
            if _rewind_now(run, stage, stage.epochs):
                _keep_rewind(run, members, epoch)
            if config.method.startswith("one-shot"):
                _keep_one_shot(run, member, epoch, best)
        elif np.isfinite(best.loss):  # epochs since the last cut
            _keep(run, member, f"cut-{epoch:05d}-end", epoch, best, _alive(best.params))


def _keep_one_shot(run: _Run, member: int, epoch: int, best: loop.Best) -> None:
    """Write the dense weights cut to each target at once, by magnitude."""
    for target in run.config.targets:
        masks = magnitude_mask(
            best.params, 1 / target, prunable=prunable_of(run.config)
        )
        _keep(run, member, f"one-shot-{target:g}", epoch, best, masks)


# --- the end ---------------------------------------------------------------------


def _report(run: _Run, members: Any) -> Result:
    """Test every operating point, once, and write the summary."""
    config = run.config
    test = jax.device_put(run.data.test)
    errors = jax.jit(
        lambda params, test: lax.map(
            lambda p: loop.evaluate(run.apply_fn, p, test)[1], params
        )
    )
    chosen = _operating_points(run)
    targets = _targets(config)
    table = {(s.member, s.name): s for s in snapshots.listing(run.snapshots)}
    like = jax.eval_shape(run.init_fn, jax.random.key(0))
    dense = [
        snapshots.read(run.snapshots, table[m, "dense"], like)[0]
        for m in range(len(config.seeds))
    ]
    tuned = [_member(members.best.params, i) for i in range(len(chosen))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *dense, *tuned)
    tested = np.asarray(errors(stacked, test))
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
                float(members.best.error[i]),
                tested[len(dense) + i],
            )
        )
    shapes = {name: tuple(leaf.shape) for name, leaf in named_leaves(like)}
    wall = sum(
        record["elapsed_s"]
        for record in _last_of_sittings(runs.read_metrics(run.folder))
    )
    result = Result(config, run.folder.path, tuple(points), shapes, wall)
    for i, params in enumerate(tuned):
        snapshot = chosen[i][0]._replace(member=i, name="tuned")
        snapshots.write(run.folder.path / "tuned", snapshot, params, _alive(params))
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


def _last_of_sittings(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last record of each sitting: the clock restarts with each."""
    return [
        record
        for record, following in zip(records, [*records[1:], None], strict=True)
        if following is None or following["elapsed_s"] < record["elapsed_s"]
    ]


def _finished(config: Config, folder: runs.RunFolder) -> Result:
    """Return the result of a run that had already ended."""
    summary = runs.read_json(folder.summary)
    results = summary["results"]
    points = tuple(Point(**point) for point in results["points"])
    shapes = {name: tuple(shape) for name, shape in results["shapes"].items()}
    return Result(config, folder.path, points, shapes, summary["wall_s"])
