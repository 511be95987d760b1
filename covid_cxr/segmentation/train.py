"""Train a U-Net on films with lung masks, to the same bits after a kill."""

from __future__ import annotations

import dataclasses
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from covid_cxr.images.augmentation import Augmentation, augment
from covid_cxr.models.chunks import chunked
from covid_cxr.models.networks import initialised
from covid_cxr.segmentation.losses import bce_dice, hard_dice
from covid_cxr.segmentation.unet import UNet, UNetConfig
from covid_cxr.train.keeping import take_up
from synaptax import runs
from synaptax.cli.fields import NotHelp
from synaptax.data.images import epoch_order
from synaptax.runs import checkpoints
from synaptax.runs.progress import Progress
from synaptax.typing import Array

_CHUNK = 16
_GAMMA = 0.35  # exponents of the random exposure: exp(+- this)
_NET = UNetConfig()
# No flip: it would swap right and left.
_MOVES = Augmentation(flip=0.0, degrees=5.0, shift=0.05, zoom=1.15)


@dataclasses.dataclass(frozen=True)
class SegmentConfig:
    """How to train.

    Attributes:
        net: What network.
        side: Pixels a side of the films.
        epochs: Passes over the films.
        batch: Films a step.
        rate: Learning rate of AdamW at the start; it falls as half a cosine.
        weight_decay: Of AdamW.
        dice_weight: Of the soft Dice term beside the cross-entropy.
        augmentation: How films move, masks with them; None for not at all.
        exposure: Whether to change exposures at random (a power of the brightness).
        select: The weights kept: of the last epoch, or best by validation Dice.
        seed: Of initial weights, order and augmentation.
        checkpoint_every: Epochs between checkpoints.
    """

    net: UNetConfig = _NET
    side: int = 64
    epochs: int = 40
    batch: int = 8
    rate: float = 3e-3
    weight_decay: float = 1e-4
    dice_weight: float = 1.0
    augmentation: Augmentation | None = _MOVES
    exposure: Annotated[bool, NotHelp(help="Do not change exposures at random.")] = True
    select: str = "last"
    seed: int = 0
    checkpoint_every: int = 10


class Films(NamedTuple):
    """Films with their masks.

    Attributes:
        image: (N, H, W) float32 in [0, 1].
        mask: (N, C, H, W) bool; C = 2: right lung (at the viewer's left), then left.
    """

    image: Any
    mask: Any


class Segmenter(NamedTuple):
    """A trained U-Net.

    Attributes:
        params: its weights.
        config: how it came to be.
        history: a record an epoch.
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
    train: Films,
    validation: Films | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> Segmenter:
    """Train a U-Net.

    Args:
        config: how.
        train: films with masks.
        validation: films of other patients; needed to select by them, and for the
            record.
        folder: run folder for metrics and checkpoints; None writes nothing.
        resume: go on with the run in the folder, if it holds one.
        quiet: show no progress.

    Returns:
        The network.

    Raises:
        ValueError: naming a field or array that does not fit, or a checkpoint of
            other data.
        ArithmeticError: for a loss that is not finite.
    """
    train, watched = _prepared(config, train, validation)
    step, state = _compiled(config, train.image.shape[0]), _start(config, train)
    keeper, state = take_up(folder, config, state, data=(train, watched), resume=resume)
    epochs = config.epochs
    with (
        Progress(quiet=quiet) as progress,
        progress.stage("U-Net", keeper.done, epochs) as report,
    ):
        for number in range(keeper.done, epochs):
            state, info = step(state, jnp.int32(number), train, watched)
            record = {"epoch": number + 1, **{k: float(v) for k, v in info.items()}}
            if not np.isfinite(record["loss"]):
                raise ArithmeticError(f"epoch {number + 1}: the loss is not finite")
            report({**record, "validation_error": 1 - record["dice"]})
            keeper.keep(record, state, epochs=epochs, every=config.checkpoint_every)
    return Segmenter(state.best, config, keeper.history)


def _prepared(
    config: SegmentConfig, train: Films, validation: Films | None
) -> tuple[Films, Films]:
    """Return the films to train on and those to watch, or raise a ValueError."""
    _check(config)
    train = _checked_films(config.net, train, "train")
    if train.image.shape[1:] != (config.side, config.side):
        raise ValueError(
            f"side: the films are {train.image.shape[1:]}, not {config.side} a side"
        )
    if train.image.shape[0] < config.batch:
        raise ValueError(
            f"batch: {config.batch} is more than the {train.image.shape[0]} films"
        )
    if validation is None:
        if config.select == "best":
            raise ValueError("select: 'best' needs validation films")
        return train, train
    return train, _checked_films(config.net, validation, "validation")


def predict(segmenter: Segmenter, image: Any) -> np.ndarray:
    """Return the probability of lung in each pixel: (N, C, H, W) float32.

    Args:
        segmenter: a trained U-Net.
        image: (N, H, W) float32 in [0, 1].

    Raises:
        ValueError: for images of another shape or kind.
    """
    image = _checked_images(segmenter.config.net, image, "image")
    return np.asarray(_probabilities(segmenter.config.net, segmenter.params, image))


def save(segmenter: Segmenter, path: str | os.PathLike[str]) -> None:
    """Write a trained U-Net into a run folder, whole."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.save(folder / "weights", segmenter.params, step=0, keep=1)
    content = {"config": segmenter.config, "history": segmenter.history}
    runs.write_json(folder / "segmenter.json", content)


