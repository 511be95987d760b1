"""Training by a schedule: densities, the learning rate and the shrink term by step.

The alternative to the plateau rule: the masks follow one of :mod:`pruning.schedules`
down to the last target, and the first weights to reach each target go to the
fine-tuning stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pruning import schedules, scores
from pruning.gradual.config import Config
from pruning.gradual.methods import prunable_of, sensitivity_of
from pruning.transforms import prune
from synaptax.nets.models import Network
from synaptax.trees import named_leaves
from synaptax.typing import Array


def planned(config: Config) -> bool:
    """Say whether masks follow a schedule rather than the plateau rule."""
    return config.schedule != "plateau"


def pruner(config: Config, net: Network, classes: int, steps: int) -> Any:
    """Return the transform that cuts by the config's schedule.

    Args:
        config: the run.
        net: the network.
        classes: number of classes C.
        steps: of an epoch.
    """
    names = [name for name, _ in _prunable_leaves(config, net)]
    scope: Any = config.allocation if config.allocation in ("uniform", "erk") else None
    if config.allocation == "given":
        if len(names) != len(config.densities):
            raise ValueError(
                f"densities: expected one for each of {', '.join(names)}, "
                f"got {len(config.densities)}"
            )
        scope = dict(zip(names, config.densities, strict=True))
    sensitivity_fn = sensitivity_of(config, net, classes)

    def output(params: Any, batch: Any) -> Any:  # |w| S, to first order |dy|
        return scores.sensitivity(params, sensitivity_fn(params, batch), weighted=True)

    own: dict[str, Any] = {"scale": over_scale, "lamp": lamp, "output": output}
    return prune(
        schedule_of(config, net, steps),
        score=own.get(config.allocation, "magnitude"),
        scope=scope or "global",
        prunable=prunable_of(config),
    )


def schedule_of(config: Config, net: Network, steps: int) -> schedules.Schedule:
    """Return the schedule of the pruning stage, in its steps."""
    total, fixed = _sizes(config, net)
    # Compression is of all parameters, of which only ``total`` may be cut.
    survivors = math.floor((total + fixed) / config.targets[-1]) - fixed
    if survivors < 0:
        raise ValueError(
            f"targets: {config.targets[-1]}x keeps fewer than the {fixed} parameters "
            "that may not be cut"
        )
    first = int(config.begin * config.prune_epochs * steps)
    last = int(config.end * config.prune_epochs * steps)
    every, density = config.every * steps, survivors / total
    if config.schedule == "one-shot":
        return schedules.one_shot(last, density)
    if config.schedule == "polynomial":
        return schedules.polynomial(first, last, density, every=every)
    times = 1 + (last - first) // every
    # So many cuts in all, each by the same factor: factor^times = density.
    factor = density ** (1 / times)
    return schedules.periodic(every, factor, begin=first, end=last)


@lru_cache(maxsize=8)
def epochs_of_targets(config: Config, net: Network, steps: int) -> dict[float, int]:
    """Return, for each target, after which epoch of the stage it is first reached."""
    total, fixed = _sizes(config, net)
    schedule = schedule_of(config, net, steps)

    def kept_after(epoch: Array) -> Array:
        last = schedule.last(epoch * steps - 1)
        return jnp.where(last < 0, total, schedule.kept(last, total))

    epochs = np.arange(1, config.prune_epochs + 1)
    survivors = np.asarray(jax.vmap(kept_after)(jnp.asarray(epochs))) + fixed
    first_epochs = {}
    for target in config.targets:
        there = epochs[survivors <= (total + fixed) / target]
        if not there.size:
            raise ValueError(f"targets: the schedule does not reach {target}x")
        first_epochs[target] = int(there[0])
    return first_epochs


def learning_rate(config: Config, steps: int) -> Callable[[Any], Array]:
    """Return tune_lr held for a share of the stage, then falling by a cosine to 0."""
    length = max(config.tune_epochs * steps, 1)

    def rate(count: Any) -> Array:
        count = jnp.asarray(count).astype(jnp.float32)
        progress = (count / length - config.tune_hold) / (1 - config.tune_hold)
        # (1 + cos(pi t)) / 2, with t from 0 at the end of the hold to 1 at the end.
        fall = (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1))) / 2
        return jnp.asarray(config.tune_lr * fall, jnp.float32)

    return rate


def scaled(rate: float, lr: float | optax.Schedule, at: float) -> Any:
    """Return the shrink term's rate by step: ``rate`` at a learning rate ``at``."""
    if callable(lr):
        return lambda count: rate * lr(count) / at
    return rate * lr / at


# --- scores that make layers comparable -------------------------------------------


def over_scale(params: Any) -> Any:
    """Return |w| over the root mean square of its leaf's weights that are not zero."""

    def leaf(weight: Array) -> Array:
        count = jnp.maximum((weight != 0).sum(dtype=weight.dtype), 1)
        # 1e-30: the scores of a leaf of zeros are 0, not NaN.
        return jnp.abs(weight) / jnp.sqrt(jnp.sum(weight**2) / count + 1e-30)

    return jax.tree.map(leaf, params)


def lamp(params: Any) -> Any:
    """Return w^2 over the sum of the squares in its leaf that are not smaller.

    Reference:
        Lee et al., Layer-adaptive sparsity for magnitude pruning, arXiv 2010.07611.
    """

    def leaf(weight: Array) -> Array:
        squares = weight.ravel() ** 2
        # w_u^2 / sum_v w_v^2 over all v of the leaf with w_v^2 >= w_u^2: a running sum
        # in falling order. 1e-30 again for a leaf of zeros.
        order = jnp.argsort(-squares)
        largest = squares[order]
        share = largest / jnp.maximum(jnp.cumsum(largest), 1e-30)
        return jnp.zeros_like(squares).at[order].set(share).reshape(weight.shape)

    return jax.tree.map(leaf, params)


def _prunable_leaves(config: Config, net: Network) -> list[tuple[str, Any]]:
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    is_prunable = prunable_of(config)
    return [
        (name, leaf) for name, leaf in named_leaves(params) if is_prunable(name, leaf)
    ]


def _sizes(config: Config, net: Network) -> tuple[int, int]:
    """Return how many parameters may be cut, and how many not."""
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    every = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    total = sum(math.prod(leaf.shape) for _, leaf in _prunable_leaves(config, net))
    return total, every - total
