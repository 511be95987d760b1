"""The mathematics of a regulariser: objective, gradient, step, epoch, evaluation.

With the mean cross-entropy L, the weights w and mean squares of pre-activations z, the
methods minimise J =

    none, dropout  L
    l2             L + l2 / 2 sum w^2
    l1             L + l1 sum |w|
    psp            L + gamma R,  R = mean over layers of mean z^2  (arXiv 1907.08544)
    psp+l2         L + gamma R + l2 / 2 sum w^2

The authors' scripts for CIFAR-10 differ among themselves in how R is taken
(:func:`pruning.psp.psp_penalty`), in whether the logits count, in whether z stands
before batch-norm or after it (their "local2" models have both), and in whether R has a
plain step of its own, on the same batch, after that on L (``sepopt``); each is a field
of the configuration.

Everything is a pure function of one replica (one seed);
:func:`synaptax.training.run` maps it over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from pruning._preactivations import LOGITS, preactivations
from pruning.psp import PSPInfo, mean_squares, psp_penalty
from pruning.regularisers.config import PENALISED, RegulariserConfig
from synaptax.data.augment import crop_flip
from synaptax.data.images import Batch, epoch_order
from synaptax.nets.models import Network
from synaptax.training.epochs import scan_batches
from synaptax.training.evaluation import cross_entropy, summed
from synaptax.typing import Array

BEFORE_NORM = "before_norm"


class Replica(NamedTuple):
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


class Evaluation(NamedTuple):
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
        evaluation: on the monitored set, at the end of the epoch.
    """

    loss: Array
    finite: Array
    evaluation: Evaluation


def optimiser(config: RegulariserConfig, steps: int) -> optax.GradientTransformation:
    """Return SGD with the config's momentum and drops of the learning rate.

    Args:
        config: of the run.
        steps: steps of one epoch.
    """
    rate = learning_rate(config, steps) if config.drops else config.lr
    return optax.sgd(rate, momentum=config.momentum or None)


def learning_rate(config: RegulariserConfig, steps: int) -> Callable[[Any], Array]:
    """Return the learning rate of a step, counted from the start of the run."""
    ends = jnp.asarray([epoch * steps for epoch in config.drops], jnp.int32)
    rates = config.lr * 0.1 ** jnp.arange(len(config.drops) + 1, dtype=jnp.float32)
    return lambda count: rates[jnp.sum(count >= ends)]


def start(net: Network, tx: optax.GradientTransformation, key: Array) -> Replica:
    """Return a replica at the start of its run.

    Args:
        net: the network.
        tx: see :func:`optimiser`.
        key: the seed's own; fixes the initial weights and the order of examples.
    """
    params, stats = net.init(jax.random.fold_in(key, 0))
    return Replica(params, stats, tx.init(params), jax.random.fold_in(key, 1))


def with_weight_terms(config: RegulariserConfig) -> Callable[[Any, Any], Any]:
    """Return ``(gradient, weight) -> gradient + l2 w + l1 sign(w)``.

    The terms of J that need no forward pass: their gradient is added by hand. One is 0
    where the method has no such term.
    """
    l2 = config.l2 if config.method in ("l2", "psp+l2") else 0.0
    l1 = config.l1 if config.method == "l1" else 0.0

    def one(gradient: Array, weight: Array) -> Array:
        # d/dw (l2 / 2) w^2 = l2 w; d/dw l1 |w| = l1 sign(w), 0 at w = 0.
        if l2:
            gradient = gradient + l2 * weight
        return gradient + l1 * jnp.sign(weight) if l1 else gradient

    return one


