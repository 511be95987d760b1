"""What the bundled networks are made of: convolutions, batch-norm, dense layers.

A convolution is computed in one of two ways that share parameters (``HWIO`` kernels),
names and values:

``lax``
    ``lax.conv_general_dilated``, the right choice for an accelerator.
``patches``
    windows cut out by static slices, then one matrix product, a few images at a time.
    XLA's convolution is slow on a CPU: inside ``lax.scan`` the gradient of four 3x3
    layers took more than 20 times as long.
``auto``
    ``patches`` where :func:`jax.default_backend` is ``"cpu"``, ``lax`` elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from synaptax.checks import check_choice
from synaptax.typing import Array, Float

CONVOLUTIONS = ("auto", "patches", "lax")
INITIALISERS = ("uniform", "lecun")

# Bytes that the windows cut out at a time may take; about what a core has in cache.
CACHE = 2_500_000

Initialiser = Callable[..., Any]

he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def initialisers(kind: str, fan_in: int) -> tuple[Initialiser, Initialiser]:
    """Return the initialisers of a layer's kernel and bias.

    Args:
        kind: ``"uniform"``, U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for both (the
            default of the framework the papers were run in), or ``"lecun"``, a
            truncated normal of variance 1/fan_in and a zero bias.
        fan_in: inputs of one unit.

    Returns:
        ``(kernel_init, bias_init)``, functions of (key, shape, dtype).

    Raises:
        ValueError: if ``kind`` is not one of :data:`INITIALISERS`.
    """
    check_choice("initialiser", kind, INITIALISERS)
    if kind == "lecun":
        return nn.initializers.lecun_normal(), nn.initializers.zeros

    def uniform(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
        bound = 1 / math.sqrt(fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return uniform, uniform


def dense(units: int, inputs: int, initialiser: str, name: str) -> nn.Dense:
    """Return a dense layer whose bias, too, knows the layer's fan-in."""
    kernel_init, bias_init = initialisers(initialiser, inputs)
    return nn.Dense(units, kernel_init=kernel_init, bias_init=bias_init, name=name)


def resolve_convolution(method: str) -> str:
    """Return ``"patches"`` or ``"lax"``; ``"auto"`` is decided by the device."""
    check_choice("conv", method, CONVOLUTIONS)
    if method == "auto":
        return "patches" if jax.default_backend() == "cpu" else "lax"
    return method


def convolve(
    x: Float[Array, "B H W C"],
    kernel: Float[Array, "k k c O"],
    *,
    stride: int = 1,
    method: str = "auto",
) -> Array:
    """Convolve (cross-correlate) with (k - 1) / 2 zeros around the image.

    Args:
        x: images, shape (B, H, W, C).
        kernel: filters, shape (k, k, C, O), k odd; or (k, k, 1, C), one filter for
            each channel (depthwise).
        stride: of both axes.
        method: one of :data:`CONVOLUTIONS`; the value is the same.

    Returns:
        Shape (B, (H - 1) // stride + 1, (W - 1) // stride + 1, O).

    Raises:
        ValueError: if ``method`` is not one of :data:`CONVOLUTIONS`, k is even, or
            the kernel does not fit the channels.
    """
    size, channels = kernel.shape[0], x.shape[3]
    depthwise = kernel.shape[2] == 1 and kernel.shape[3] == channels
    if size % 2 == 0 or not (depthwise or kernel.shape[2] == channels):
        raise ValueError(
            f"kernel: expected (k, k, {channels}, O) or (k, k, 1, {channels}), k odd, "
            f"got {kernel.shape}"
        )
    pad = size // 2
    if resolve_convolution(method) == "lax":
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=channels if depthwise and channels > 1 else 1,
        )
    return _in_chunks(partial(_by_patches, stride=stride), x, kernel)


