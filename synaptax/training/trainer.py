"""The one trainer: stages of epochs for a vector of replicas, to the same bits.

A use gives pure functions of one replica; :func:`run` does what is the same for all:
jitted epochs mapped over replicas and devices, the non-finite guard, metrics,
progress, checkpoints, and the resumption of a run that was killed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from synaptax import runs
from synaptax.data.streaming import fingerprint
from synaptax.runs import checkpoints, processes
from synaptax.runs.progress import Progress
from synaptax.training import sharding
from synaptax.training.errors import NonFiniteError
from synaptax.training.replicas import over_replicas


@runtime_checkable
class Writer(Protocol):
    """What gets the record of each epoch: TensorBoard, W&B, or one's own.

    Example:
        >>> class Printing:
        ...     def write(self, step, values):
        ...         print(step, values["loss"])
        >>> isinstance(Printing(), synaptax.training.Writer)
        True
    """

    def write(self, step: int, values: Mapping[str, Any]) -> Any:
        """Take the values of an epoch; ``step`` counts epochs of the run from 1."""


def _of_fields(info: Any) -> Mapping[str, Any]:
    """Return the fields of a NamedTuple, or a mapping as it is."""
    return info if isinstance(info, Mapping) else info._asdict()


def _nothing(*_: Any) -> None:
    """Do nothing."""


class Stage(NamedTuple):
    """Some epochs of one kind.

    A *state* below is that of all R replicas, its leaves with a leading axis of
    replicas; with ``run(axis="single")`` it is that of the only one. Epochs of a stage
    are numbered from 0 in its functions.

    Attributes:
        name: for messages, progress and, with several stages, the metrics.
        epochs: how many; 0 is fine.
        start: ``(state of the stage before, or None) -> state``. Called once, outside
            ``jit`` (jit it yourself), and not at all where a checkpoint stands later.
        epoch: ``(replica, number, *data) -> (replica, info)``, of one replica; pure
            and hashable. The same function object is compiled once in a process, so
            keep it where several runs share it.
        finite: ``(info) -> arrays`` of which all values must be finite (a boolean one:
            true), each of shape (R,), or (R, steps) to have the step named.
        data: what ``epoch`` gets beside; put on the devices once.
        record: ``(info on the host) -> {name: value}`` of the metrics; default: its
            fields.
        shape: ``() -> state``, only traced, for the shapes to restore; default:
            ``start(None)``.
        replicas: what to call each of them in messages, such as ``seed 3``.
        advice: what may help against a loss that is not finite: such as
            ``a smaller lr (now 0.1) may help``.
        before_epoch: ``(number, state)``, on the host.
        after_epoch: ``(number, state, info)``, before its record is written.
        finish: ``(state)``, after the last epoch, and again if the run was killed
            before the next checkpoint: what it leaves must be the same each time.

    Example:
        >>> stage = synaptax.training.Stage(
        ...     name="halve",
        ...     epochs=3,
        ...     start=lambda before: jnp.array([8.0, 4.0]),  # two replicas
        ...     epoch=lambda w, number: (w / 2, {"w": w}),
        ...     finite=lambda info: [info["w"]],
        ... )
        >>> synaptax.training.run([stage]).state.tolist()
        [1.0, 0.5]
    """

    name: str
    epochs: int
    start: Callable[[Any], Any]
    epoch: Callable[..., tuple[Any, Any]]
    finite: Callable[[Any], Sequence[Any]]
    data: tuple[Any, ...] = ()
    record: Callable[[Any], Mapping[str, Any]] = _of_fields
    shape: Callable[[], Any] | None = None
    replicas: tuple[str, ...] = ()
    advice: str = ""
    before_epoch: Callable[[int, Any], None] = _nothing
    after_epoch: Callable[[int, Any, Any], None] = _nothing
    finish: Callable[[Any], None] = _nothing


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
        state: of the last stage.
        records: one an epoch: ``epoch`` (from 1, over all stages), ``stage`` if there
            are several, what the stage records, and ``elapsed_s``. Those of earlier
            sittings are as JSON holds them.
        started: when the run began by :func:`time.monotonic`, less the pauses between
            its sittings.

    Example:
        >>> synaptax.training.Outcome._fields
        ('state', 'records', 'started')
    """

    state: Any
    records: list[dict[str, Any]]
    started: float


