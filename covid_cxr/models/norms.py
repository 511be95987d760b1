"""Three ways to normalise a channel, told apart by one word.

``"batch"``
    by the batch while training, by running averages otherwise.
``"frozen"``
    always by the running averages it was given, scale and bias fixed too: the batch
    statistics of 4 or 8 images are too noisy to fine-tune with.
``"group"``
    by groups of channels of the same image: no state, no dependence on the batch.

The first two have the same parameters and statistics, so weights fit either.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from synaptax.typing import Array

KINDS = ("batch", "frozen", "group")
EPSILON = 1e-5
MOMENTUM = 0.9  # of the running averages: PyTorch calls it 0.1


class Norm(nn.Module):
    """A normalisation of the last axis, then a scale and a shift.

    Attributes:
        kind: one of :data:`KINDS`.
    """

    kind: str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Return the normalised images.

        Args:
            x: (B, H, W, C).
            train: whether to use, and average in, the statistics of this batch.
        """
        if self.kind not in KINDS:
            raise ValueError(f"norm: expected one of {KINDS}, got {self.kind!r}")
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        if self.kind == "group":
            return _affine(_grouped(x), scale, bias)
        zeros, ones = jnp.zeros, jnp.ones
        mean = self.variable("batch_stats", "mean", zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", ones, (channels,), jnp.float32)
        if self.kind == "frozen":
            scale, bias = lax.stop_gradient((scale, bias))
        if self.kind == "frozen" or not train:
            return _normalise(x, mean.value, var.value, scale, bias)
        now, spread = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        if not self.is_initializing():
            # The unbiased variance goes into the average, as PyTorch does it.
            count = x.size // channels
            wide = spread * (count / max(count - 1, 1))
            mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * now
            var.value = MOMENTUM * var.value + (1 - MOMENTUM) * wide
        return _normalise(x, now, spread, scale, bias)


def groups(channels: int) -> int:
    """Return the number of groups: up to 32, of at least two channels each."""
    return math.gcd(32, channels // 2) if channels % 2 == 0 else 1


def _grouped(x: Array) -> Array:
    """Return x with mean 0 and variance 1 over each group of each image."""
    batch, height, width, channels = x.shape
    parts = x.reshape(batch, height, width, groups(channels), -1)
    mean = parts.mean(axis=(1, 2, 4), keepdims=True)
    var = parts.var(axis=(1, 2, 4), keepdims=True)
    return ((parts - mean) * lax.rsqrt(var + EPSILON)).reshape(x.shape)


def _normalise(x: Array, mean: Array, var: Array, scale: Array, bias: Array) -> Array:
    """Return (x - mean) / sqrt(var + eps) * scale + bias as one product and sum."""
    # (x - m) s + b = x s + (b - m s), s = scale / sqrt(var + eps), (C,).
    slope = scale * lax.rsqrt(var + EPSILON)
    return _affine(x, slope, bias - mean * slope)


def _affine(x: Array, slope: Array, offset: Array) -> Array:
    shape = (1, 1, 1, -1)
    return x * slope.reshape(shape) + offset.reshape(shape)