def objective(config: RegulariserConfig, net: Network) -> Callable[..., Any]:
    """Return ``(params, stats, batch, key) -> (L + gamma R, (L, stats))``.

    L is the batch's mean cross-entropy; R is left out where the method has no penalty
    on pre-activations, or takes a step of its own on it.
    """
    if config.method in PENALISED and not config.separate:
        total = _penalised(config, net)

        def regularised(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
            value, info = total(params, stats, batch, key)
            return value, (info.loss, info.aux[1])

        return regularised

    def unpenalised(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
        loss, (_, stats) = _loss(net, params, stats, batch, key)
        return loss, (loss, stats)

    return unpenalised


def penalty(config: RegulariserConfig, net: Network) -> Callable[..., Any]:
    """Return ``(params, stats, batch, key) -> (gamma R, stats)``."""
    total = _penalised(config, net)

    def alone(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
        _, info = total(params, stats, batch, key)
        return config.gamma * info.penalty, info.aux[1]

    return alone


def _loss(net: Network, params: Any, stats: Any, batch: Batch, key: Array) -> Any:
    logits, stats = net.train(params, stats, batch.image, key)
    return cross_entropy(logits, batch.label).mean(), (logits, stats)


def _penalised(config: RegulariserConfig, net: Network) -> Callable[..., Any]:
    """Return the loss with gamma R added, as :func:`pruning.psp.with_psp` has it."""
    before = config.values == "before-norm"
    only: dict[str, Any] = {"nonlinearities": (), "include": (BEFORE_NORM,)}

    def loss_fn(params: Any, stats: Any, batch: Batch, key: Array) -> Any:
        with nn.intercept_methods(_name_inputs) if before else nullcontext():
            return _loss(net, params, stats, batch, key)

    # The logits are shown in any case: what goes on to them is the network's own, such
    # as a ReLU before a last mean over pixels, which is else taken for the loss's.
    tapped = preactivations(
        loss_fn,
        logits=lambda result: result[1][0],
        has_aux=True,
        local=config.local,
        loss=True,
        **(only if before else {}),
    )

    def total(params: Any, *args: Any) -> tuple[Array, PSPInfo]:
        loss, zs, aux = tapped(params, *args)
        if not config.logits:
            zs = {path: z for path, z in zs.items() if path != LOGITS}
        value = psp_penalty(zs, normalization=config.normalization)
        return loss + config.gamma * value, PSPInfo(loss, value, mean_squares(zs), aux)

    return total


def _name_inputs(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    """Name what enters each batch-norm of a Flax network, so that it can be taken."""
    if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
        args = (checkpoint_name(args[0], BEFORE_NORM), *args[1:])
    return call(*args, **kwargs)


def epoch(
    replica: Replica,
    number: Array,
    train: Batch,
    monitored: Batch,
    *,
    config: RegulariserConfig,
    net: Network,
    tx: optax.GradientTransformation,
    black: tuple[float, ...],
) -> tuple[Replica, EpochInfo]:
    """Run one epoch of one replica, and evaluate the network.

    Args:
        replica: its state.
        number: the epoch's number; with the replica's key it fixes the order of the
            examples, their augmentation and the dropout.
        train: the training examples.
        monitored: the examples to evaluate it on afterwards.
        config: of the run.
        net: the network.
        tx: see :func:`optimiser`.
        black: value of a black pixel, per channel: what crops are padded with.

    Returns:
        The next state and what happened.
    """
    key = jax.random.fold_in(replica.key, number)
    order = epoch_order(key, train.label.shape[0], config.batch)
    grad_fn = jax.value_and_grad(objective(config, net), has_aux=True)
    add_terms = with_weight_terms(config)

    def step(carry: Any, batch: Batch, place: Array) -> tuple[Any, Array]:
        params, stats, opt_state = carry
        own = jax.random.fold_in(key, place)
        if config.augment:
            image = crop_flip(
                jax.random.fold_in(own, 1), batch.image, jnp.asarray(black)
            )
            batch = Batch(image, batch.label)
        (_, (loss, stats)), grads = grad_fn(params, stats, batch, own)
        grads = jax.tree.map(add_terms, grads, params)
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        if config.separate:
            # w <- w - lr d(gamma R)/dw, at the weights after the step on L: plain,
            # without momentum, as the authors' second optimiser takes it.
            again = jax.random.fold_in(own, 2)
            slopes, stats = jax.grad(penalty(config, net), has_aux=True)(
                params, stats, batch, again
            )
            rate = learning_rate(config, len(order))(number * len(order) + place)
            params = jax.tree.map(lambda w, slope: w - rate * slope, params, slopes)
        return (params, stats, opt_state), loss

    carry = (replica.params, replica.stats, replica.opt_state)
    places = jnp.arange(order.shape[0], dtype=jnp.int32)
    (params, stats, opt_state), losses = scan_batches(step, carry, train, order, places)
    evaluation = evaluate(net, params, stats, monitored)
    info = EpochInfo(losses.mean(), jnp.isfinite(losses).all(), evaluation)
    return Replica(params, stats, opt_state, replica.key), info


def evaluate(net: Network, params: Any, stats: Any, data: Batch) -> Evaluation:
    """Return loss, error and the pre-activations' mean squares over a data set.

    Args:
        net: the network, in evaluation mode.
        params: its weights.
        stats: its state.
        data: the examples.
    """
    tapped = preactivations(lambda params, image: net.apply(params, stats, image))

    def sums(part: Batch) -> tuple[Array, Array, Any]:
        logits, z = tapped(params, part.image)
        wrong = jnp.argmax(logits, axis=-1) != part.label
        size = part.label.shape[0]
        # Back to sums: the last batch may be smaller, and a mean
        # of means weighs it too much.
        squares = jax.tree.map(lambda mean: size * mean, mean_squares(z))
        return cross_entropy(logits, part.label).sum(), wrong.sum(), squares

    count = data.label.shape[0]
    loss, wrong, squares = summed(sums, data)
    error = wrong.astype(jnp.float32) / count
    return Evaluation(loss / count, error, jax.tree.map(lambda s: s / count, squares))
