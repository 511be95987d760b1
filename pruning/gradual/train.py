"""One run from data to report: train dense, prune gradually, fine-tune, test once.

:func:`fit` gives three stages to :func:`synaptax.training.run`. Their mathematics is in
:mod:`pruning.gradual.loop` and :mod:`pruning.gradual.methods`, what one stage leaves
for the next in :mod:`pruning.gradual.handover`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from pruning.gradual import handover, loop, schedule
from pruning.gradual.config import Config, check
from pruning.gradual.handover import Run
from pruning.gradual.methods import penalty_of, prunable_of, stepwise, transform
from pruning.gradual.outcome import Result, finished, report
from synaptax import runs, training
from synaptax.data.augment import crop_flip
from synaptax.data.images import check_batch, load
from synaptax.nets import models
from synaptax.runs import processes


def fit(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    writer: training.Writer | None = None,
) -> Result:
    """Run (or take up) a training run.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder. The result is the same, bit for bit on
            the same device, as if it had not been interrupted.
        quiet: show no progress.
        writer: gets the record of each epoch beside ``metrics.jsonl``: anything with
            ``write(step, values)``.

    Returns:
        The operating points; ``summary.json`` in the folder holds the same.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.runs.checkpoints.CheckpointError: a damaged or foreign checkpoint.
        synaptax.training.NonFiniteError: a loss that is not finite; names the step.
    """
    check(config)
    if config.distributed:
        processes.join()
    data = load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        limit=config.limit,
        center=config.center,
        progress=not quiet,
    )
    check_batch(config.batch, data.train)
    mesh = training.make_mesh(*config.mesh)
    net = models.network(config.model, data.classes, data.train.image.shape[1:])
    handover.check_counts(config, net)
    if schedule.planned(config):
        schedule.epochs_of_targets(config, net, len(data.train.label) // config.batch)
    folder = runs.create(
        run_dir, config, resume=resume, ignore=("data_dir", "checkpoint_every")
    )
    if not folder.summary.exists():
        run = Run(config, folder, data, net)
        outcome = training.run(
            stages_of(run, mesh),
            folder,
            axis=config.seed_axis,
            mesh=mesh,
            checkpoint_every=config.checkpoint_every,
            writer=writer,
            quiet=quiet,
        )
        report(run, outcome.state, outcome.started)
    return finished(config, folder)


def stages_of(run: Run, mesh: Mesh | None) -> list[training.Stage]:
    """Return the stages of a run: dense, prune, tune."""
    config, data = run.config, (run.data.train, run.data.validation)
    steps, planned = run.steps, schedule.planned(config)
    seeds, points = len(config.seeds), len(handover.targets_of(config))
    new, from_snapshots = handover.new_networks, handover.snapshot_networks
    augment = _augment(run)

    def stage(
        name: str, epochs: int, lr: Any, begin_all: Any, count: int, **hooks: Any
    ) -> training.Stage:
        pruning, tuning = name == "prune", name == "tune"
        classes = run.data.classes
        by_plan = pruning and planned
        tx = transform(
            config,
            run.net,
            classes,
            lr=lr,
            decay=pruning or (tuning and config.tune_shrink),
            rate=schedule.scaled(config.rate, lr, config.lr)
            if config.shrink_scaled
            else None,
            pruner=schedule.pruner(config, run.net, classes, steps)
            if by_plan
            else None,
        )
        rules = loop.Rules(
            pruning and not planned,
            config.patience,
            config.margin,
            config.tolerance,
            prunable_of(config),
            tuning and config.tune_last,
        )
        begin = partial(loop.start, tx=tx, rules=rules)
        rate = "tune_lr" if tuning else "lr"
        return training.Stage(
            name,
            epochs,
            start=lambda previous: begin_all(run, begin),
            shape=lambda: handover.state_shape(run, begin, count),
            epoch=partial(
                loop.epoch,
                apply_fn=run.net,
                tx=tx,
                rules=rules,
                batch=config.batch,
                augment=augment,
                place=training.placing(mesh),
            ),
            data=data,
            finite=lambda info: [info.losses, info.loss],
            advice=f"a smaller {rate} (now {getattr(config, rate)}) may help",
            **{"record": _record, **hooks},
        )

    dense_lr = stepwise(config.lr, config.lr_drops, steps)
    # By default the rate with which the dense stage ended.
    prune_lr = config.lr * 0.1 ** len(config.lr_drops)
    if config.prune_lr is not None:
        prune_lr = config.prune_lr
    tune_lr = stepwise(config.tune_lr, config.tune_drops, steps)
    if config.tune_shape == "cosine":
        tune_lr = schedule.learning_rate(config, steps)

    penalty = _penalty(run) if config.log_penalty else None
    extra: dict[str, Any] = {}

    def write(number: int, state: Any, info: Any) -> None:
        if penalty is not None:
            extra["penalty"] = penalty(state.params, state.stats)
        if planned:
            extra["compression"] = handover.compressions(state)
            handover.write_planned(run, number, state, info)
        else:
            handover.write_cuts(run, config.dense_epochs + number + 1, info)

    one_shot = config.method.startswith("one-shot")
    return [
        stage(
            "dense",
            config.dense_epochs,
            dense_lr,
            new,
            seeds,
            before_epoch=lambda number, state: handover.write_early(run, state, number),
            finish=partial(handover.write_dense, run),
        ),
        stage(
            "prune",
            0 if one_shot else config.prune_epochs,
            prune_lr,
            partial(from_snapshots, tuning=False),
            seeds,
            after_epoch=write,
            record=lambda info: _record(info) | extra,
            finish=lambda state: None if planned else handover.write_last(run, state),
        ),
        stage(
            "tune",
            config.tune_epochs,
            tune_lr,
            partial(from_snapshots, tuning=True),
            seeds * points,
        ),
    ]


def _augment(run: Run) -> Callable[[Any, Any], Any] | None:
    """Return what happens to the images of a training batch, as the config asks."""
    if run.config.augment == "none":
        return None
    black = jnp.asarray(run.data.black)
    return lambda key, image: crop_flip(key, image, black)


def _penalty(run: Run) -> Callable[[Any, Any], Any]:
    """Return ``(params, stats) -> R`` of all replicas, on a batch of validation."""
    part = jax.tree.map(lambda leaf: leaf[: run.config.batch], run.data.validation)
    value = penalty_of(run.config, run.net, run.data.classes)

    def one(replica: tuple[Any, Any]) -> Any:
        return value(replica[0], loop.Examples(part.image, part.label, replica[1]))

    return jax.jit(lambda params, stats: jax.lax.map(one, (params, stats)))


def _record(info: loop.EpochInfo) -> dict[str, Any]:
    """Return what ``metrics.jsonl`` says of an epoch."""
    return {
        "train_loss": info.losses.mean(1),
        "validation_loss": info.loss,
        "validation_error": info.error,
        "cut": info.cut,
        "threshold": info.threshold,
        "searched": info.searched,
    }