def load(path: str | os.PathLike[str]) -> Segmenter:
    """Read what :func:`save` wrote.

    Raises:
        OSError: if the folder holds none.
        ValueError: if it is damaged.
    """
    folder = Path(path)
    content = runs.read_json(folder / "segmenter.json")
    try:
        fields = dict(content["config"])
        moved = fields["augmentation"]
        config = SegmentConfig(
            **{
                **fields,
                "net": UNetConfig(**fields["net"]),
                "augmentation": None if moved is None else Augmentation(**moved),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a saved segmentation: {error}") from error
    side = 2**config.net.depth
    like = jax.eval_shape(
        UNet(config.net).init, jax.random.key(0), jnp.zeros((1, side, side))
    )["params"]
    params = checkpoints.restore(folder / "weights", like).state
    return Segmenter(params, config, content["history"])


def _checked_films(net: UNetConfig, films: Films, name: str) -> Films:
    """Return films as device arrays, or raise a ValueError naming what is wrong."""
    image = _checked_images(net, films.image, f"{name}.image")
    wanted = (image.shape[0], net.outputs, *image.shape[1:])
    mask = np.asarray(films.mask)
    if mask.shape != wanted or mask.dtype != bool:
        raise ValueError(
            f"{name}.mask: expected bool{wanted}, got {mask.dtype}{mask.shape}"
        )
    return Films(image, jnp.asarray(mask))


def _checked_images(net: UNetConfig, image: Any, name: str) -> Array:
    if np.ndim(image) != 3 or not image.shape[0] or image.dtype != np.float32:
        kind = f"{getattr(image, 'dtype', type(image).__name__)}{np.shape(image)}"
        raise ValueError(f"{name}: expected float32 (N, H, W), N >= 1, got {kind}")
    net.check_side(*image.shape[1:])
    return jnp.asarray(image)


def _check(config: SegmentConfig) -> None:
    for name in ("side", "epochs", "batch", "checkpoint_every"):
        value = getattr(config, name)
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if not config.rate > 0:
        raise ValueError(f"rate: expected > 0, got {config.rate}")
    if config.select not in ("last", "best"):
        raise ValueError(f"select: expected last or best, got {config.select!r}")


def _optimizer(config: SegmentConfig, count: int) -> optax.GradientTransformation:
    steps = config.epochs * (count // config.batch)
    return optax.adamw(
        optax.cosine_decay_schedule(config.rate, steps),
        weight_decay=config.weight_decay,
    )


def _start(config: SegmentConfig, train: Films) -> _State:
    key = jax.random.key(config.seed)
    shape = (1, *train.image.shape[1:])
    params = initialised(UNet(config.net), jax.random.fold_in(key, 0), shape)["params"]
    opt_state = _optimizer(config, train.image.shape[0]).init(params)
    best = jax.tree.map(jnp.copy, params)
    return _State(
        params, opt_state, jax.random.fold_in(key, 1), best, jnp.float32(-jnp.inf)
    )


@lru_cache(maxsize=4)
def _compiled(config: SegmentConfig, count: int) -> Any:
    """Return the jitted epoch for ``count`` films; the same one when asked again."""
    net, tx = UNet(config.net), _optimizer(config, count)

    def step(carry: Any, drawn: Any, train: Films) -> Any:
        params, opt_state = carry
        index, key = drawn
        image, mask = train.image[index], train.mask[index].astype(jnp.float32)
        image, mask = moved(key, image, mask, config)
        target = jnp.moveaxis(mask, 1, -1)

        def objective(params: Any) -> Array:
            logits = _logits(net, params, image)
            return bce_dice(logits, target, config.dice_weight).mean()

        loss, grads = jax.value_and_grad(objective)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax counts in integers
            updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    def epoch(state: _State, number: Array, train: Films, watched: Films) -> Any:
        order_key, move_key = jax.random.split(jax.random.fold_in(state.key, number))
        order = epoch_order(order_key, count, config.batch)
        keys = jax.random.split(move_key, order.shape[0])
        (params, opt_state), losses = lax.scan(
            partial(step, train=train), (state.params, state.opt_state), (order, keys)
        )
        loss, dice = _judged(net, params, watched, config.dice_weight)
        better = (dice > state.value) | (config.select == "last")
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), params, state.best)
        value = jnp.where(better, dice, state.value)
        info = {"loss": losses.mean(), "validation_loss": loss, "dice": dice}
        return _State(params, opt_state, state.key, best, value), info

    return jax.jit(epoch, donate_argnums=0)


def moved(
    key: Array, image: Array, mask: Array, config: SegmentConfig
) -> tuple[Array, Array]:
    """Move films (B, H, W) at random, their masks (B, C, H, W) with them."""
    if config.augmentation is not None:
        keys = jax.random.split(jax.random.fold_in(key, 0), image.shape[0])
        image = augment(keys, image, config.augmentation)
        stack = jnp.moveaxis(mask, 1, 0)
        turned = jax.vmap(lambda one: augment(keys, one, config.augmentation))(stack)
        mask = (jnp.moveaxis(turned, 0, 1) >= 0.5).astype(jnp.float32)
    if config.exposure:
        shape = (image.shape[0], 1, 1)
        power = jax.random.uniform(
            jax.random.fold_in(key, 1), shape, minval=-_GAMMA, maxval=_GAMMA
        )
        image = jnp.clip(image, 1e-4, 1) ** jnp.exp(power)
    return image, mask


def _judged(
    net: UNet, params: Any, films: Films, dice_weight: float
) -> tuple[Array, Array]:
    """Return the mean loss and the mean Dice of the mask at 1/2."""

    def part(chunk: Films) -> tuple[Array, Array]:
        target = jnp.moveaxis(chunk.mask.astype(jnp.float32), 1, -1)
        logits = _logits(net, params, chunk.image)
        loss = bce_dice(logits, target, dice_weight)
        return loss, hard_dice((logits > 0).astype(jnp.float32), target)

    loss, dice = chunked(part, films, size=_CHUNK)
    return loss.mean(), dice.mean()


def _logits(net: UNet, params: Any, image: Array) -> Array:
    return net.apply({"params": params}, image)  # pyright: ignore


@partial(jax.jit, static_argnums=0)
def _probabilities(config: UNetConfig, params: Any, image: Array) -> Array:
    net = UNet(config)
    logits = chunked(lambda part: _logits(net, params, part), image, size=_CHUNK)
    return jnp.moveaxis(jax.nn.sigmoid(logits), -1, 1)
