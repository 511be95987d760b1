"""The bundled networks: LeNet-300-100 and LeNet-5, in Flax Linen.

LeNet-5 is the one of the Caffe model zoo (20 and 50 filters of 5x5, then 500 and
``classes`` units; 431,080 parameters on 28x28x1). Its convolutions are computed in
one of two ways that share parameters (``HWIO`` kernels), names and values:

``lax``
    ``lax.conv_general_dilated``, the right choice for an accelerator.
``patches``
    static slices laid side by side and one matrix product. XLA's convolution is
    slow on a CPU, above all its gradient and above all inside ``lax.scan``.
``auto``
    ``patches`` where :func:`jax.default_backend` is ``"cpu"``, ``lax`` elsewhere.

In both, 2x2 max-pooling is an element-wise maximum of four strided views, and bias
and ReLU follow it. Both are monotone, so the value is that of bias, ReLU, pooling;
but they touch a quarter of the entries, and the zeros of a ReLU do not tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from pruning._typing import Array, Float, Key

CONVOLUTIONS = ("auto", "patches", "lax")
INITIALISERS = ("uniform", "lecun")
NAMES = ("lenet300", "lenet5")

InitFn = Callable[[Any], Any]
ApplyFn = Callable[[Any, Any], Any]
Initialiser = Callable[..., Any]


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
    _check_choice("initialiser", kind, INITIALISERS)
    if kind == "lecun":
        return nn.initializers.lecun_normal(), nn.initializers.zeros

    def uniform(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
        bound = 1 / math.sqrt(fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return uniform, uniform


def patches(x: Float[Array, "B H W C"], height: int, width: int) -> Array:
    """Lay every ``height`` x ``width`` window of ``x`` out as one row.

    Args:
        x: images, shape (B, H, W, C).
        height: rows of a window.
        width: columns of a window.

    Returns:
        Shape (B, H - height + 1, W - width + 1, height * width * C), the last axis
        in the order of an ``HWIO`` kernel reshaped to (height * width * C, O).
    """
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    windows = [
        x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)
    ]
    return jnp.concatenate(windows, axis=-1)


def convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "h w C O"], method: str = "auto"
) -> Array:
    """Convolve without padding, stride 1 (cross-correlation, as networks mean it).

    Args:
        x: images, shape (B, H, W, C).
        kernel: filters, shape (h, w, C, O).
        method: one of :data:`CONVOLUTIONS`; the value is the same.

    Returns:
        Shape (B, H - h + 1, W - w + 1, O).

    Raises:
        ValueError: if ``method`` is not one of :data:`CONVOLUTIONS`.
    """
    _check_choice("conv", method, CONVOLUTIONS)
    if method == "auto":
        method = "patches" if jax.default_backend() == "cpu" else "lax"
    if method == "lax":
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    height, width, channels, filters = kernel.shape
    flat = kernel.reshape(height * width * channels, filters)
    return jnp.tensordot(patches(x, height, width), flat, axes=1)


def max_pool(x: Float[Array, "B H W C"]) -> Array:
    """Take the maximum of each 2x2 block; an odd last row or column is dropped.

    Args:
        x: images, shape (B, H, W, C).

    Returns:
        Shape (B, H // 2, W // 2, C). Where entries tie the gradient is shared.
    """
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    blocks = x[:, : 2 * rows, : 2 * columns]
    blocks = blocks.reshape(x.shape[0], rows, 2, columns, 2, x.shape[3])
    top = jnp.maximum(blocks[:, :, 0, :, 0], blocks[:, :, 0, :, 1])
    bottom = jnp.maximum(blocks[:, :, 1, :, 0], blocks[:, :, 1, :, 1])
    return jnp.maximum(top, bottom)


class ConvolvePool(nn.Module):
    """A VALID convolution, 2x2 max-pooling, bias and ReLU.

    Attributes:
        filters: output channels.
        size: side of the square window.
        conv: one of :data:`CONVOLUTIONS`.
        initialiser: one of :data:`INITIALISERS`.
    """

    filters: int
    size: int = 5
    conv: str = "auto"
    initialiser: str = "uniform"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Array:
        """Return the pooled and rectified feature maps, shape (B, H', W', O)."""
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel_init, bias_init = initialisers(self.initialiser, math.prod(shape[:-1]))
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        bias = self.param("bias", bias_init, (self.filters,), jnp.float32)
        pooled = max_pool(convolve(x, kernel, self.conv))
        return nn.relu(pooled + bias.reshape(1, 1, 1, -1))


def _dense(units: int, inputs: int, initialiser: str, name: str) -> nn.Dense:
    """Return a dense layer whose bias, too, knows the layer's fan-in."""
    kernel_init, bias_init = initialisers(initialiser, inputs)
    return nn.Dense(units, kernel_init=kernel_init, bias_init=bias_init, name=name)


class LeNet300(nn.Module):
    """LeNet-300-100: dense layers of 300, 100 and ``classes`` units, ReLU between.

    Attributes:
        classes: number of outputs.
        initialiser: one of :data:`INITIALISERS`.
    """

    classes: int = 10
    initialiser: str = "uniform"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Array:
        """Return logits, shape (B, classes), of images of any size."""
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        for index, units in enumerate((300, 100)):
            x = nn.relu(
                _dense(units, x.shape[-1], self.initialiser, f"Dense_{index}")(x)
            )
        return _dense(self.classes, x.shape[-1], self.initialiser, "Dense_2")(x)


class LeNet5(nn.Module):
    """LeNet-5, 20-50-500 and ``classes`` units; ReLU but after the last.

    Attributes:
        classes: number of outputs.
        conv: one of :data:`CONVOLUTIONS`.
        initialiser: one of :data:`INITIALISERS`.
    """

    classes: int = 10
    conv: str = "auto"
    initialiser: str = "uniform"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Array:
        """Return logits, shape (B, classes), of images of 16x16 or more."""
        for index, filters in enumerate((20, 50)):
            name = f"Conv_{index}"
            x = ConvolvePool(filters, 5, self.conv, self.initialiser, name=name)(x)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        x = nn.relu(_dense(500, x.shape[-1], self.initialiser, "Dense_0")(x))
        return _dense(self.classes, x.shape[-1], self.initialiser, "Dense_1")(x)


def build(
    name: str,
    classes: int,
    image_shape: tuple[int, ...],
    *,
    conv: str = "auto",
    initialiser: str = "uniform",
) -> tuple[InitFn, ApplyFn]:
    """Return a bundled network as two pure functions.

    Args:
        name: one of :data:`NAMES`.
        classes: number of outputs, at least 2.
        image_shape: (height, width, channels) of one image; ``lenet5`` needs sides
            of 16 or more.
        conv: one of :data:`CONVOLUTIONS`; how ``lenet5`` convolves.
        initialiser: one of :data:`INITIALISERS`.

    Returns:
        ``init_fn(key) -> params`` (float32) and ``apply_fn(params, x) -> logits``,
        x of shape (B, height, width, channels), logits of shape (B, classes).

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> init_fn, apply_fn = build("lenet300", 10, (8, 8, 1))
        >>> params = init_fn(jax.random.key(0))
        >>> apply_fn(params, jnp.zeros((2, 8, 8, 1))).shape
        (2, 10)
    """
    _check_choice("name", name, NAMES)
    _check_choice("conv", conv, CONVOLUTIONS)
    _check_choice("initialiser", initialiser, INITIALISERS)
    if classes < 2:
        raise ValueError(f"classes: expected 2 or more, got {classes}")
    shape = tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"image_shape: expected (height, width, channels), got {image_shape}"
        )
    if name == "lenet5" and min(shape[:2]) < 16:
        raise ValueError(
            f"image_shape: lenet5 needs images of 16x16 or more, got {image_shape}"
        )
    model: nn.Module = LeNet300(classes, initialiser)
    if name == "lenet5":
        model = LeNet5(classes, conv, initialiser)

    def init_fn(key: Key[Array, ""]) -> Any:
        return model.init(key, jnp.zeros((1, *shape), jnp.float32))["params"]

    def apply_fn(params: Any, x: Any) -> Any:
        x = jnp.asarray(x)
        if x.shape[1:] != shape or not jnp.issubdtype(x.dtype, jnp.floating):
            wanted = ", ".join(map(str, ("B", *shape)))
            raise ValueError(
                f"x: expected floats of shape ({wanted}), got {x.dtype}{x.shape}"
            )
        return model.apply({"params": params}, x)

    return init_fn, apply_fn


def _check_choice(argument: str, given: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError that lists the choices unless ``given`` is among them."""
    if given not in choices:
        raise ValueError(
            f"{argument}: unknown {given!r}, expected one of {', '.join(choices)}"
        )
