"""LeNet-300-100 and LeNet-5, in Flax Linen, fast on a CPU too.

LeNet-5 is the one of the Caffe model zoo (20 and 50 filters of 5x5, then 500 and
``classes`` units; 431,080 parameters on 28x28x1). How its convolutions are computed
is said in :mod:`synaptax.nets.layers`.

Each 2x2 pooling block is kept as four *phases*, whole feature maps whose entry-wise
maximum is the pooled map, so that pooling and its gradient run over contiguous
memory. Bias and ReLU are applied at one of two places that share parameters and the
value of the network, for both are monotone:

``pooled``
    convolve, pool, bias, ReLU: they touch a quarter of the entries.
``full``
    convolve, bias, ReLU, pool: what enters the ReLU is the whole feature map, which
    the post-synaptic-potential penalty and entropy are defined on.

Beside the ways of :mod:`synaptax.nets.layers`, LeNet-5 can be convolved by ``winograd``
(:mod:`synaptax.nets.winograd`; by ``patches`` still where a pixel has few channels, or
filters are not 3x3 or 5x5). On a CPU a training step then takes little more than half
the time. A kernel's gradient for each example, which an exact sensitivity needs, has
many more numbers there, so ``auto`` stays with ``patches``.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from synaptax.checks import check_choice
from synaptax.nets import layers, winograd
from synaptax.nets.layers import dense, initialisers, resolve_convolution
from synaptax.typing import Array, Float

CONVOLUTIONS = (*layers.CONVOLUTIONS, "winograd")
RECTIFICATIONS = ("pooled", "full")

# Channels of a pixel below which windows are cut one axis at a time.
NARROW = 8


def fastest() -> str:
    """Return the way of convolving in which LeNet-5 trains fastest on this device.

    Not the one in which its exact sensitivity is computed fastest: that is ``auto``.
    """
    return "winograd" if jax.default_backend() == "cpu" else "auto"


def convolve_pool(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C O"], method: str = "auto"
) -> Array:
    """Convolve without padding, then take the maximum of each 2x2 block.

    Entries of a block that tie share the gradient equally. Arguments and errors are
    those of :func:`convolve_phases`.

    Returns:
        Shape (B, (H - k + 1) // 2, (W - k + 1) // 2, O).
    """
    return convolve_phases(x, kernel, method).max(axis=1)


def convolve_phases(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C O"], method: str = "auto"
) -> Array:
    """Convolve without padding; return the four phases of the 2x2 blocks.

    Convolution means cross-correlation, stride 1; an odd last row or column of its
    result is dropped.

    Args:
        x: images, shape (B, H, W, C), H and W at least k + 1.
        kernel: filters, shape (k, k, C, O), k odd.
        method: one of :data:`CONVOLUTIONS`; the value is the same.

    Returns:
        Shape (B, 4, (H - k + 1) // 2, (W - k + 1) // 2, O): entry (b, 2 p + q, i, j)
        is the convolution at row 2 i + p and column 2 j + q.

    Raises:
        ValueError: if ``method`` is unknown, k is even or the images are smaller than
            k + 1.
    """
    size, filters = kernel.shape[0], kernel.shape[3]
    if size % 2 == 0 or min(x.shape[1:3]) <= size:
        raise ValueError(
            f"kernel: expected an odd side below that of the images {x.shape[1:3]}, "
            f"got {size}"
        )
    check_choice("conv", method, CONVOLUTIONS)
    method = method if method == "winograd" else resolve_convolution(method)
    rows, columns = (x.shape[1] - size + 1) // 2, (x.shape[2] - size + 1) // 2
    # Rows and columns that reach no 2x2 block are not convolved.
    x = x[:, : 2 * rows + size - 1, : 2 * columns + size - 1]
    if method == "lax":
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=dimensions
        ).reshape(x.shape[0], rows, 2, columns, 2, filters)
        y = y.transpose(0, 2, 4, 1, 3, 5)
    elif method == "winograd" and x.shape[3] >= NARROW and size in winograd.POINTS:
        y = _phases_of_tiles(winograd.convolve_tiles(x, kernel), rows, columns)
    else:
        # One flat product with the kernel's filters first: XLA then forms the
        # kernel's gradient as a product of the same kind, without a transposed copy
        # of the patches or of their cotangents.
        windows_of = _windows_by_axis if x.shape[3] < NARROW else _windows_by_plane
        windows = windows_of(x, size)
        flat = kernel.transpose(3, 0, 1, 2).reshape(filters, windows.shape[-1])
        numbers = (((1,), (1,)), ((), ()))
        y = lax.dot_general(windows.reshape(-1, windows.shape[-1]), flat, numbers)
    return y.reshape(x.shape[0], 4, rows, columns, filters)


def _windows_by_plane(x: Array, size: int) -> Array:
    """Cut out windows from the four planes of even or odd rows and columns.

    Each slice is then dense, and its gradient a plain padding. Shape (B, 2, 2, H', W',
    size * size * C): phase of the row, phase of the column, row, column, window.
    """
    batch, height, width, channels = x.shape
    rows, columns = (height - size + 1) // 2, (width - size + 1) // 2
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    planes = [[blocks[:, :, i, :, j] for j in (0, 1)] for i in (0, 1)]

    def piece(i: int, j: int) -> Array:
        plane = planes[i % 2][j % 2]
        return plane[:, i // 2 : i // 2 + rows, j // 2 : j // 2 + columns]

    window = [(i, j) for i in range(size) for j in range(size)]
    phases = [
        jnp.concatenate([piece(p + i, q + j) for i, j in window], axis=-1)
        for p in (0, 1)
        for q in (0, 1)
    ]
    windows = jnp.stack(phases, axis=1)
    return windows.reshape(batch, 2, 2, rows, columns, windows.shape[-1])


def _windows_by_axis(x: Array, size: int) -> Array:
    """Cut out the windows of :func:`_windows_by_plane`, columns first, then rows.

    Fewer and longer slices, the better way where a pixel has few channels.
    """
    rows, columns = (x.shape[1] - size + 1) // 2, (x.shape[2] - size + 1) // 2

    def along(x: Array, axis: int, phase: int, count: int) -> Array:
        starts = range(phase, phase + size)
        pieces = [
            lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis=axis) for i in starts
        ]
        return jnp.concatenate(pieces, axis=-1)

    x = jnp.stack([along(x, 2, phase, columns) for phase in (0, 1)], axis=1)
    return jnp.stack([along(x, 2, phase, rows) for phase in (0, 1)], axis=1)


def _phases_of_tiles(y: Array, rows: int, columns: int) -> Array:
    """Return (B, 4, rows, columns, O) of :func:`winograd.convolve_tiles`'s result."""
    half, (batch, down, across, filters) = y.shape[0] // 2, y.shape[2:]
    y = y.reshape(half, 2, half, 2, batch, down, across, filters)
    y = y.transpose(4, 1, 3, 5, 0, 6, 2, 7)
    y = y.reshape(batch, 4, down * half, across * half, filters)
    return y[:, :, :rows, :columns]


class ConvolvePool(nn.Module):
    """A VALID convolution, bias, ReLU and 2x2 max-pooling.

    Attributes:
        filters: output channels.
        size: side of the square window, odd.
        conv: one of :data:`CONVOLUTIONS`.
        initialiser: one of :data:`synaptax.nets.layers.INITIALISERS`.
        rectify: one of :data:`RECTIFICATIONS`.
    """

    filters: int
    size: int = 5
    conv: str = "auto"
    initialiser: str = "uniform"
    rectify: str = "pooled"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Array:
        """Return the pooled and rectified feature maps, shape (B, H', W', O)."""
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel_init, bias_init = initialisers(self.initialiser, math.prod(shape[:-1]))
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        bias = self.param("bias", bias_init, (self.filters,), jnp.float32)
        if self.rectify == "pooled":
            pooled = convolve_pool(x, kernel, self.conv)
            return nn.relu(pooled + bias.reshape(1, 1, 1, -1))
        phases = convolve_phases(x, kernel, self.conv)
        return nn.relu(phases + bias.reshape(1, 1, 1, 1, -1)).max(axis=1)


class LeNet300(nn.Module):
    """LeNet-300-100: dense layers of 300, 100 and ``classes`` units, ReLU between.

    Attributes:
        classes: number of outputs.
        initialiser: one of :data:`synaptax.nets.layers.INITIALISERS`.
        widths: units of the hidden layers.
    """

    classes: int = 10
    initialiser: str = "uniform"
    widths: tuple[int, ...] = (300, 100)

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes), of images of any size."""
        del train  # nothing differs
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        for index, units in enumerate(self.widths):
            x = nn.relu(
                dense(units, x.shape[-1], self.initialiser, f"Dense_{index}")(x)
            )
        last = f"Dense_{len(self.widths)}"
        return dense(self.classes, x.shape[-1], self.initialiser, last)(x)


class LeNet5(nn.Module):
    """LeNet-5, 20-50-500 and ``classes`` units; ReLU but after the last.

    Attributes:
        classes: number of outputs.
        conv: one of :data:`CONVOLUTIONS`.
        initialiser: one of :data:`synaptax.nets.layers.INITIALISERS`.
        rectify: one of :data:`RECTIFICATIONS`.
        dropout: probability with which, in training, what enters the last layer is
            set to 0; the rest is scaled by 1 / (1 - dropout).
        widths: filters of the two convolutions, units of the hidden dense layer.
    """

    classes: int = 10
    conv: str = "auto"
    initialiser: str = "uniform"
    rectify: str = "pooled"
    dropout: float = 0.0
    widths: tuple[int, int, int] = (20, 50, 500)

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes), of images of 16x16 or more."""
        for index, filters in enumerate(self.widths[:2]):
            name = f"Conv_{index}"
            x = ConvolvePool(
                filters, 5, self.conv, self.initialiser, self.rectify, name=name
            )(x)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        units = self.widths[2]
        x = nn.relu(dense(units, x.shape[-1], self.initialiser, "Dense_0")(x))
        x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return dense(self.classes, x.shape[-1], self.initialiser, "Dense_1")(x)
