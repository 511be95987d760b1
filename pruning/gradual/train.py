"""One run from data to report: train dense, prune gradually, fine-tune, test once.

:func:`fit` runs three stages for a vector of seeds. Inside an epoch everything is
one jitted call; between epochs the host records, keeps snapshots and checkpoints. A
run that is killed at any point and resumed ends in the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning.gradual import loop
from pruning.gradual.config import Config, check
from pruning.gradual.keeping import (
    close_stage,
    keep_cuts,
    keep_rewind,
    rewind_now,
    unprunable,
)
from pruning.gradual.members import starting, starting_shape
from pruning.gradual.methods import prunable_of
from pruning.gradual.outcome import Result, finished, report
from pruning.gradual.stages import Run, Stage, stages_of
from synaptax import runs
from synaptax.data.augment import crop_flip
from synaptax.data.images import Dataset, check_batch, load
from synaptax.nets import models
from synaptax.runs import checkpoints, processes
from synaptax.runs.progress import Progress
from synaptax.training import sharding
from synaptax.training.errors import NonFiniteError
from synaptax.training.replicas import over_replicas


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
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder. The result is the same, bit for bit on
            the same device, as if it had not been interrupted.
        quiet: show no progress.

    Returns:
        The operating points; ``summary.json`` in the folder holds the same.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.runs.checkpoints.CheckpointError: a damaged or foreign checkpoint.
        NonFiniteError: a loss that is not finite; names the step.
    """
    check(config)
    if config.distributed:
        processes.join()
    data = _data(config, progress=not quiet)
    mesh = sharding.make_mesh(*config.mesh)
    net = models.network(config.model, data.classes, data.train.image.shape[1:])
    _check_keep(config, net)
    folder = runs.RunFolder(Path(run_dir).expanduser().absolute())
    if processes.first():
        runs.create(
            run_dir, config, resume=resume, ignore=("data_dir", "checkpoint_every")
        )
    processes.barrier("synaptax run: folder")
    if folder.summary.exists():
        return finished(config, folder)
    earlier = runs.read_metrics(folder)[-1:]  # the clock goes on where it stopped
    started = time.monotonic() - sum(record["elapsed_s"] for record in earlier)
    with Progress(quiet=quiet) as progress:
        run = Run(
            config,
            folder,
            data,
            net,
            stages_of(config, net, data.classes, len(data.train.label) // config.batch),
            progress,
            started,
            mesh,
        )
        return _execute(run)


def _data(config: Config, *, progress: bool) -> Dataset:
    """Return the data set, checked to hold a batch."""
    data = load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        limit=config.limit,
        center=config.center,
        progress=progress,
    )
    check_batch(config.batch, data.train)
    return data


def _check_keep(config: Config, net: models.Network) -> None:
    """Raise unless the exact counts asked for are within what can be kept."""
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    least = unprunable(params, prunable_of(config))
    total = unprunable(params, lambda name, leaf: False)
    for count in config.keep:
        if not least <= count <= total:
            raise ValueError(
                f"keep: expected numbers from {least} (parameters that may not be cut) "
                f"to {total} (all), got {count}"
            )


def _execute(run: Run) -> Result:
    """Run each stage from the last checkpoint on, then test and report."""
    first, done, members = _restored(run)
    if first == 0 and done == 0:
        members = starting(run, 0)
    for index in range(first, len(run.stages)):
        if index > first:
            members, done = starting(run, index), 0
        members = _run_stage(run, index, members, done)
        close_stage(run, index, members)
        processes.barrier("synaptax run: snapshots")
    return report(run, members)


def _restored(run: Run) -> tuple[int, int, Any]:
    """Return (stage, epochs done in it, members) of the newest checkpoint."""
    folder = run.folder.checkpoints
    if checkpoints.latest(folder) is None:
        _keep_metrics(run, 0)
        return 0, 0, None
    meta = checkpoints.read_meta(folder)
    stage, done = meta.get("stage", -1), meta.get("done", -1)
    if stage not in range(3) or done not in range(run.stages[stage].epochs + 1):
        raise checkpoints.CheckpointError(
            f"{folder}: the newest checkpoint is not of a run: it was saved with {meta}"
        )
    total = run.epochs_before(stage) + done
    like = jax.eval_shape(lambda: starting_shape(run, stage))
    restored = checkpoints.restore(folder, like, step=total)
    _keep_metrics(run, total)  # only now: an error changes nothing
    return stage, done, restored.state


def _keep_metrics(run: Run, last: int) -> None:
    if processes.first():
        runs.keep_metrics(run.folder, last=last)


def _run_stage(run: Run, index: int, members: Any, done: int) -> Any:
    """Run the epochs of a stage that are not done yet."""
    stage, config = run.stages[index], run.config
    if done >= stage.epochs:
        return members
    train, validation = sharding.copied((run.data.train, run.data.validation), run.mesh)
    step = partial(
        loop.epoch,
        apply_fn=run.net,
        tx=stage.tx,
        rules=stage.rules,
        batch=config.batch,
        augment=_augment(run),
        place=sharding.placing(run.mesh),
    )
    run_epoch = jax.jit(
        over_replicas(config.seed_axis, step, mesh=run.mesh),
        out_shardings=sharding.state_and_info(run.mesh),
    )
    before = run.epochs_before(index)
    with run.progress.stage(stage.name, done, stage.epochs) as report:
        for number in range(done, stage.epochs):
            if rewind_now(run, stage, number):
                keep_rewind(run, members, number)
            spread = sharding.spread(members, run.mesh)
            members, info = run_epoch(spread, np.int32(number), train, validation)
            info = jax.device_get(info)
            _guard(run, stage, number, info)
            record = _record(run, stage, before + number + 1, info)
            keep_cuts(run, before + number + 1, info)
            if processes.first():
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


def _augment(run: Run) -> Callable[[Any, Any], Any] | None:
    """Return what happens to the images of a training batch, as the config asks."""
    if run.config.augment == "none":
        return None
    moments = zip(run.data.mean, run.data.std, strict=True)
    black = jnp.asarray([-mean / std for mean, std in moments], jnp.float32)
    return lambda key, image: crop_flip(key, image, black)


def _guard(run: Run, stage: Stage, number: int, info: Any) -> None:
    """Stop at a loss that is not finite, before anything is saved over."""
    bad = ~np.isfinite(info.losses)
    if not bad.any() and np.isfinite(info.loss).all():
        return
    member = int(np.argmax(bad.any(1) | ~np.isfinite(info.loss)))
    where = np.flatnonzero(bad[member])
    step = int(where[0]) if where.size else bad.shape[1]
    rate = "tune_lr" if stage.name == "tune" else "lr"
    raise NonFiniteError(
        f"stage {stage.name}, epoch {number + 1}, step {step + 1}: the loss of network "
        f"{member + 1} of {len(bad)} is not finite. The last checkpoint is kept in "
        f"{run.folder.checkpoints}; a smaller {rate} (now "
        f"{getattr(run.config, rate)}) may help."
    )


def _record(run: Run, stage: Stage, total: int, info: Any) -> dict[str, Any]:
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