def _by_patches(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve by cutting out all windows first."""
    size, filters = kernel.shape[0], kernel.shape[3]
    windows = _windows(x, size, stride)
    if kernel.shape[2] != x.shape[3]:  # depthwise
        # (k^2, B, H', W', C) with (k^2, C): summed over k^2, one product a channel,
        # whose axis comes out first.
        taps = kernel.reshape(size * size, filters)
        stacked = jnp.stack(windows)
        return lax.dot_general(stacked, taps, (((0,), (0,)), ((4,), (1,)))).transpose(
            1, 2, 3, 0
        )
    # The kernel's filters come first: XLA then forms the kernel's gradient as a
    # product of the same kind, without a transposed copy of the patches.
    flat = kernel.transpose(3, 0, 1, 2).reshape(filters, -1)
    patches = jnp.concatenate(windows, axis=-1)
    return lax.dot_general(patches, flat, (((3,), (1,)), ((), ())))


def _in_chunks(
    convolve: Callable[[Array, Array], Array], x: Array, kernel: Array
) -> Array:
    """Convolve a few images at a time, so that their windows stay in the cache.

    The windows of a whole batch take far more memory than its images, and writing and
    reading them then takes longer than the products. They are not kept for the
    gradient but cut again: that is cheaper than fetching them from memory.
    """
    chunk = chunk_size(x.shape, kernel.shape[0], x.dtype.itemsize)
    if chunk == x.shape[0]:
        return convolve(x, kernel)
    # Inside a scan XLA does not join the second computation with the first, so the
    # barrier against that is not needed.
    again = jax.checkpoint(convolve, prevent_cse=False)
    chunks = x.reshape(-1, chunk, *x.shape[1:])
    y = lax.scan(lambda _, part: (None, again(part, kernel)), None, chunks)[1]
    return y.reshape(x.shape[0], *y.shape[2:])


def chunk_size(shape: tuple[int, ...], size: int, itemsize: int = 4) -> int:
    """Return how many images are convolved at a time by ``patches``.

    The largest divisor of the batch whose windows fit into :data:`CACHE`, at least 1.
    A prime number of images is not divided: a loop hides the batch axis from the
    check for networks that mix examples, which traces a prime number.

    Args:
        shape: of the images, (B, H, W, C).
        size: side of the window.
        itemsize: bytes of a number.
    """
    batch = shape[0]
    divisors = [d for d in range(1, batch + 1) if batch % d == 0]
    if len(divisors) <= 2:
        return batch
    image = math.prod(shape[1:]) * size**2 * itemsize
    return max(d for d in divisors if d == 1 or d * image <= CACHE)


def _windows(x: Array, size: int, stride: int) -> list[Array]:
    """Return what each entry of a window sees: size * size arrays (B, H', W', C)."""
    pad = size // 2
    rows, columns = ((n - 1) // stride + 1 for n in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))

    def piece(i: int, j: int) -> Array:
        ends = (i + stride * (rows - 1) + 1, j + stride * (columns - 1) + 1)
        return lax.slice(
            x,
            (0, i, j, 0),
            (x.shape[0], *ends, x.shape[3]),
            (1, stride, stride, 1),
        )

    return [piece(i, j) for i in range(size) for j in range(size)]


class Convolve(nn.Module):
    """A padded convolution, He-initialised; see :func:`convolve`.

    Attributes:
        filters: output channels.
        size: side of the square window, odd.
        stride: of both axes.
        bias: whether a bias is added (zero at the start).
        depthwise: one filter for each input channel; ``filters`` must equal them.
        conv: one of :data:`CONVOLUTIONS`.
    """

    filters: int
    size: int = 3
    stride: int = 1
    bias: bool = False
    depthwise: bool = False
    conv: str = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Array:
        """Return the feature maps, shape (B, H', W', filters)."""
        inputs = 1 if self.depthwise else x.shape[-1]
        shape = (self.size, self.size, inputs, self.filters)
        kernel = self.param("kernel", he_normal, shape, jnp.float32)
        y = convolve(x, kernel, stride=self.stride, method=self.conv)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.filters,), jnp.float32)
        return y + bias.reshape(1, 1, 1, -1)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Return batch-norm with the constants of the frameworks the papers ran in.

    In training the batch's moments normalise, and the running ones move a tenth of
    the way towards them. The variance is the biased one for both uses.
    """
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name
    )
