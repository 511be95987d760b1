"""Train deep binary networks; an epoch is one jitted call, a run can be taken up."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from binary.network import initial, model, objective
from binary.network.config import Config, check
from binary.network.evaluation import Look, flat, look, networks, served
from synaptax import runs, training
from synaptax.data.images import Batch, Dataset, check_batch, epoch_order, load
from synaptax.runs import checkpoints
from synaptax.typing import Array

_ANYWHERE = ("data_dir", "checkpoint_every")  # what a resumed run may change


class Replica(NamedTuple):
    """What the next epoch of one network needs; checkpoints name its fields.

    Attributes:
        params: see :func:`binary.network.model.init`.
        opt_state: of Adam and the projection.
        key: typed PRNG key; an epoch's key is folded from it and the epoch's number.
    """

    params: Any
    opt_state: Any
    key: Array


def layers_of(config: Config, classes: int) -> tuple[model.Layer, ...]:
    """Return the layers of a run's network."""
    return tuple(model.Dense(units) for units in (*config.widths, classes))


def dataset_of(config: Config, *, quiet: bool = True) -> Dataset:
    """Return the data of a run: scaled but not centred, a black pixel is 0.

    A black pixel then adds no variance, and its weight has no influence.
    """
    return load(
        config.dataset,
        data_dir=config.data_dir,
        limit=config.limit,
        center=False,
        progress=not quiet,
    )


def optimiser(config: Config, steps: int) -> optax.GradientTransformation:
    """Return Adam on a cosine, then the projection on [-1, 1] of the means.

    Args:
        config: of the run.
        steps: of the whole run.
    """
    schedule = optax.cosine_decay_schedule(config.lr, steps)
    return optax.chain(optax.adam(schedule), objective.masked_projection())


def epoch(
    replica: Replica,
    number: Array,
    train: Batch,
    validation: Batch,
    *,
    config: Config,
    layers: tuple[model.Layer, ...],
) -> tuple[Replica, tuple[Array, Look]]:
    """Run one epoch of one network; return it with its mean loss and a look at it."""
    key = jax.random.fold_in(replica.key, number)
    order = epoch_order(key, train.label.shape[0], config.batch)
    steps = len(order)
    tx = optimiser(config, config.epochs * steps)
    # Real shadows are no means: they have no certainty to raise.
    certainty = "none" if config.method == "straight-through" else config.certainty
    pulled = config.pull if certainty == "pull" else 0.0
    # q* at the start of the schedule: the second moment that the initial weights have.
    first = initial.second_moment(len(config.widths), config.signal)

    def step(carry: tuple[Any, Any], batch: Batch, place: Array) -> Any:
        params, opt_state = carry
        own = jax.random.fold_in(key, place)
        progress = (number * steps + place) / (config.epochs * steps)
        height = objective.ramp(progress, config.start, config.full)
        x = objective.drop_inputs(batch.image, config.drop, jax.random.fold_in(own, 0))

        def total(params: Any) -> tuple[Array, Array]:
            draws = jax.random.fold_in(own, 1)
            loss = objective.loss(config.method, layers, params, x, batch.label, draws)
            return loss + pulled * height * model.pull(params), loss

        (_, loss), grads = jax.value_and_grad(total, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        # After the projection: the scale is found for what the cube leaves of the step.
        if certainty == "anneal":
            target = objective.overlap_target(height, jnp.asarray(first), config.power)
            params = objective.raise_overlaps(params, target)
        return (params, opt_state), loss

    (params, opt_state), losses = training.scan_batches(
        step, (replica.params, replica.opt_state), train, order, jnp.arange(steps)
    )
    evaluation = look(layers, served(config, layers, params, train), validation)
    return Replica(params, opt_state, replica.key), (losses.mean(), evaluation)


@lru_cache(maxsize=16)  # one function a kind of run, so that it is compiled once
def _epoch_of(config: Config, layers: tuple[model.Layer, ...]) -> Callable[..., Any]:
    return partial(epoch, config=config, layers=layers)


def train(
    config: Config, run_dir: str | Path, *, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Run (or take up) a training run.

    Args:
        config: what to do.
        run_dir: the run folder; see :mod:`synaptax.runs.folder`.
        resume: take up the run in the folder; the result is the same, bit for bit on
            the same device.
        quiet: show no progress.

    Returns:
        The results, as ``summary.json`` in the folder holds them: one entry a seed
        under ``networks``. The networks' parameters are in the newest checkpoint.

    Raises:
        ValueError: a config field out of range, a folder that holds another run.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.training.NonFiniteError: naming the epoch and the seed.
    """
    check(config)
    data = dataset_of(config, quiet=quiet)
    check_batch(config.batch, data.train)
    folder = runs.create(run_dir, config, resume=resume, ignore=_ANYWHERE)
    if folder.summary.exists():
        return runs.read_summary(folder.summary)["results"]
    layers = layers_of(config, data.classes)
    stage = training.Stage(
        config.method,
        config.epochs,
        start=lambda _: jax.jit(_starting(config, layers, data))(),
        epoch=_epoch_of(config, layers),
        finite=lambda info: [info[0]],
        data=(flat(data.train), flat(data.validation)),
        record=_record,
        replicas=tuple(f"seed {seed}" for seed in config.seeds),
        advice=f"a smaller lr (now {config.lr}) may help",
    )
    outcome = training.run(
        [stage], folder, checkpoint_every=config.checkpoint_every, quiet=quiet
    )
    results = {"networks": networks(config, layers, data, outcome.state)}
    wall = outcome.records[-1]["elapsed_s"]
    runs.write_summary(folder, results, config=config, seeds=config.seeds, wall_s=wall)
    return runs.jsonable(results)


def _record(info: tuple[Any, Look]) -> dict[str, Any]:
    """Return what the metrics keep of an epoch."""
    loss, evaluation = info
    return {
        "train_loss": loss,
        "validation_error": evaluation.binarised,
        **evaluation._asdict(),
    }


def _starting(
    config: Config, layers: tuple[model.Layer, ...], data: Dataset
) -> Callable[[], Any]:
    """Return a function that makes the networks at the start of a run."""
    size = int(np.prod(data.train.image.shape[1:]))
    tx = optimiser(config, config.epochs * (len(data.train.label) // config.batch))

    def one(key: Array) -> Replica:
        first, rest = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        params = model.init(first, layers, (size,), wanted=config.signal)
        return Replica(params, tx.init(params), rest)

    return lambda: jax.vmap(one)(training.keys_of(config.seeds))


def trained(
    run_dir: str | Path, config: Config, data: Dataset
) -> tuple[Any, tuple[model.Layer, ...]]:
    """Return (parameters, layers) of a run; the parameters have a leading seed axis.

    Args:
        run_dir: the run folder.
        config: of the run.
        data: its data, see :func:`dataset_of`.

    Raises:
        synaptax.runs.checkpoints.CheckpointError: if the folder holds none.
    """
    layers = layers_of(config, data.classes)
    like = jax.eval_shape(_starting(config, layers, data))
    folder = runs.RunFolder(Path(run_dir)).checkpoints
    params = checkpoints.restore(folder, like).state.params
    train = flat(data.train)
    return jax.vmap(lambda own: served(config, layers, own, train))(params), layers
