"""Convolution that is fast where it runs.

Inside ``lax.scan`` XLA's convolution is slow on a CPU: one core took 600 ms for the
gradient of two 3x3 layers of 16 channels on 16 images of 64x64, where the windows
below take 43 ms (jax 0.10.2). Both ways share the parameter and the value. The windows
differ from :mod:`synaptax.nets.layers`' patches: one product a row of the window, so
that no array of all its pixels is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from synaptax.nets import layers
from synaptax.typing import Array, Float

METHODS = ("auto", "windows", "lax")
NARROW = 8  # channels below which all of a window goes into one matrix product

# Normal with variance 2 / (outputs of a window), as for ReLU networks.
kaiming = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def convolve(
    x: Float[Array, "B H W C"],
    kernel: Float[Array, "k k C O"],
    *,
    stride: int = 1,
    method: str = "auto",
) -> Array:
    """Cross-correlate, with (k - 1) / 2 zeros on every side.

    Args:
        x: images, shape (B, H, W, C).
        kernel: filters, shape (k, k, C, O), k odd.
        stride: 1 or more; the first window is centred on the first pixel.
        method: ``"lax"``, ``"windows"`` (matrix products of shifted images) or
            ``"auto"``: windows on a CPU, lax elsewhere.

    Returns:
        Shape (B, ceil(H / stride), ceil(W / stride), O).

    Raises:
        ValueError: for another method, or a k that is even.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {METHODS}, got {method!r}")
    size = kernel.shape[0]
    if size % 2 == 0:
        raise ValueError(f"kernel: expected an odd side, got {size}")
    edge = size // 2
    if method == "auto":
        method = "windows" if jax.default_backend() == "cpu" else "lax"
    if method == "lax":
        return layers.convolve(x, kernel, stride=stride, method="lax")
    return _by_windows(
        jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0))), kernel, stride
    )


def _by_windows(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve padded images: columns of a window first, then its rows."""
    size, _, channels, filters = kernel.shape
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    # y[b, p, q, o] = sum_ij x[b, s p + i, s q + j] . w[i, j, :, o]: windows (B, H', W',
    # k C) of a row of the kernel, one product a row.
    across = [x[:, :, j : j + stride * (width - 1) + 1 : stride] for j in range(size)]
    wide = jnp.concatenate(across, axis=-1)
    rows = [wide[:, i : i + stride * (height - 1) + 1 : stride] for i in range(size)]
    if channels < NARROW:
        rows = [jnp.concatenate(rows, axis=-1)]
    flat = kernel.reshape(len(rows), -1, filters)
    numbers = (((1,), (0,)), ((), ()))
    parts = [
        lax.dot_general(row.reshape(-1, flat.shape[1]), flat[i], numbers)
        for i, row in enumerate(rows)
    ]
    return sum(parts[1:], parts[0]).reshape(x.shape[0], height, width, filters)


class Convolution(nn.Module):
    """A convolution without bias unless asked; parameter ``kernel`` (k, k, C, O).

    Attributes:
        filters: output channels.
        size: side of the window, odd.
        stride: see :func:`convolve`.
        bias: whether to add one, ``bias`` (O,).
        method: see :func:`convolve`.
        init: initialiser of the kernel.
    """

    filters: int
    size: int = 3
    stride: int = 1
    bias: bool = False
    method: str = "auto"
    init: Callable[..., Any] = kaiming

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the filtered images."""
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel = self.param("kernel", self.init, shape, jnp.float32)
        y = convolve(x, kernel, stride=self.stride, method=self.method)
        if not self.bias:
            return y
        shift = self.param("bias", nn.initializers.zeros, (self.filters,), jnp.float32)
        return y + shift.reshape(1, 1, 1, -1)
