"""The mathematics of an epoch: SGD steps, the validation loss, the plateau, the cut.

Everything is a pure function of one replica (one seed, or one operating point);
:func:`synaptax.training.run` maps it over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from pruning.masks import apply_mask, intersect, threshold_mask
from pruning.thresholds import PlateauState, plateau, search_threshold
from pruning.transforms import masks_of, with_masks
from synaptax.data.images import Batch, epoch_order
from synaptax.nets.models import ApplyFn, Network, as_network
from synaptax.training.epochs import scan_batches
from synaptax.training.evaluation import cross_entropy, evaluate, evaluating
from synaptax.trees import Prunable
from synaptax.typing import Array

_DRAWS = 2**31 - 1  # no index that a split of the epoch's key could use


class Best(NamedTuple):
    """The best weights since the last cut, by validation loss.

    Attributes:
        params: those weights.
        loss: their mean validation cross-entropy, in nats; inf if none yet.
        error: their validation error, a fraction.
        stats: what the network kept beside them; ``{}`` without batch-norm.
    """

    params: Any
    loss: Array
    error: Array
    stats: Any


class Replica(NamedTuple):
    """What the next epoch of one network needs.

    Attributes:
        params: the weights.
        opt_state: of the whole chain, masks included.
        key: typed PRNG key; an epoch's key is folded from it and the epoch's number.
        plateau: of the validation loss.
        best: see :class:`Best`.
        stats: what the network keeps from batch to batch; ``{}`` without batch-norm.
    """

    params: Any
    opt_state: Any
    key: Array
    plateau: PlateauState
    best: Best
    stats: Any


class Examples(NamedTuple):
    """The examples of a step, as the optax chain gets them.

    Attributes:
        image: (B, H, W, C), augmented if the run augments.
        label: (B,) int32.
        stats: of the network, after the step's forward pass.
    """

    image: Array
    label: Array
    stats: Any


class EpochInfo(NamedTuple):
    """What a person wants to know of an epoch.

    Attributes:
        losses: (steps,) training loss of each step.
        loss: validation loss at the end of the epoch, before a cut.
        error: validation error at the same moment.
        cut: whether the epoch ended with a cut.
        threshold: of that cut; 0 without.
        before: the best weights restored for the cut; the snapshot to keep.
        searched: evaluations that the search of the threshold took.
    """

    losses: Array
    loss: Array
    error: Array
    cut: Array
    threshold: Array
    before: Best
    searched: Array


class Rules(NamedTuple):
    """When and how a stage cuts; static.

    Attributes:
        cuts: whether the stage cuts at all.
        patience: see :class:`pruning.gradual.config.Config`.
        margin: likewise.
        tolerance: likewise.
        prunable: which leaves may be cut.
        last: whether the latest weights count as the best.
    """

    cuts: bool
    patience: int
    margin: float
    tolerance: float
    prunable: Prunable
    last: bool = False


def start(
    params: Any,
    key: Array,
    tx: optax.GradientTransformation,
    masks: Any,
    rules: Rules,
    stats: Any = None,
) -> Replica:
    """Return a replica at the start of a stage, under given masks.

    Args:
        params: the weights; those outside the masks become 0.
        key: a typed PRNG key; fixes the order of the examples, and what is drawn.
        tx: the stage's chain.
        masks: what is kept.
        rules: when and how the stage cuts.
        stats: of a network that keeps state; None for one that does not.
    """
    stats = {} if stats is None else stats
    trigger = plateau(rules.patience, margin=rules.margin)
    opt_state = with_masks(tx.init(params), masks)
    best = _no_best(apply_mask(params, masks), stats)
    return Replica(best.params, opt_state, key, trigger.init(), best, stats)


def _no_best(params: Any, stats: Any) -> Best:
    """Return the best before any epoch: whatever comes next is better."""
    # Not a weakly typed inf: the second epoch would be compiled again.
    return Best(params, jnp.float32(jnp.inf), jnp.ones(()), stats)


def epoch(
    replica: Replica,
    number: Array,
    train: Batch,
    validation: Batch,
    *,
    apply_fn: Network | ApplyFn,
    tx: optax.GradientTransformation,
    rules: Rules,
    batch: int,
    augment: Callable[[Array, Array], Array] | None = None,
    place: Callable[[Batch], Batch] = lambda batch: batch,
) -> tuple[Replica, EpochInfo]:
    """Run one epoch of one replica and, if it is time, cut.

    Args:
        replica: its state.
        number: the epoch's number in the stage; with the replica's key it fixes the
            order of the examples and all that is drawn.
        train: the training examples.
        validation: the validation examples.
        apply_fn: the network, or ``(params, image) -> logits`` of one without state.
        tx: the stage's chain (:func:`pruning.gradual.methods.transform`).
        rules: when and how to cut.
        batch: examples per step.
        augment: ``(key, image) -> image``, applied to each training batch.
        place: puts a batch on its devices (:func:`synaptax.training.placing`).

    Returns:
        The next state and what happened.
    """
    net = as_network(apply_fn)
    key = jax.random.fold_in(replica.key, number)
    order = epoch_order(key, train.label.shape[0], batch)
    draws = jax.random.fold_in(key, _DRAWS)

    def step(carry: tuple[Any, Any, Any], batch: Batch, place: Array) -> Any:
        own = jax.random.fold_in(draws, place)
        if augment is not None:
            image = augment(jax.random.fold_in(own, 0), batch.image)
            batch = batch._replace(image=image)
        return _step(carry, batch, jax.random.fold_in(own, 1), net, tx)

    carry = replica.params, replica.stats, replica.opt_state
    places = jnp.arange(order.shape[0])
    (params, stats, opt_state), losses = scan_batches(
        step, carry, train, order, places, place=place
    )
    loss, error = evaluate(evaluating(net, stats), params, validation)
    # NaN < x is False: weights whose loss is NaN are never the best.
    better = jnp.ones((), bool) if rules.last else loss < replica.best.loss
    best = jax.tree.map(
        lambda new, old: jnp.where(better, new, old),
        Best(params, loss, error, stats),
        replica.best,
    )
    replica = replica._replace(
        params=params, opt_state=opt_state, best=best, stats=stats
    )
    no, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    info = EpochInfo(losses, loss, error, no, jnp.zeros(()), best, none)
    if not rules.cuts:
        return replica, info
    return _cut_on_plateau(replica, info, validation, net, rules)


def _step(
    carry: tuple[Any, Any, Any],
    batch: Batch,
    key: Array,
    net: Network,
    tx: optax.GradientTransformation,
) -> tuple[tuple[Any, Any, Any], Array]:
    """Take one step, w <- w + tx(dL/dw); the key is for what the network draws.

    L is the mean cross-entropy of the batch; the chain holds the learning rate, the
    shrink term and, last, the projection on the masks.
    """
    params, stats, opt_state = carry

    def loss_of(weights: Any) -> tuple[Array, Any]:
        logits, new_stats = net.train(weights, stats, batch.image, key)
        return cross_entropy(logits, batch.label).mean(), new_stats

    (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, opt_state = optax.with_extra_args_support(tx).update(
        grads, opt_state, params, batch=Examples(*batch, stats), grads=grads, value=loss
    )
    return (optax.apply_updates(params, updates), stats, opt_state), loss


def _cut_on_plateau(
    replica: Replica,
    info: EpochInfo,
    validation: Batch,
    net: Network,
    rules: Rules,
) -> tuple[Replica, EpochInfo]:
    """Advance the plateau and cut the best weights if it fires.

    The threshold T is the largest for which the best weights w, cut at |w| < T, have
    a validation loss L(w_T) <= (1 + tolerance) L(w).
    """
    trigger = plateau(rules.patience, margin=rules.margin)
    advanced, event = trigger.step(replica.plateau, info.loss)

    def cut(replica: Replica) -> tuple[Replica, Array, Array]:
        best = replica.best
        network = evaluating(net, best.stats)
        search = search_threshold(
            lambda weights: evaluate(network, weights, validation)[0],
            best.params,
            (1 + rules.tolerance) * best.loss,
            prunable=rules.prunable,
        )
        masks = intersect(
            masks_of(replica.opt_state),
            threshold_mask(best.params, search.threshold, prunable=rules.prunable),
        )
        params = apply_mask(best.params, masks)
        after = replica._replace(
            params=params,
            opt_state=with_masks(replica.opt_state, masks),
            best=_no_best(params, best.stats),
            stats=best.stats,
        )
        return after, search.threshold.astype(jnp.float32), search.iterations

    def go_on(replica: Replica) -> tuple[Replica, Array, Array]:
        return replica, jnp.zeros(()), jnp.zeros((), jnp.int32)

    replica, threshold, searched = lax.cond(
        event.fired, cut, go_on, replica._replace(plateau=advanced)
    )
    info = info._replace(cut=event.fired, threshold=threshold, searched=searched)
    return replica, info
