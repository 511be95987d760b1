"""The optax chain of each method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from pruning.lab.config import Config
from pruning.schedules import manual
from pruning.sensitivity import sensitivity, specific, unspecific
from pruning.transforms import loss_sensitivity_decay, prune, sensitivity_decay
from pruning.trees import Prunable, weights_only


def every_leaf(name: str, leaf: Any) -> bool:
    """Say that each leaf, weight or bias, is prunable."""
    del name, leaf
    return True


def prunable_of(config: Config) -> Prunable:
    """Return the predicate that ``config.prunable`` names."""
    return every_leaf if config.prunable == "all" else weights_only


def transform(
    config: Config,
    apply_fn: Callable[[Any, Any], Any],
    classes: int,
    *,
    lr: float,
    decay: bool,
) -> optax.GradientTransformationExtraArgs:
    """Return SGD, then the method's shrink term, then the projection on the masks.

    Args:
        config: the run.
        apply_fn: ``(params, image) -> logits``.
        classes: number of classes C.
        lr: learning rate.
        decay: whether the shrink term is on.

    Returns:
        A chain whose ``update`` takes ``batch=``, ``grads=`` and ``value=``.
    """
    parts: list[optax.GradientTransformation] = [
        optax.sgd(lr, momentum=config.momentum or None)
    ]
    shrink = _shrink(config, apply_fn, classes) if decay else None
    if shrink is not None:
        parts.append(shrink)
    parts.append(prune(manual(), prunable=prunable_of(config)))
    return optax.chain(*parts)


def _shrink(
    config: Config, apply_fn: Callable[[Any, Any], Any], classes: int
) -> optax.GradientTransformation | None:
    method, prunable = config.method, prunable_of(config)
    if method.startswith("sensitivity"):
        return sensitivity_decay(
            config.rate,
            sensitivity_fn=sensitivity_of(config, apply_fn, classes),
            refresh=config.refresh,
            prunable=prunable,
        )
    if method == "loss-sensitivity":
        return loss_sensitivity_decay(config.rate, prunable=prunable)
    if method == "l2":
        # Decoupled, as the other shrink terms are: w <- w - rate w after the step.
        chosen = lambda tree: jax.tree_util.tree_map_with_path(
            lambda path, leaf: prunable(str(path), leaf), tree
        )
        return optax.add_decayed_weights(-config.rate, mask=chosen)
    return None


def sensitivity_of(
    config: Config, apply_fn: Callable[[Any, Any], Any], classes: int
) -> Callable[[Any, Any], Any]:
    """Return ``(params, batch) -> S`` as the config asks for it."""
    output = (
        (lambda p, x: jax.nn.softmax(apply_fn(p, x)))
        if config.output == "softmax"
        else apply_fn
    )

    def of(params: Any, batch: Any) -> Any:
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
