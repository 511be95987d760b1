"""The layer, or two, between pooled features and logits."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from synaptax.typing import Array


def uniform(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Return U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for a (fan_in, fan_out) kernel."""
    # PyTorch's default of a linear layer: kaiming_uniform with a = sqrt(5).
    bound = 1 / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Head(nn.Module):
    """Logits by a linear layer, after a hidden ReLU layer if there is one.

    Attributes:
        classes: outputs.
        hidden: units of the hidden layer; 0 for none.
    """

    classes: int
    hidden: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return (B, classes) from (B, C)."""
        if self.hidden:
            x = nn.relu(nn.Dense(self.hidden, kernel_init=uniform, name="hidden")(x))
        return nn.Dense(self.classes, kernel_init=uniform, name="out")(x)


class Classifier(nn.Module):
    """What follows feature maps: their spatial mean, then the head ``fc``.

    A subclass has ``maps(x, train)``, whose last entry is what is classified, and
    makes ``fc`` in its ``setup``.
    """

    def maps(self, x: Array, train: bool = False) -> dict[str, Array]:
        """Return the feature maps (B, h, w, C) by stage."""
        raise NotImplementedError

    def head(self, last: Array) -> Array:
        """Return logits (B, classes) from the last feature maps."""
        return self.fc(last.mean(axis=(1, 2)))

    def __call__(self, x: Array, train: bool = False) -> Array:
        """Return logits (B, classes) of images (B, H, W, 1)."""
        return self.head(list(self.maps(x, train).values())[-1])
