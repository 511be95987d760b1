"""Factors on the learning rate."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp

from synaptax.typing import Array

THRESHOLD = 1e-4  # relative improvement that counts


class Plateau(NamedTuple):
    """How long a validation loss has not improved.

    Attributes:
        best: float32, the lowest loss that counted as an improvement.
        bad: int32, epochs since, or since the last reduction.
        factor: float32, what the learning rate is multiplied by.
    """

    best: Array
    bad: Array
    factor: Array


def plateau_start() -> Plateau:
    """Return the state before the first epoch."""
    return Plateau(jnp.float32(jnp.inf), jnp.int32(0), jnp.float32(1))


def plateau_step(
    state: Plateau, loss: Array, *, patience: int, factor: float
) -> Plateau:
    """Reduce the rate once a loss has stalled for more than ``patience`` epochs.

    The rule of PyTorch's ReduceLROnPlateau with its defaults: an improvement is a
    fall by more than 0.01 %, and the count starts anew after a reduction.

    Args:
        state: from the last epoch.
        loss: scalar; NaN counts as no improvement.
        patience: epochs without improvement that are let pass.
        factor: in (0, 1), of each reduction.

    Returns:
        The next state.
    """
    # PyTorch's mode "min", threshold 1e-4 "rel": loss < best (1 - 1e-4).
    improved = loss < state.best * (1 - THRESHOLD)
    bad = jnp.where(improved, 0, state.bad + 1)
    reduced = bad > patience
    return Plateau(
        jnp.where(improved, loss, state.best),
        jnp.where(reduced, 0, bad),
        jnp.where(reduced, state.factor * factor, state.factor),
    )


def cosine(number: Array, epochs: int) -> Array:
    """Return half a cosine from 1 at epoch 0 to 0 after the last."""
    return (1 + jnp.cos(math.pi * number.astype(jnp.float32) / epochs)) / 2
