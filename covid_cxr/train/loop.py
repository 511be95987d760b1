"""The mathematics of a stage: one epoch of one network, as a pure function."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from covid_cxr.images.augmentation import augment
from covid_cxr.metrics.roc import weighted_auc
from covid_cxr.models.networks import Network
from covid_cxr.train.inputs import balanced_order
from covid_cxr.train.losses import loss_function
from covid_cxr.train.scaling import Scale, logits_of, standardise, unit
from covid_cxr.train.schedules import Plateau, cosine, plateau_start, plateau_step
from covid_cxr.train.stages import StageConfig
from synaptax.data.images import Batch, epoch_order
from synaptax.training import scan_batches
from synaptax.trees import map_named
from synaptax.typing import Array

_HEAD = "fc/"


class Best(NamedTuple):
    """The weights to keep.

    Attributes:
        params: those weights.
        stats: their running averages.
        value: what they were chosen by, higher is better; -inf at first.
        epoch: int32, the epoch they come from, counted from 1; 0 at first.
    """

    params: Any
    stats: Any
    value: Array
    epoch: Array


class Replica(NamedTuple):
    """What the next epoch of one network needs.

    Attributes:
        params: the weights.
        stats: running averages of batch-norm, or an empty tree.
        opt_state: of the optimizer.
        key: typed PRNG key; an epoch's key is folded from it and the epoch's number.
        plateau: of the validation loss.
        best: see :class:`Best`.
    """

    params: Any
    stats: Any
    opt_state: Any
    key: Array
    plateau: Plateau
    best: Best


class EpochInfo(NamedTuple):
    """What a person wants to know of an epoch.

    Attributes:
        loss: mean training loss.
        validation_loss: mean loss after the epoch.
        validation_error: share of wrong decisions (at 0.5 with one output).
        validation_auc: area under the ROC curve; NaN with more than one output.
        rate: the learning rate.
    """

    loss: Array
    validation_loss: Array
    validation_error: Array
    validation_auc: Array
    rate: Array


def optimizer(config: StageConfig, norm: str) -> optax.GradientTransformation:
    """Return the chain of a stage, at learning rate 1.

    Args:
        config: the stage.
        norm: the network's normalisation; scale and bias of a frozen one stay.

    Returns:
        A transform; its updates are multiplied by the rate of the epoch.
    """
    if config.optimizer == "adamw":
        # AdamW decays outside the moments, SGD inside the gradient, as PyTorch's do.
        steps = [optax.scale_by_adam(), optax.add_decayed_weights(config.weight_decay)]
    else:
        steps = [optax.add_decayed_weights(config.weight_decay)]
        if config.momentum:
            steps.append(optax.trace(config.momentum))

    def factor(name: str, leaf: Array) -> Array:
        if name.startswith(_HEAD):
            return leaf
        # A norm's scale and bias are the leaves of one axis.
        fixed = config.freeze_trunk or (norm == "frozen" and leaf.ndim == 1)
        return leaf * (0.0 if fixed else config.trunk_rate)

    # After the decay, so that a fixed leaf does not decay either.
    scaled = optax.stateless(lambda updates, params: map_named(factor, updates))
    return optax.chain(*steps, scaled, optax.scale(-1.0))


def start(
    params: Any, stats: Any, key: Array, tx: optax.GradientTransformation
) -> Replica:
    """Return a network's state before its first epoch."""
    best = Best(params, stats, jnp.float32(-jnp.inf), jnp.int32(0))
    return Replica(params, stats, tx.init(params), key, plateau_start(), best)


@lru_cache(maxsize=8)
def epoch_of(net: Network, config: StageConfig) -> Callable[..., Any]:
    """Return a stage's :func:`epoch`; the same function when asked again.

    So it is compiled once in a process.
    """
    tx = optimizer(config, net.config.norm)
    return partial(epoch, net=net, tx=tx, config=config)


