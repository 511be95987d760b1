"""Train deep binary networks; an epoch is one jitted call, a run can be taken up."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from binary.network import artefact, initial, model, objective, straight
from binary.network.config import Config, check
from synaptax import runs
from synaptax.data.images import Batch, Dataset, check_batch, epoch_order, load
from synaptax.runs import checkpoints, resuming
from synaptax.runs.progress import Progress
from synaptax.training.evaluation import summed
from synaptax.training.replicas import over_replicas
from synaptax.typing import Array

_NORMED = 5000  # training examples whose statistics are folded in
_WHITE = {"digits": 16, "mnist": 255, "fashion_mnist": 255}  # the value of white


class Member(NamedTuple):
    """What the next epoch of one network needs.

    Attributes:
        params: see :func:`binary.network.model.init`.
        opt_state: of Adam and the projection.
        key: typed PRNG key; an epoch's key is folded from it and the epoch's number.
    """

    params: Any
    opt_state: Any
    key: Array


class Look(NamedTuple):
    """What a network does on a data set; errors are fractions.

    Attributes:
        propagated: error of the mean field.
        binarised: error of the mode of the weights with sign activations.
        overlaps: q* of each layer.
    """

    propagated: Array
    binarised: Array
    overlaps: dict[str, Array]


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


def look(layers: tuple[model.Layer, ...], params: Any, data: Batch) -> Look:
    """Return the errors of a network on a data set, and how certain its weights are."""
    weights = model.mode(params)

    def sums(part: Batch) -> tuple[Array, Array]:
        wrong = lambda field: (jnp.argmax(field, axis=-1) != part.label).sum()
        mean = model.propagate(layers, params, part.image).mean
        return wrong(mean), wrong(model.run_signs(layers, weights, part.image))

    propagated, binarised = summed(sums, data)
    share = lambda count: count.astype(jnp.float32) / data.label.shape[0]
    return Look(share(propagated), share(binarised), model.self_overlaps(params))


def served(
    config: Config, layers: tuple[model.Layer, ...], params: Any, train: Batch
) -> Any:
    """Return the parameters to evaluate: straight-through's with norms folded in."""
    if config.method != "straight-through":
        return params
    return straight.fold(layers, params, train.image[:_NORMED])


def ensemble_error(
    layers: tuple[model.Layer, ...], params: Any, data: Batch, key: Array, draws: int
) -> Array:
    """Return the error of the summed softmax of networks drawn from Q_m."""

    def sums(part: Batch) -> Array:
        def one(total: Array, key: Array) -> tuple[Array, None]:
            field = model.run_signs(layers, model.draw(params, key), part.image)
            width = objective.last_inputs(params)
            return total + jax.nn.softmax(field / (0.05 * width) ** 0.5), None

        start = jnp.zeros((part.label.shape[0], layers[-1].units))  # pyright: ignore
        total, _ = lax.scan(one, start, jax.random.split(key, draws))
        return (jnp.argmax(total, axis=-1) != part.label).sum()

    return summed(sums, data).astype(jnp.float32) / data.label.shape[0]


def optimiser(config: Config, steps: int) -> optax.GradientTransformation:
    """Return Adam on a cosine, then the projection on [-1, 1] of the means.

    Args:
        config: of the run.
        steps: of the whole run.
    """
    schedule = optax.cosine_decay_schedule(config.lr, steps)
    return optax.chain(optax.adam(schedule), objective.masked_projection())


