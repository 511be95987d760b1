"""Train the networks of a stage, for several seeds, to the same bits after a kill."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.models.chunks import chunked
from covid_cxr.models.networks import Network
from covid_cxr.train import loop
from covid_cxr.train.keeping import take_up
from covid_cxr.train.losses import loss_function
from covid_cxr.train.stages import StageConfig, check
from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed
from synaptax.runs.progress import Progress
from synaptax.training.errors import NonFiniteError
from synaptax.trees import check_same_structure
from synaptax.typing import Array


class Trained(NamedTuple):
    """The networks of a stage.

    Attributes:
        params: the weights kept, with a leading axis of seeds.
        stats: their running averages, likewise.
        epoch: (S,) the epoch each was kept at, counted from 1.
        history: a record an epoch; its lists are by seed.
        config: the stage.
    """

    params: Any
    stats: Any
    epoch: np.ndarray
    history: list[dict[str, Any]]
    config: StageConfig

    def member(self, index: int) -> tuple[Any, Any]:
        """Return (params, stats) of one seed."""
        return jax.tree.map(lambda leaf: leaf[index], (self.params, self.stats))


def fit(
    net: Network,
    config: StageConfig,
    train: Batch,
    validation: Batch,
    *,
    start: tuple[Any, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> Trained:
    """Train one network for each seed.

    Args:
        net: the network.
        config: the stage.
        train: images (N, H, W, 1), uint8, uint16 or float32 in [0, 1], and labels (N,).
        validation: likewise, of other patients.
        start: (params, stats) whose trunk to begin with, of one network or with a
            leading axis of seeds; the head is always drawn anew.
        folder: run folder for metrics and checkpoints; None writes nothing.
        resume: go on with the run in the folder, if it holds one.
        quiet: show no progress.

    Returns:
        The networks, chosen as the stage says.

    Raises:
        ValueError: naming a field, an array or a weight that does not fit, or a
            checkpoint of other data.
        NonFiniteError: for a loss that is not finite, naming epoch and seed; the last
            checkpoint is kept.
    """
    check(config)
    train, validation = _checked(net, config, train, validation)
    # Films of other means need no other program.
    step = _compiled(net, dataclasses.replace(config, mean=0.0, std=1.0))
    scale = loop.scale_of(config)
    members = _starting(net, config, train.image.shape[1], start)
    keeper, members = take_up(
        folder, config, members, data=(train, validation), resume=resume
    )
    classes, epochs = _classes(config, train.label), config.epochs
    with (
        Progress(quiet=quiet) as progress,
        progress.stage("train", keeper.done, epochs) as report,
    ):
        for number in range(keeper.done, epochs):
            members, info = step(
                members, jnp.int32(number), train, validation, classes, scale
            )
            record = _record(info, number, config.seeds)
            report(record)
            keeper.keep(record, members, epochs=epochs, every=config.checkpoint_every)
    best = members.best
    return Trained(
        best.params, best.stats, np.asarray(best.epoch), keeper.history, config
    )


def predict(net: Network, trained: Trained, image: Any) -> np.ndarray:
    """Return the probabilities that trained networks give to images.

    Args:
        net: the network.
        trained: of :func:`fit`.
        image: (N, H, W, 1) uint8, uint16 or float32 in [0, 1].

    Returns:
        (S, N) float32 probabilities of a positive with one output, else
        (S, N, classes).

    Raises:
        ValueError: for images of another shape.
    """
    image = _images("image", image)
    config = trained.config
    logits = np.stack(
        [
            _logits(net, *trained.member(index), image, loop.scale_of(config))
            for index in range(len(config.seeds))
        ]
    )
    if net.config.classes == 1:
        return np.asarray(jax.nn.sigmoid(logits[..., 0]))
    return np.asarray(jax.nn.softmax(logits, axis=-1))


def features(
    net: Network, params: Any, stats: Any, image: Any, config: StageConfig
) -> dict[str, np.ndarray]:
    """Return spatial means of the feature maps by stage, {stage: (N, C)} float32.

    Args:
        net: the network.
        params: of one network.
        stats: likewise.
        image: (N, H, W, 1) uint8, uint16 or float32 in [0, 1].
        config: the stage, for its normalisation.

    Raises:
        ValueError: for images of another shape.
    """
    scale = loop.scale_of(config)
    found = _features(net, params, stats, _images("image", image), scale)
    return {name: np.asarray(one) for name, one in found.items()}


def with_trunk(fresh: tuple[Any, Any], given: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return ``fresh`` (params, stats) with the trunk of ``given``, head kept.

    Raises:
        ValueError: naming the first leaf of the trunk that does not fit.
    """
    (params, stats), (theirs, averages) = fresh, given
    trunk = {name: leaf for name, leaf in params.items() if name != "fc"}
    other = {name: leaf for name, leaf in theirs.items() if name != "fc"}
    check_same_structure(trunk, other, argument="start")
    check_same_structure(stats, averages, argument="start")
    return {**other, "fc": params["fc"]}, averages


@functools.partial(jax.jit, static_argnums=0)
def _logits(
    net: Network, params: Any, stats: Any, image: Array, scale: loop.Scale
) -> Array:
    return loop.logits_of(net, params, stats, image, scale)


