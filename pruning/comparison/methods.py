"""What each method of a comparison does: before training, in the chain, in the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pruning import criteria, scores
from pruning._output_weights import unspecific
from pruning._sensitivity import sensitivity
from pruning.comparison.config import Comparison
from pruning.masks import apply_mask, full_mask
from pruning.schedules import alternating, manual, one_shot, polynomial
from pruning.selection import select
from pruning.transforms import (
    loss_sensitivity_decay,
    prune,
    pruned,
    rewired,
    sensitivity_decay,
    straight_through_masks,
)
from synaptax.nets.models import Network
from synaptax.training.evaluation import cross_entropy
from synaptax.typing import Array, PyTree

DENSE = "dense"  # the line that all are compared with
_GROWTH = {"static": "none", "rigl": "gradient", "set": "random"}
_TEMPERATURE = 200.0  # GraSP's, of the logits (Wang et al., section 4)
_FLOWS = 100  # of iterated SynFlow
_REFRESH = 10  # updates for which a sensitivity is used, as the main command's
_PHASES = 10  # of AC/DC, in a run
_CHANGES = 100  # of the masks of RigL and SET, were they changed to the end


def scored_masks(
    method: str,
    config: Comparison,
    net: Network,
    params: PyTree,
    stats: Any,
    batches: Sequence[Any],
    density: float,
    key: Array,
) -> tuple[PyTree, int]:
    """Return the masks that a method starts with, and the gradients they took.

    Args:
        method: its name.
        config: the comparison.
        net: the network.
        params: the initial weights.
        stats: what the network keeps beside them.
        batches: from which to score.
        density: of the weights.
        key: for random masks.
    """

    def output(weights: PyTree, x: Any) -> Any:
        return net.apply(weights, stats, x)

    def loss(weights: PyTree, batch: Any, temperature: float = 1.0) -> Array:
        logits = output(weights, batch.image) / temperature
        return cross_entropy(logits, batch.label).mean()

    if method == "snip":
        return select(criteria.snip(loss, params, batches), density), len(batches)
    if method == "grasp":
        cool = lambda weights, batch: loss(weights, batch, _TEMPERATURE)
        # The gradient, and its derivative along itself: two more of them in cost.
        worth = criteria.grasp(cool, params, batches)
        return select(worth, density), 3 * len(batches)
    if method == "synflow":
        one = batches[0].image[:1]
        masks = criteria.synflow_mask(output, params, one, density, steps=_FLOWS)
        return masks, _FLOWS
    if method in _GROWTH:
        values = scores.random(params, key)
        return select(values, density, scope="erk"), 0
    return full_mask(params), 0


def rescaled(params: PyTree, masks: PyTree) -> PyTree:
    """Return masked weights, each leaf with the norm that it had before.

    An initial scale is made for a dense layer. With 2 % of its weights a layer drawn
    at random passes on a seventh of the signal, three of them nothing that SGD could
    train (Evci et al., arXiv 2010.03533); so all methods that begin sparse are scaled.
    """

    def scaled(weight: Array, masked: Array) -> Array:
        # w m ||w|| / ||w m||; a leaf that lost everything stays 0.
        norm = jnp.linalg.norm(masked)
        return masked * jnp.where(norm > 0, jnp.linalg.norm(weight) / norm, 1)

    return jax.tree.map(scaled, params, apply_mask(params, masks))


def gradients_of(method: str, classes: int, total: int) -> int:
    """Return how many gradients' worth of backward passes so many steps take.

    The unspecific sensitivity propagates a cotangent for each class, beside the loss's.
    """
    refreshes = -(-total // _REFRESH) if method == "sensitivity" else 0
    return total + classes * refreshes


def transform(
    method: str,
    config: Comparison,
    net: Network,
    classes: int,
    steps: int,
    density: Any,
    key: Array,
) -> optax.GradientTransformationExtraArgs:
    """Return the chain of a method; its ``update`` takes batch=, grads= and key=.

    Args:
        method: its name.
        config: the comparison.
        net: the network.
        classes: number of classes C.
        steps: of an epoch.
        density: of the weights at the end; it may be traced.
        key: for what RigL and SET draw.
    """
    total = config.budget * steps
    first, last = int(config.begin * total), int(config.end * total)
    lr = learning_rate(config, total)
    sgd = optax.sgd(lr, momentum=config.momentum or None)
    cubic = polynomial(first, last, density, every=steps)
    if method in (DENSE, "snip", "grasp", "synflow"):
        return pruned(sgd, manual())
    if method in _GROWTH:
        # The density is that of the masks it is given: the number here goes unused.
        own = {"grow": _GROWTH[method], "every": max(total // _CHANGES, 1), "end": last}
        return rewired(sgd, 0.5, key=key, **own)
    if method == "ac-dc":
        # By layers: ranked together, a first cut of hardly trained weights left one
        # of a layer, and from the zeros beside it nothing grew back.
        sparse = alternating(first, last, max(total // _PHASES, 1), density)
        return pruned(sgd, sparse, regrow=True, scope="erk")
    if method == "straight-through":
        # At each step, as in the paper: weights behind a mask that holds run away.
        moving = polynomial(first, last, density)
        return optax.chain(sgd, straight_through_masks(moving))
    if method == "one-shot":
        return optax.chain(sgd, prune(one_shot(last, density)))
    options: dict[str, Any] = {
        "magnitude-erk": {"scope": "erk"},
        "magnitude-layer": {"scope": "layer"},
        "random": {"score": "random", "scope": "layer"},
    }.get(method, {})
    shrink = _shrink(method, config, net, classes, lr)
    return optax.chain(sgd, *shrink, prune(cubic, **options))


def learning_rate(config: Comparison, total: int) -> Callable[[Any], Array]:
    """Return lr, held and then falling by a cosine to 0 at the end."""

    def rate(count: Any) -> Array:
        progress = jnp.asarray(count).astype(jnp.float32) / total
        # lr (1 + cos(pi f)) / 2, with f from 0 at the end of the hold to 1 at the end.
        fall = jnp.clip((progress - config.hold) / (1 - config.hold), 0, 1)
        return jnp.float32(config.lr) * (1 + jnp.cos(jnp.pi * fall)) / 2

    return rate


def _shrink(
    method: str,
    config: Comparison,
    net: Network,
    classes: int,
    lr: Callable[[Any], Array],
) -> list[optax.GradientTransformation]:
    """Return the shrink term, scaled with the learning rate."""

    def rate(count: Any) -> Array:
        return config.rate * lr(count) / config.lr

    def felt(params: PyTree, batch: Any) -> PyTree:
        apply = lambda weights, x: net.apply(weights, batch.stats, x)
        return sensitivity(apply, params, batch.image, unspecific(classes))

    if method == "sensitivity":
        return [sensitivity_decay(rate, sensitivity_fn=felt, refresh=_REFRESH)]
    if method == "loss-sensitivity":
        return [loss_sensitivity_decay(rate)]
    if method == "l2":
        down: Any = lambda count: -rate(count)
        return [optax.add_decayed_weights(down)]
    return []


def behind_masks(method: str) -> bool:
    """Say whether the loss sees masked weights while the dense ones are trained."""
    return method == "straight-through"
