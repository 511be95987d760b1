"""The jitted inside of a plain run: a step, an epoch, a look at the network.

Everything is a function of one member (one seed); the caller maps it over all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from pruning._preactivations import preactivations
from pruning.psp import mean_squares, with_psp
from pruning.regularisers.config import Plain
from synaptax.data.augment import crop_flip
from synaptax.data.images import Batch, epoch_order
from synaptax.nets.models import Network
from synaptax.training.evaluation import cross_entropy, summed
from synaptax.typing import Array


class Member(NamedTuple):
    """What the next epoch of one network needs.

    Attributes:
        params: the weights.
        stats: what the network keeps beside them, such as running moments.
        opt_state: of the optimiser.
        key: typed PRNG key; an epoch's key is folded from it and the epoch's number.
    """

    params: Any
    stats: Any
    opt_state: Any
    key: Array


class Look(NamedTuple):
    """What a network does on a data set, in evaluation mode.

    Attributes:
        loss: mean cross-entropy, in nats.
        error: a fraction.
        mean_squares: mean of z^2 by layer, logits included: path -> float.
    """

    loss: Array
    error: Array
    mean_squares: dict[str, Array]


class EpochInfo(NamedTuple):
    """What a person wants to know of an epoch.

    Attributes:
        loss: mean training cross-entropy over its steps, without the regulariser.
        finite: whether the loss of every step was finite.
        watched: on the watched set, at the end of the epoch.
    """

    loss: Array
    finite: Array
    watched: Look


def optimiser(config: Plain, steps: int) -> optax.GradientTransformation:
    """Return SGD with the config's momentum and drops of the learning rate.

    Args:
        config: of the run.
        steps: steps of one epoch.
    """
    ends = jnp.asarray([epoch * steps for epoch in config.drops], jnp.int32)
    rates = config.lr * 0.1 ** jnp.arange(len(config.drops) + 1, dtype=jnp.float32)

    def rate(count: Any) -> Array:
        return rates[jnp.sum(count >= ends)]

    return optax.sgd(
        rate if config.drops else config.lr, momentum=config.momentum or None
    )


def start(net: Network, tx: optax.GradientTransformation, key: Array) -> Member:
    """Return a member at the start of its run.

    Args:
        net: the network.
        tx: see :func:`optimiser`.
        key: the seed's own; fixes the initial weights and the order of examples.
    """
    params, stats = net.init(jax.random.fold_in(key, 0))
    return Member(params, stats, tx.init(params), jax.random.fold_in(key, 1))


def shrink(config: Plain) -> Callable[[Any, Any], Any]:
    """Return ``(gradient, weight) -> gradient`` plus that of the l2 or l1 term."""
    l2 = config.l2 if config.method in ("l2", "psp+l2") else 0.0
    l1 = config.l1 if config.method == "l1" else 0.0

    def one(gradient: Array, weight: Array) -> Array:
        if l2:
            gradient = gradient + l2 * weight
        return gradient + l1 * jnp.sign(weight) if l1 else gradient

    return one


def objective(config: Plain, net: Network) -> Callable[..., Any]:
    """Return ``(params, stats, batch, key) -> (J, (cross-entropy, stats))``."""

    def loss_fn(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
        logits, stats = net.train(params, stats, batch.image, key)
        return cross_entropy(logits, batch.label).mean(), (logits, stats)

    if config.method not in ("psp", "psp+l2"):

        def plain(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
            loss, (_, stats) = loss_fn(params, stats, batch, key)
            return loss, (loss, stats)

        return plain
    total = with_psp(
        loss_fn,
        config.gamma,
        normalization=config.normalization,
        logits=(lambda aux: aux[0]) if config.logits else None,
        local=config.local,
        has_aux=True,
    )

    def regularised(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
        value, info = total(params, stats, batch, key)
        return value, (info.loss, info.aux[1])

    return regularised


def epoch(
    member: Member,
    number: Array,
    train: Batch,
    watched: Batch,
    *,
    config: Plain,
    net: Network,
    tx: optax.GradientTransformation,
    fill: tuple[float, ...],
) -> tuple[Member, EpochInfo]:
    """Run one epoch of one member, and look at the network.

    Args:
        member: its state.
        number: the epoch's number; with the member's key it fixes the order of the
            examples, their augmentation and the dropout.
        train: the training examples.
        watched: the examples to look at afterwards.
        config: of the run.
        net: the network.
        tx: see :func:`optimiser`.
        fill: value of a black pixel, per channel.

    Returns:
        The next state and what happened.
    """
    key = jax.random.fold_in(member.key, number)
    order = epoch_order(key, train.label.shape[0], config.batch)
    grad_fn = jax.value_and_grad(objective(config, net), has_aux=True)
    added = shrink(config)

    def step(carry: Any, inputs: Any) -> tuple[Any, Array]:
        (params, stats, opt_state), (number, index) = carry, inputs
        image = train.image[index]
        own = jax.random.fold_in(key, number)
        if config.augment:
            image = crop_flip(jax.random.fold_in(own, 1), image, jnp.asarray(fill))
        batch = Batch(image, train.label[index])
        (_, (loss, stats)), grads = grad_fn(params, stats, batch, own)
        grads = jax.tree.map(added, grads, params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), stats, opt_state), loss

    carry = (member.params, member.stats, member.opt_state)
    numbers = jnp.arange(order.shape[0], dtype=jnp.int32)
    (params, stats, opt_state), losses = lax.scan(step, carry, (numbers, order))
    member = Member(params, stats, opt_state, member.key)
    seen = look(net, params, stats, watched)
    return member, EpochInfo(losses.mean(), jnp.isfinite(losses).all(), seen)


def look(net: Network, params: Any, stats: Any, data: Batch) -> Look:
    """Return loss, error and the pre-activations' mean squares over a data set.

    Args:
        net: the network, in evaluation mode.
        params: its weights.
        stats: its state.
        data: the examples.
    """
    tapped = preactivations(lambda params, image: net.apply(params, stats, image))

    def sums(part: Batch) -> tuple[Array, Array, Any]:
        logits, zs = tapped(params, part.image)
        wrong = jnp.argmax(logits, axis=-1) != part.label
        size = part.label.shape[0]
        squares = jax.tree.map(lambda mean: size * mean, mean_squares(zs))
        return cross_entropy(logits, part.label).sum(), wrong.sum(), squares

    count = data.label.shape[0]
    loss, wrong, squares = summed(sums, data)
    error = wrong.astype(jnp.float32) / count
    return Look(loss / count, error, jax.tree.map(lambda s: s / count, squares))