@functools.partial(jax.jit, static_argnums=0)
def _features(
    net: Network, params: Any, stats: Any, image: Array, scale: loop.Scale
) -> dict[str, Array]:
    return chunked(
        lambda part: net.features(params, stats, loop.standardise(part, scale)), image
    )


@functools.lru_cache(maxsize=8)
def _compiled(net: Network, config: StageConfig) -> Any:
    """Return the jitted epoch of all members; the same one for the same stage."""
    axis = config.seed_axis
    if axis == "auto":
        axis = "map" if jax.default_backend() == "cpu" else "vmap"
    tx = loop.optimizer(config, net.config.norm)

    def everyone(
        members: Any,
        number: Array,
        train: Batch,
        validation: Batch,
        classes: Any,
        scale: loop.Scale,
    ) -> Any:
        run = lambda member: loop.epoch(
            member,
            number,
            train,
            validation,
            classes,
            scale,
            net=net,
            tx=tx,
            config=config,
        )
        return jax.vmap(run)(members) if axis == "vmap" else jax.lax.map(run, members)

    return jax.jit(everyone, donate_argnums=0)


def _starting(
    net: Network, config: StageConfig, side: int, start: tuple[Any, Any] | None
) -> loop.Member:
    """Return the members before the first epoch, stacked."""
    tx = loop.optimizer(config, net.config.norm)
    members = []
    for index, seed in enumerate(config.seeds):
        key = jax.random.key(seed)
        fresh = net.init(jax.random.fold_in(key, 0), side)
        if start is not None:
            fresh = with_trunk(fresh, _of_seed(start, fresh, index, config.seeds))
        # Copies: what is donated must never be the caller's own.
        params, stats = jax.tree.map(jnp.array, fresh)
        members.append(loop.start(params, stats, jax.random.fold_in(key, 1), tx))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def _of_seed(start: Any, fresh: Any, index: int, seeds: Sequence[int]) -> Any:
    """Return the starting weights of one seed."""
    given, wanted = jax.tree.leaves(start), jax.tree.leaves(fresh)
    if np.ndim(given[0]) == np.ndim(wanted[0]):
        return start
    if np.shape(given[0])[0] != len(seeds):
        raise ValueError(
            f"start: has {np.shape(given[0])[0]} networks for {len(seeds)} seeds"
        )
    return jax.tree.map(lambda leaf: leaf[index], start)


def _checked(
    net: Network, config: StageConfig, train: Batch, validation: Batch
) -> tuple[Batch, Batch]:
    """Return both sets on the device, or raise a ValueError naming what is wrong."""
    loss_function(config.loss, net.config.classes)
    out = []
    top = max(net.config.classes, 2)
    for name, data in (("train", train), ("validation", validation)):
        image, label = _images(f"{name}.image", data.image), np.asarray(data.label)
        if label.shape != image.shape[:1] or label.dtype.kind not in "iub":
            raise ValueError(
                f"{name}.label: expected {image.shape[0]} integers, got "
                f"{label.dtype}{label.shape}"
            )
        if label.min() < 0 or label.max() >= top:
            raise ValueError(f"{name}.label: expected in [0, {top})")
        out.append(Batch(image, jnp.asarray(label.astype(np.int32))))
    count = out[0].label.shape[0]
    if count < config.batch:
        raise ValueError(f"batch: {config.batch} is more than the {count} images")
    if net.config.classes == 1 and len(np.unique(np.asarray(out[1].label))) < 2:
        raise ValueError("validation.label: expected both classes")
    if config.sampling == "balanced":
        held = np.unique(np.asarray(out[0].label)).size
        if held < top:
            raise ValueError(f"train.label: expected all {top} classes, got {held}")
        if config.batch % top:
            raise ValueError(
                f"batch: expected a multiple of {top} (the classes), got {config.batch}"
            )
    return out[0], out[1]


def _images(name: str, image: Any) -> Any:
    if np.ndim(image) != 4 or image.shape[-1] != 1 or not image.shape[0]:
        raise ValueError(f"{name}: expected (N, H, W, 1), got {np.shape(image)}")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(
            f"{name}: expected uint8, uint16 or float32, got {image.dtype}"
        )
    return image if isinstance(image, Streamed) else jnp.asarray(image)


def _classes(config: StageConfig, label: Array) -> list[Array]:
    """Return the indices of each class, for balanced batches."""
    if config.sampling != "balanced":
        return []
    values = np.asarray(label)
    return [
        jnp.asarray(np.flatnonzero(values == value).astype(np.int32))
        for value in np.unique(values)
    ]


def _record(info: loop.EpochInfo, number: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the record of an epoch, or raise if a loss is not finite."""
    record = {
        name: np.asarray(value).tolist() for name, value in info._asdict().items()
    }
    for seed, loss, after in zip(
        seeds, record["loss"], record["validation_loss"], strict=True
    ):
        if not np.isfinite([loss, after]).all():
            raise NonFiniteError(
                f"epoch {number + 1}, seed {seed}: the loss is not finite; a smaller "
                "rate may help. The last checkpoint, if any, is kept"
            )
    return {"epoch": number + 1, **record}