def epoch(
    member: Member,
    number: Array,
    train: Batch,
    validation: Batch,
    *,
    config: Config,
    layers: tuple[model.Layer, ...],
    tx: optax.GradientTransformation,
) -> tuple[Member, tuple[Array, Look]]:
    """Run one epoch of one member; return it with its mean loss and a look at it."""
    key = jax.random.fold_in(member.key, number)
    count = train.label.shape[0]
    order = epoch_order(key, count, config.batch)
    steps = count // config.batch
    certainty = "none" if config.method == "straight-through" else config.certainty
    pulled = config.pull if certainty == "pull" else 0.0
    first = initial.second_moment(len(config.widths), config.signal)

    def step(carry: tuple[Any, Any], given: tuple[Array, Array]) -> Any:
        params, opt_state = carry
        index, place = given
        own = jax.random.fold_in(key, place)
        progress = (number * steps + place) / (config.epochs * steps)
        height = objective.ramp(progress, config.start, config.full)
        x = objective.drop_inputs(
            train.image[index], config.drop, jax.random.fold_in(own, 0)
        )
        batch = Batch(x, train.label[index])

        def total(params: Any) -> tuple[Array, Array]:
            draws = jax.random.fold_in(own, 1)
            loss = objective.loss(config.method, layers, params, *batch, draws)
            return loss + pulled * height * model.pull(params), loss

        (_, loss), grads = jax.value_and_grad(total, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        if certainty == "anneal":
            target = objective.overlap_target(height, jnp.asarray(first), config.power)
            params = objective.raise_overlaps(params, target)
        return (params, opt_state), loss

    (params, opt_state), losses = lax.scan(
        step, (member.params, member.opt_state), (order, jnp.arange(steps))
    )
    seen = look(layers, served(config, layers, params, train), validation)
    info = losses.mean(), seen
    return Member(params, opt_state, member.key), info


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
        ArithmeticError: a loss that is not finite; names the epoch.
    """
    check(config)
    data = dataset_of(config, quiet=quiet)
    check_batch(config.batch, data.train)
    ignore = ("data_dir", "checkpoint_every")
    folder = runs.create(run_dir, config, resume=resume, ignore=ignore)
    if folder.summary.exists():
        return runs.read_json(folder.summary)["results"]
    layers = layers_of(config, data.classes)
    tx = optimiser(config, config.epochs * (len(data.train.label) // config.batch))
    members = resuming.members(folder, _starting(config, layers, tx, data))
    with Progress(quiet=quiet) as progress:
        members = _epochs(config, folder, layers, tx, data, members, progress)
    results = {"networks": _networks(config, layers, data, members)}
    wall = runs.read_metrics(folder)[-1]["elapsed_s"]
    runs.write_summary(folder, results, config=config, seeds=config.seeds, wall_s=wall)
    return runs.jsonable(results)


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
    tx = optimiser(config, config.epochs * (len(data.train.label) // config.batch))
    like = jax.eval_shape(_starting(config, layers, tx, data))
    folder = runs.RunFolder(Path(run_dir)).checkpoints
    params = checkpoints.restore(folder, like).state.params
    train = Batch(data.train.image.reshape(len(data.train.label), -1), None)
    return jax.vmap(lambda own: served(config, layers, own, train))(params), layers


def packed(
    data: Dataset, layers: tuple[model.Layer, ...], params: Any
) -> artefact.Packed:
    """Return a binarised network for the raw pixels (whole numbers) of a data set."""
    return artefact.pack(layers, params, scale=1 / _unit(data))


def pixels_of(data: Dataset, image: Any) -> np.ndarray:
    """Return the raw pixels, int32, of images of :func:`dataset_of`."""
    return np.rint(np.asarray(image) * np.float32(_unit(data))).astype(np.int32)


def _unit(data: Dataset) -> float:
    """Return the raw value of a scaled pixel of 1."""
    return _WHITE[data.name] * data.std[0]


def _starting(
    config: Config,
    layers: tuple[model.Layer, ...],
    tx: optax.GradientTransformation,
    data: Dataset,
) -> Callable[[], Any]:
    """Return a function that makes the members at the start of a run."""
    size = int(np.prod(data.train.image.shape[1:]))

    def one(key: Array) -> Member:
        first, rest = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        params = model.init(first, layers, (size,), wanted=config.signal)
        return Member(params, tx.init(params), rest)

    return lambda: jax.vmap(one)(
        jnp.stack([jax.random.key(seed) for seed in config.seeds])
    )


def _epochs(
    config: Config,
    folder: runs.RunFolder,
    layers: tuple[model.Layer, ...],
    tx: optax.GradientTransformation,
    data: Dataset,
    members: Any,
    progress: Progress,
) -> Any:
    """Run the epochs that are not done yet."""
    done, spent = runs.taken_up(folder)
    started = time.monotonic() - spent
    step = partial(epoch, config=config, layers=layers, tx=tx)
    run_epoch = jax.jit(over_replicas("auto", step))
    flat = lambda part: Batch(part.image.reshape(len(part.label), -1), part.label)
    sets = jax.device_put((flat(data.train), flat(data.validation)))
    with progress.stage(config.method, done, config.epochs) as report:
        for number in range(done, config.epochs):
            members, (loss, seen) = jax.block_until_ready(
                run_epoch(members, jnp.asarray(number, jnp.int32), *sets)
            )
            if not np.isfinite(loss).all():
                raise ArithmeticError(
                    f"epoch {number + 1}: the loss is not finite; a smaller lr (now "
                    f"{config.lr}) may help. The last checkpoint is kept"
                )
            record = {
                "epoch": number + 1,
                "train_loss": loss,
                "validation_loss": loss,
                "validation_error": seen.binarised,
                "propagated": seen.propagated,
                "binarised": seen.binarised,
                "overlaps": seen.overlaps,
                "elapsed_s": round(time.monotonic() - started, 3),
            }
            runs.append_metrics(folder, record)
            report(record)
            last = number + 1 == config.epochs
            if last or (number + 1) % config.checkpoint_every == 0:
                checkpoints.save(folder.checkpoints, members, step=number + 1)
    return members


def _networks(
    config: Config, layers: tuple[model.Layer, ...], data: Dataset, members: Any
) -> list[dict[str, Any]]:
    """Return what each seed came to, on validation and test data."""
    flat = lambda part: Batch(
        jnp.asarray(part.image.reshape(len(part.label), -1)), jnp.asarray(part.label)
    )
    parts = {"validation": flat(data.validation), "test": flat(data.test)}
    seen = jax.jit(partial(look, layers))
    drawn = jax.jit(partial(ensemble_error, layers, draws=config.draws))
    whole_train = flat(data.train)
    last = jax.jit(lambda params: served(config, layers, params, whole_train))
    signs = jax.jit(lambda params, x: jnp.argmax(model.run_signs(layers, params, x), 1))
    pixels = pixels_of(data, data.test.image)
    found = []
    for index, seed in enumerate(config.seeds):
        member = jax.tree.map(lambda leaf, i=index: leaf[i], members)
        entry: dict[str, Any] = {"seed": seed}
        params = last(member.params)
        whole = artefact.predict(packed(data, layers, params), pixels)
        floating = signs(model.mode(params), parts["test"].image)
        entry["integer_error"] = float(np.mean(whole != data.test.label))
        entry["integer_disagreements"] = int(np.sum(whole != np.asarray(floating)))
        for name, part in parts.items():
            one = seen(params, part)
            entry |= {
                f"{name}_propagated": float(one.propagated),
                f"{name}_binarised": float(one.binarised),
            }
        entry["test_ensemble"] = float(drawn(params, parts["test"], member.key))
        entry["overlaps"] = jax.device_get(model.self_overlaps(params))
        found.append(entry)
    return found
