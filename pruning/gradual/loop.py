"""The jitted inside of a run: steps scanned into epochs, epochs over seeds.

Everything is a function of one member (one seed, or one operating point); the
caller maps it over all of them.
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


class Member(NamedTuple):
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


class Seen(NamedTuple):
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
    """

    cuts: bool
    patience: int
    margin: float
    tolerance: float
    prunable: Prunable


def start(
    params: Any,
    key: Array,
    tx: optax.GradientTransformation,
    masks: Any,
    rules: Rules,
    stats: Any = None,
) -> Member:
    """Return a member at the start of a stage, under given masks.

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
    params = apply_mask(params, masks)
    # Not a weakly typed inf: the second epoch would be compiled again.
    best = Best(params, jnp.float32(jnp.inf), jnp.ones(()), stats)
    return Member(params, opt_state, key, trigger.init(), best, stats)


def epoch(
    member: Member,
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
) -> tuple[Member, EpochInfo]:
    """Run one epoch of one member and, if it is time, cut.

    Args:
        member: its state.
        number: the epoch's number in the stage; with the member's key it fixes the
            order of the examples and all that is drawn.
        train: the training examples.
        validation: the validation examples.
        apply_fn: the network, or ``(params, image) -> logits`` of one without state.
        tx: the stage's chain (:func:`pruning.gradual.methods.transform`).
        rules: when and how to cut.
        batch: examples per step.
        augment: ``(key, image) -> image``, applied to each training batch.
        place: puts a batch on its devices (:mod:`synaptax.training.sharding`).

    Returns:
        The next state and what happened.
    """
    net = as_network(apply_fn)
    key = jax.random.fold_in(member.key, number)
    order = epoch_order(key, train.label.shape[0], batch)
    draws = jax.random.fold_in(key, _DRAWS)

    def step(carry: tuple[Any, Any, Any], at: tuple[Array, Array]) -> Any:
        index, now = at[0], jax.random.fold_in(draws, at[1])
        batch = place(Batch(train.image[index], train.label[index]))
        if augment is not None:
            image = augment(jax.random.fold_in(now, 0), batch.image)
            batch = batch._replace(image=image)
        return _step(carry, batch, jax.random.fold_in(now, 1), net, tx)

    carry = member.params, member.stats, member.opt_state
    numbered = order, jnp.arange(order.shape[0])
    (params, stats, opt_state), losses = lax.scan(step, carry, numbered)
    loss, error = evaluate(evaluating(net, stats), params, validation)
    better = loss < member.best.loss
    best = jax.tree.map(
        lambda new, old: jnp.where(better, new, old),
        Best(params, loss, error, stats),
        member.best,
    )
    member = member._replace(params=params, opt_state=opt_state, best=best, stats=stats)
    no, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    info = EpochInfo(losses, loss, error, no, jnp.zeros(()), best, none)
    if not rules.cuts:
        return member, info
    return _watch(member, info, validation, net, rules)


def _step(
    carry: tuple[Any, Any, Any],
    batch: Batch,
    key: Array,
    net: Network,
    tx: optax.GradientTransformation,
) -> tuple[tuple[Any, Any, Any], Array]:
    """Take one step on a batch; the key is for what the network draws."""
    params, stats, opt_state = carry

    def loss_of(weights: Any) -> tuple[Array, Any]:
        logits, moved = net.train(weights, stats, batch.image, key)
        return cross_entropy(logits, batch.label).mean(), moved

    (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, opt_state = optax.with_extra_args_support(tx).update(
        grads, opt_state, params, batch=Seen(*batch, stats), grads=grads, value=loss
    )
    return (optax.apply_updates(params, updates), stats, opt_state), loss


def _watch(
    member: Member,
    info: EpochInfo,
    validation: Batch,
    net: Network,
    rules: Rules,
) -> tuple[Member, EpochInfo]:
    """Advance the plateau and cut if it fires."""
    trigger = plateau(rules.patience, margin=rules.margin)
    watched, seen = trigger.step(member.plateau, info.loss)

    def cut(member: Member) -> tuple[Member, Array, Array]:
        best = member.best
        found = search_threshold(
            lambda weights: evaluate(evaluating(net, best.stats), weights, validation)[
                0
            ],
            best.params,
            (1 + rules.tolerance) * best.loss,
            prunable=rules.prunable,
        )
        masks = intersect(
            masks_of(member.opt_state),
            threshold_mask(best.params, found.threshold, prunable=rules.prunable),
        )
        params = apply_mask(best.params, masks)
        fresh = Best(params, jnp.float32(jnp.inf), jnp.ones(()), best.stats)
        opt_state = with_masks(member.opt_state, masks)
        done = member._replace(
            params=params, opt_state=opt_state, best=fresh, stats=best.stats
        )
        return done, found.threshold.astype(jnp.float32), found.iterations

    def keep(member: Member) -> tuple[Member, Array, Array]:
        return member, jnp.zeros(()), jnp.zeros((), jnp.int32)

    member = member._replace(plateau=watched)
    member, threshold, searched = lax.cond(seen.fired, cut, keep, member)
    return member, info._replace(cut=seen.fired, threshold=threshold, searched=searched)
