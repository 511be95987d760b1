"""What is minimised: by propagation, by drawn signs, or straight through a sign."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from binary.network import model, straight
from binary.projection import project_magnetisations
from synaptax.typing import Array, PyTree

Method = Literal["sampled", "propagate", "straight-through"]


def loss(
    method: Method,
    layers: tuple[model.Layer, ...],
    params: PyTree,
    x: Array,
    label: Array,
    key: Array,
) -> Array:
    """Return the mean cross-entropy of a batch, in nats.

    Args:
        method: how the network is run.
        layers: see :mod:`binary.network.model`.
        params: likewise.
        x: inputs.
        label: (B,) integers.
        key: typed PRNG key, of the draws.
    """
    if method == "straight-through":
        logits = straight.logits(layers, params, x)
    elif method == "propagate":
        logits = model.logits(model.propagate(layers, params, x), last_inputs(params))
    else:
        field = model.sampled(layers, params, x, key)
        logits = model.logits(field, last_inputs(params))
    each = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return jnp.asarray(each).mean()


def last_inputs(params: PyTree) -> int:
    """Return the number of inputs of the last layer."""
    return model.fan_in(params[f"layer_{len(params) - 1}"])


def ramp(progress: Array, start: float, full: float) -> Array:
    """Return 0 up to ``start``, 1 from ``full`` on, and a straight line between."""
    return jnp.clip((progress - start) / (full - start), 0, 1)


def overlap_target(progress: Array, start: Array, power: float) -> Array:
    """Return q* = 1 - (1 - start) (1 - progress)^power.

    Args:
        progress: in [0, 1].
        start: the self-overlap at progress 0.
        power: 1 for a straight line; more for a quick rise first.
    """
    return 1 - (1 - start) * (1 - progress) ** power


def raise_overlaps(params: PyTree, target: Array) -> PyTree:
    """Return parameters whose every layer is scaled up towards a self-overlap.

    m <- clip(c m, -1, 1) with c = sqrt(target / q*), never less than 1: one step of
    :func:`binary.projection.rescale`, which the next training step takes up. It is
    the deep form of the imposed norm that lets a perceptron solve higher loads.
    """

    def one(m: Array) -> Array:
        # Never scaled down: where the gradient has raised q* above the target it stays.
        factor = jnp.sqrt(target / jnp.mean(jnp.square(m)))
        return jnp.clip(jnp.maximum(factor, 1) * m, -1, 1)

    return model.over_magnetisations(one, params)


def masked_projection() -> optax.GradientTransformation:
    """Return :func:`binary.project_magnetisations` for the ``m`` leaves alone."""
    return optax.masked(project_magnetisations(), model.magnetisations)


def drop_inputs(x: Array, share: float, key: Array) -> Array:
    """Return inputs of which each is zero with probability ``share``."""
    if not share:
        return x
    # Not scaled up as dropout is: mu / sqrt(v) does not depend on the scale of x (the
    # bias apart).
    return jnp.where(jax.random.bernoulli(key, share, x.shape), 0, x)