def run(
    stages: Sequence[Stage],
    folder: runs.RunFolder | None = None,
    *,
    axis: str = "auto",
    mesh: Mesh | None = None,
    checkpoint_every: int = 1,
    expect: Mapping[str, Any] | None = None,
    writer: Writer | None = None,
    quiet: bool = True,
    donate: bool = False,
) -> Outcome:
    """Run stages one after the other, or go on from the folder's newest checkpoint.

    Args:
        stages: see :class:`Stage`.
        folder: of :func:`synaptax.runs.create`, which checks that it holds this run;
            None writes nothing and always begins anew.
        axis: of the replicas: see :func:`synaptax.training.over_replicas`.
        mesh: of :func:`synaptax.training.make_mesh`, for several devices.
        checkpoint_every: epochs of a stage between checkpoints; its last always is one.
        expect: what a checkpoint is saved with and must have been saved with, beside
            the folder's config and the CRC-32 of the stages' data.
        writer: gets each epoch's record beside ``metrics.jsonl``.
        quiet: show no progress.
        donate: give the state's memory to the next epoch. What ``start`` returns must
            then be nobody else's, and hooks must copy what they keep.

    Returns:
        The state, the records and the clock.

    Raises:
        NonFiniteError: naming stage, epoch, replica and, if known, step. Nothing was
            saved over: the last checkpoint is kept.
        synaptax.runs.checkpoints.CheckpointError: for a damaged or foreign checkpoint,
            naming the folder; nothing is changed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from synaptax import training
        >>> def epoch(w, number, x, y):  # w <- w - d/dw mean (w x - y)^2 / 2
        ...     loss = lambda w: jnp.mean((w * x - y) ** 2) / 2
        ...     return w - jax.grad(loss)(w), {"loss": loss(w)}
        >>> x = jnp.asarray([1.0, -1.0])
        >>> stage = training.Stage(
        ...     "fit",
        ...     epochs=3,
        ...     start=lambda previous: jnp.zeros(2),  # two replicas
        ...     epoch=epoch,
        ...     finite=lambda info: [info["loss"]],
        ...     data=(x, 2 * x),
        ... )
        >>> outcome = training.run([stage])
        >>> outcome.state.tolist()
        [2.0, 2.0]
        >>> outcome.records[0]["loss"].tolist()
        [2.0, 2.0]
    """
    expect = dict(expect or {})
    identity = {} if folder is None else _identity(folder, stages)
    first, done, state = _restored(stages, folder, expect, identity)
    total = _epochs_before(stages, first) + done
    records, spent = _recorded(folder, total)
    started = time.monotonic() - spent  # the clock goes on where it stopped
    job = _Job(
        [(stage, _epochs_before(stages, n)) for n, stage in enumerate(stages)],
        folder,
        axis,
        mesh,
        checkpoint_every,
        expect,
        identity,
        writer,
        donate,
        records,
        started,
    )
    placed: tuple[Any, Any] = None, None
    with Progress(quiet=quiet) as progress:
        for index in range(first, len(stages)):
            stage = stages[index]
            # A restored state stands within its stage; any other stage starts from the
            # one before.
            if index > first or not total:
                state, done = stage.start(state), 0
            # Stages of the same data share one copy on the devices.
            if placed[0] is not stage.data:
                placed = stage.data, sharding.copied(stage.data, mesh)
            with progress.stage(stage.name, done, stage.epochs) as report:
                for number in range(done, stage.epochs):
                    state, record = _run_epoch(job, index, number, state, placed[1])
                    report(record)
            stage.finish(state)
            processes.barrier("synaptax training: end of a stage")
    return Outcome(state, records, started)


class _Job(NamedTuple):
    """What all epochs of a sitting share; ``stages`` with the epochs before each."""

    stages: list[tuple[Stage, int]]
    folder: runs.RunFolder | None
    axis: str
    mesh: Mesh | None
    checkpoint_every: int
    expect: dict[str, Any]
    identity: dict[str, Any]
    writer: Writer | None
    donate: bool
    records: list[dict[str, Any]]
    started: float


def _run_epoch(
    job: _Job, index: int, number: int, state: Any, data: tuple[Any, ...]
) -> tuple[Any, dict[str, Any]]:
    """Run one epoch of a stage and keep what it gives; return (state, record)."""
    stage, before = job.stages[index]
    epoch = _compiled(stage.epoch, job.axis, job.mesh, job.donate)
    stage.before_epoch(number, state)
    state, info = epoch(sharding.spread(state, job.mesh), np.int32(number), *data)
    info = jax.device_get(info)
    # Before hooks, records and checkpoint: nothing may be kept of a lost epoch.
    _guard(stage, number, info, job)
    stage.after_epoch(number, state, info)
    done = number + 1
    record: dict[str, Any] = {"epoch": before + done}
    if len(job.stages) > 1:
        record["stage"] = stage.name
    record |= stage.record(info)
    record["elapsed_s"] = round(time.monotonic() - job.started, 3)
    job.records.append(record)
    # The record before the checkpoint: a kill between them leaves one record too many,
    # which resuming drops. The other order would leave one too few.
    if job.folder is not None and processes.first():
        runs.append_metrics(job.folder, record)
    if job.writer is not None and processes.first():
        job.writer.write(before + done, record)
    last = done == stage.epochs
    if job.folder is not None and (last or done % job.checkpoint_every == 0):
        meta = {**job.expect, "stage": index, "done": done}
        checkpoints.save(
            job.folder.checkpoints,
            state,
            step=before + done,
            meta=meta,
            run=job.identity,
        )
    return state, record