def epoch(
    replica: Replica,
    number: Array,
    train: Batch,
    validation: Batch,
    classes: list[Array],
    scale: Scale,
    *,
    net: Network,
    tx: optax.GradientTransformation,
    config: StageConfig,
) -> tuple[Replica, EpochInfo]:
    """Run one epoch of one network and look at the validation images.

    Args:
        replica: its state.
        number: the epoch's number from 0; with the replica's key it fixes the order.
        train: training images.
        validation: validation images.
        classes: the training images of each class (:func:`balanced_order`).
        scale: of the images; the stage's own is not looked at.
        net: the network.
        tx: of :func:`optimizer`.
        config: the stage.

    Returns:
        The next state and what happened.
    """
    # Folded from the epoch's number: a resumed run draws what the whole one would have.
    order_key, move_key = jax.random.split(jax.random.fold_in(replica.key, number))
    count = train.label.shape[0]
    if config.sampling == "balanced":
        steps = count // config.batch
        order = balanced_order(order_key, classes, steps, config.batch)
    else:
        order = epoch_order(order_key, count, config.batch)
    rate = config.rate * replica.plateau.factor
    if config.schedule == "cosine":
        rate = config.rate * cosine(number, config.epochs)
    step = partial(_step, scale=scale, rate=rate, net=net, tx=tx, config=config)
    keys = jax.random.split(move_key, order.shape[0])
    carry = (replica.params, replica.stats, replica.opt_state)
    (params, stats, opt_state), losses = scan_batches(step, carry, train, order, keys)
    info = _look(net, params, stats, validation, scale, config)._replace(
        loss=losses.mean(), rate=rate
    )
    plateau = replica.plateau
    if config.schedule == "plateau":
        plateau = plateau_step(
            plateau,
            info.validation_loss,
            patience=config.patience,
            factor=config.factor,
        )
    best = _selected(replica.best, params, stats, number, info, config)
    return Replica(params, stats, opt_state, replica.key, plateau, best), info


def _step(
    carry: tuple[Any, Any, Any],
    batch: Batch,
    key: Array,
    *,
    scale: Scale,
    rate: Array,
    net: Network,
    tx: optax.GradientTransformation,
    config: StageConfig,
) -> tuple[tuple[Any, Any, Any], Array]:
    """Take one step: w <- w - rate * tx(dL/dw), L the batch's mean loss."""
    params, stats, opt_state = carry
    image, label = unit(batch.image), batch.label
    if config.augmentation is not None:
        keys = jax.random.split(key, label.shape[0])
        image = augment(keys, image[..., 0], config.augmentation)[..., None]
    image = standardise(image, scale)
    loss_of = loss_function(config.loss, net.config.classes, config.gamma)

    def objective(params: Any) -> tuple[Array, Any]:
        if config.freeze_trunk:
            # Evaluation mode too: batch statistics would go on moving in a trunk that
            # is fixed.
            params = {**lax.stop_gradient(params), "fc": params["fc"]}
            return loss_of(net.apply(params, stats, image), label).mean(), stats
        logits, new = net.train(params, stats, image)
        return loss_of(logits, label).mean(), new

    (loss, stats), grads = jax.value_and_grad(objective, has_aux=True)(params)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam counts in integers
        updates, opt_state = tx.update(grads, opt_state, params)
    updates = jax.tree.map(lambda u: rate * u, updates)
    return (optax.apply_updates(params, updates), stats, opt_state), loss


def _look(
    net: Network,
    params: Any,
    stats: Any,
    data: Batch,
    scale: Scale,
    config: StageConfig,
) -> EpochInfo:
    """Return the validation figures of some weights."""
    logits = logits_of(net, params, stats, data.image, scale)
    loss_of = loss_function(config.loss, net.config.classes, config.gamma)
    loss = loss_of(logits, data.label).mean()
    area = jnp.float32(jnp.nan)
    if net.config.classes == 1:
        score, truth = logits[:, 0], data.label.astype(jnp.float32)
        # Ranks by value: equal logits share one, as weighted_auc wants it.
        rank = jnp.searchsorted(jnp.sort(score), score).astype(jnp.int32)
        area = weighted_auc(truth, rank, jnp.ones_like(truth))
        # A logit of 0 is a probability of 1/2.
        called = (score >= 0).astype(data.label.dtype)
    else:
        called = jnp.argmax(logits, axis=-1).astype(data.label.dtype)
    error = (called != data.label).astype(jnp.float32).mean()
    nothing = jnp.float32(0)
    return EpochInfo(nothing, loss, error, area, nothing)


def _selected(
    best: Best,
    params: Any,
    stats: Any,
    number: Array,
    info: EpochInfo,
    config: StageConfig,
) -> Best:
    """Return the weights to keep after an epoch; of equal ones the earlier."""
    now = Best(params, stats, best.value, number.astype(jnp.int32) + 1)
    if config.select == "last":
        return now
    # With several outputs there is no area: then the loss, the lower the better.
    value = jnp.where(
        jnp.isnan(info.validation_auc), -info.validation_loss, info.validation_auc
    )
    # Strictly: of equal epochs the earlier is kept, and a NaN never is.
    better = value > best.value
    now = now._replace(value=value)
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
