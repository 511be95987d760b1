"""The optax chain of each method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pruning._output_weights import specific, unspecific
from pruning._penalty import sensitivity_penalty
from pruning._roles import weights_only
from pruning._sensitivity import sensitivity
from pruning.gradual.config import Config
from pruning.schedules import manual
from pruning.transforms import loss_sensitivity_decay, prune, sensitivity_decay
from synaptax.nets.models import ApplyFn, Network, as_network
from synaptax.trees import Prunable, map_named


def every_leaf(name: str, leaf: Any) -> bool:
    """Say that each leaf, weight or bias, is prunable."""
    del name, leaf
    return True


def prunable_of(config: Config) -> Prunable:
    """Return the predicate that ``config.prunable`` names."""
    return every_leaf if config.prunable == "all" else weights_only


def transform(
    config: Config,
    apply_fn: Network | ApplyFn,
    classes: int,
    *,
    lr: float | optax.Schedule,
    decay: bool,
    rate: Any = None,
    pruner: optax.GradientTransformationExtraArgs | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return SGD, then the method's shrink term, then the projection on the masks.

    Args:
        config: the run.
        apply_fn: a :class:`synaptax.nets.models.Network`, or ``(params, image) ->
            logits``.
        classes: number of classes C.
        lr: learning rate, or one for each step of the stage.
        decay: whether the shrink term is on.
        rate: its strength by step; default: ``config.rate``.
        pruner: what holds and chooses the masks; default: masks set from outside.

    Returns:
        A chain whose ``update`` takes ``batch=``, ``grads=`` and ``value=``.
    """
    parts: list[optax.GradientTransformation] = []
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay))
    parts.append(optax.sgd(lr, momentum=config.momentum or None))
    rate = config.rate if rate is None else rate
    shrink = _shrink(config, as_network(apply_fn), classes, rate) if decay else None
    if shrink is not None:
        parts.append(shrink)
    parts.append(pruner or prune(manual(), prunable=prunable_of(config)))
    # The shrink term after the learning rate, by which it is not scaled; the projection
    # last, for nothing may change an update of a pruned weight after it.
    return optax.chain(*parts)


def stepwise(lr: float, drops: tuple[int, ...], steps: int) -> float | optax.Schedule:
    """Return a learning rate that falls to a tenth after each epoch of ``drops``.

    Args:
        lr: at the start.
        drops: epochs of the stage, such as (80, 120); none: the constant ``lr``.
        steps: of an epoch.
    """
    if not drops:
        return lr
    edges = jnp.asarray([epoch * steps for epoch in drops], jnp.int32)
    rates = jnp.asarray([lr * 0.1**n for n in range(len(drops) + 1)], jnp.float32)
    return lambda count: rates[(count >= edges).sum()]


def _shrink(
    config: Config, net: Network, classes: int, rate: Any
) -> optax.GradientTransformation | None:
    method, prunable = config.method, prunable_of(config)
    if method.startswith("sensitivity"):
        return sensitivity_decay(
            rate,
            sensitivity_fn=sensitivity_of(config, net, classes),
            refresh=config.refresh,
            prunable=prunable,
        )
    if method == "loss-sensitivity":
        return loss_sensitivity_decay(rate, prunable=prunable)
    if method == "l2":
        # Decoupled, as the other shrink terms are: w <- w - rate w after the step.
        mask_of = lambda tree: map_named(prunable, tree)
        down: Any = (lambda n: -rate(n)) if callable(rate) else -rate  # pyright: ignore
        return optax.add_decayed_weights(down, mask=mask_of)
    return None


def sensitivity_of(
    config: Config, net: Network, classes: int
) -> Callable[[Any, Any], Any]:
    """Return ``(params, batch) -> S`` as the config asks for it.

    The network is taken in evaluation mode, with the statistics in the batch: in
    training mode batch-norm mixes examples, and no example has a derivative of its
    own.
    """

    def of(params: Any, batch: Any) -> Any:
        def output(params: Any, x: Any) -> Any:
            logits = net.apply(params, batch.stats, x)
            return jax.nn.softmax(logits) if config.output == "softmax" else logits

        # alpha_k = y*_k, one backward pass; or 1/C, which takes C.
        own = config.method == "sensitivity-specific"
        alpha = specific(batch.label, classes) if own else unspecific(classes)
        return sensitivity(
            output,
            params,
            batch.image,
            alpha,
            reduction=config.reduction,
            support=1 if own else None,
        )

    return of


def penalty_of(
    config: Config, net: Network, classes: int
) -> Callable[[Any, Any], jax.Array]:
    """Return ``(params, batch) -> R``, the value that the shrink term descends."""
    sensitivity_fn = sensitivity_of(config, net, classes)

    def of(params: Any, batch: Any) -> jax.Array:
        prunable = prunable_of(config)
        return sensitivity_penalty(
            params, sensitivity_fn(params, batch), prunable=prunable
        )

    return of