def _identity(folder: runs.RunFolder, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return what checkpoints say of the run that they are of."""
    different = {id(stage.data): stage.data for stage in stages}  # each is read once
    return {
        "config": folder.identity or {},
        "data": fingerprint(list(different.values())),
    }


def _recorded(
    folder: runs.RunFolder | None, total: int
) -> tuple[list[dict[str, Any]], float]:
    """Return the records of the first epochs, which are kept, and the time of all."""
    records = [] if folder is None else runs.read_metrics(folder)
    if folder is None or not records:
        return [], 0.0
    numbers = [record.get("epoch") for record in records[:total]]
    if numbers != [*range(1, total + 1)]:
        raise runs.FileError(
            f"{folder.metrics}: epoch: expected each of 1 to {total}, which the newest "
            "checkpoint has behind it"
        )
    if processes.first():
        runs.keep_metrics(folder, last=total)
    # The time of dropped epochs was spent all the same.
    return records[:total], records[-1].get("elapsed_s", 0.0)


def _epochs_before(stages: Sequence[Stage], index: int) -> int:
    """Return the epochs of the run that lie before a stage."""
    return sum(stage.epochs for stage in stages[:index])


def _restored(
    stages: Sequence[Stage],
    folder: runs.RunFolder | None,
    expect: dict[str, Any],
    identity: dict[str, Any],
) -> tuple[int, int, Any]:
    """Return (stage, epochs done in it, state) of the newest checkpoint, or (0, 0)."""
    step = None if folder is None else checkpoints.latest(folder.checkpoints)
    if folder is None or step is None:
        return 0, 0, None
    meta = checkpoints.read_meta(folder.checkpoints)
    if "stage" not in meta and len(stages) == 1:
        meta |= {"stage": 0, "done": step}  # as runs of one stage once were saved
    index, done = meta.get("stage", -1), meta.get("done", -1)
    epochs = dict(enumerate(stage.epochs for stage in stages))
    if not 1 <= done <= epochs.get(index, 0):
        raise checkpoints.CheckpointError(
            f"{folder.checkpoints}: the newest checkpoint is not of a run like "
            f"this: saved at step {step} with {meta}; the stages here have "
            f"{', '.join(map(str, epochs.values()))} epochs"
        )
    shape = stages[index].shape or (lambda: stages[index].start(None))
    restored = checkpoints.restore(
        folder.checkpoints,
        jax.eval_shape(shape),
        step=step,
        expect=expect,
        run=identity,
    )
    return index, done, restored.state


@lru_cache(maxsize=16)
def _compiled(
    epoch: Callable[..., Any], axis: str, mesh: Mesh | None, donate: bool
) -> Callable[..., Any]:
    """Return the jitted epoch of all replicas; the same one when asked again."""
    return jax.jit(
        over_replicas(axis, epoch, mesh=mesh),
        out_shardings=sharding.state_and_info(mesh),
        donate_argnums=0 if donate else (),
    )


def _guard(stage: Stage, number: int, info: Any, job: _Job) -> None:
    """Stop at a loss that is not finite, before anything is saved over."""
    for values in map(np.asarray, stage.finite(info)):
        # A flag is finite, so a boolean array says itself what is good.
        good = values if values.dtype == bool else np.isfinite(values)
        if good.all():
            continue
        good = good[None] if job.axis == "single" else good
        replica, *step = (int(where) for where in np.argwhere(~good)[0])
        name = f"network {replica + 1} of {len(good)}"
        if stage.replicas:
            name = stage.replicas[replica]
        at = f", step {step[0] + 1}" if step else ""
        text = (
            f"stage {stage.name}, epoch {number + 1}{at}: the loss of {name} is not "
            "finite"
        )
        if job.folder is not None:
            text += f". The last checkpoint is kept in {job.folder.checkpoints}"
        raise NonFiniteError(f"{text}; {stage.advice}" if stage.advice else text)
