"""Train a U-Net on radiographs with lung masks, to the same bits after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from covid_cxr.images.augmentation import augment
from covid_cxr.models.chunks import chunked
from covid_cxr.models.networks import initialised
from covid_cxr.segmentation.inputs import Radiographs, SegmentConfig, prepared
from covid_cxr.segmentation.losses import bce_dice, hard_dice
from covid_cxr.segmentation.unet import UNet
from covid_cxr.train.training import without_clock
from synaptax import runs, training
from synaptax.data.images import epoch_order
from synaptax.data.streaming import fingerprint
from synaptax.training import scan_batches
from synaptax.typing import Array

CHUNK = 16
_GAMMA = 0.35  # exponents of the random exposure: exp(+- this)


class Segmenter(NamedTuple):
    """A trained U-Net.

    Attributes:
        params: its weights.
        config: how it came to be.
        history: a record an epoch.

    Example:
        >>> covid_cxr.segmentation.Segmenter._fields
        ('params', 'config', 'history')
    """

    params: Any
    config: SegmentConfig
    history: list[dict[str, Any]]


class _State(NamedTuple):
    params: Any
    opt_state: Any
    key: Array
    best: Any
    value: Array


def fit(
    config: SegmentConfig,
    train: Radiographs,
    validation: Radiographs | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> Segmenter:
    """Train a U-Net.

    Args:
        config: how.
        train: radiographs with masks.
        validation: radiographs of other patients; needed to select by them, and for the
            record.
        folder: run folder for metrics and checkpoints; None writes nothing.
        resume: go on with the run in the folder, if it holds one.
        quiet: show no progress.

    Returns:
        The network.

    Raises:
        ValueError: naming a field or array that does not fit, or a checkpoint of
            other data.
        synaptax.training.NonFiniteError: for a loss that is not finite.

    Example:
        >>> from covid_cxr import segmentation
        >>> config = segmentation.SegmentConfig(epochs=5)
        >>> segmenter = segmentation.fit(config, train, validation)  # doctest: +SKIP
    """
    train, watched = prepared(config, train, validation)
    count = train.image.shape[0]
    place = None if folder is None else runs.create(folder, config, resume=resume)
    stage = training.Stage(
        "U-Net",
        epochs=config.epochs,
        start=lambda previous: _start(config, train.image.shape),
        epoch=_epoch_of(config, count),
        finite=lambda info: [info["loss"]],
        data=(train, watched),
        record=lambda info: {name: float(value) for name, value in info.items()},
        replicas=(f"seed {config.seed}",),
        advice=f"a smaller rate (now {config.rate}) may help",
    )
    outcome = training.run(
        [stage],
        place,
        axis="single",  # checkpoints have no axis of replicas
        checkpoint_every=config.checkpoint_every,
        expect={"data": fingerprint((train, watched))},
        quiet=quiet,
        donate=True,
    )
    return Segmenter(outcome.state.best, config, without_clock(outcome.records))


def _optimizer(config: SegmentConfig, count: int) -> optax.GradientTransformation:
    steps = config.epochs * (count // config.batch)
    return optax.adamw(
        optax.cosine_decay_schedule(config.rate, steps),
        weight_decay=config.weight_decay,
    )


def _start(config: SegmentConfig, shape: tuple[int, ...]) -> _State:
    key = jax.random.key(config.seed)
    net, first = UNet(config.net), jax.random.fold_in(key, 0)
    params = initialised(net, first, (1, *shape[1:]))["params"]
    opt_state = _optimizer(config, shape[0]).init(params)
    # A copy: the state is donated, and one buffer cannot be given away twice.
    best = jax.tree.map(jnp.copy, params)
    return _State(
        params, opt_state, jax.random.fold_in(key, 1), best, jnp.float32(-jnp.inf)
    )


@lru_cache(maxsize=4)
def _epoch_of(config: SegmentConfig, count: int) -> Callable[..., Any]:
    """Return the epoch for ``count`` radiographs; the same function when asked again.

    So it is compiled once in a process.
    """
    net, tx = UNet(config.net), _optimizer(config, count)
    return partial(_epoch, config=config, net=net, tx=tx)


def _epoch(
    state: _State,
    number: Array,
    train: Radiographs,
    watched: Radiographs,
    *,
    config: SegmentConfig,
    net: UNet,
    tx: optax.GradientTransformation,
) -> tuple[_State, dict[str, Array]]:
    """Run one epoch: w <- w - AdamW(d/dw of the batch's mean BCE + Dice)."""
    order_key, move_key = jax.random.split(jax.random.fold_in(state.key, number))
    order = epoch_order(order_key, train.image.shape[0], config.batch)

    def step(carry: Any, batch: Radiographs, key: Array) -> Any:
        params, opt_state = carry
        mask = batch.mask.astype(jnp.float32)
        image, mask = moved(key, batch.image, mask, config)
        target = jnp.moveaxis(mask, 1, -1)

        def objective(params: Any) -> Array:
            logits = logits_of(net, params, image)
            return bce_dice(logits, target, config.dice_weight).mean()

        loss, grads = jax.value_and_grad(objective)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax counts in integers
            updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    carry = (state.params, state.opt_state)
    keys = jax.random.split(move_key, order.shape[0])
    (params, opt_state), losses = scan_batches(step, carry, train, order, keys)
    loss, dice = _judged(net, params, watched, config.dice_weight)
    better = (dice > state.value) | (config.select == "last")
    best = jax.tree.map(lambda a, b: jnp.where(better, a, b), params, state.best)
    value = jnp.where(better, dice, state.value)
    info = {"loss": losses.mean(), "validation_loss": loss, "dice": dice}
    return _State(params, opt_state, state.key, best, value), info


def moved(
    key: Array, image: Array, mask: Array, config: SegmentConfig
) -> tuple[Array, Array]:
    """Move radiographs (B, H, W) at random, their masks (B, C, H, W) with them."""
    moves = config.augmentation
    if moves is not None:
        # The same keys move a radiograph and each of its masks.
        keys = jax.random.split(jax.random.fold_in(key, 0), image.shape[0])
        image = augment(keys, image, moves)
        stack = jnp.moveaxis(mask, 1, 0)
        turned = jax.vmap(lambda one: augment(keys, one, moves))(stack)
        mask = (jnp.moveaxis(turned, 0, 1) >= 0.5).astype(jnp.float32)
    if config.exposure:
        shape = (image.shape[0], 1, 1)
        power = jax.random.uniform(
            jax.random.fold_in(key, 1), shape, minval=-_GAMMA, maxval=_GAMMA
        )
        # x^(e^u), u uniform about 0: as often brighter as darker.
        image = jnp.clip(image, 1e-4, 1) ** jnp.exp(power)
    return image, mask


def _judged(
    net: UNet, params: Any, radiographs: Radiographs, dice_weight: float
) -> tuple[Array, Array]:
    """Return the mean loss and the mean Dice of the mask at 1/2."""

    def part(chunk: Radiographs) -> tuple[Array, Array]:
        target = jnp.moveaxis(chunk.mask.astype(jnp.float32), 1, -1)
        logits = logits_of(net, params, chunk.image)
        loss = bce_dice(logits, target, dice_weight)
        # A logit above 0 is a probability above 1/2.
        return loss, hard_dice((logits > 0).astype(jnp.float32), target)

    loss, dice = chunked(part, radiographs, size=CHUNK)
    return loss.mean(), dice.mean()


def logits_of(net: UNet, params: Any, image: Array) -> Array:
    """Return logits (B, H, W, C) of images (B, H, W)."""
    return net.apply({"params": params}, image)  # pyright: ignore
