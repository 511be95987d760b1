"""What a packed network is, and the check that its parts are whole and fit."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Window(NamedTuple):
    """How a convolution moves over its images.

    Attributes:
        size: side of the window.
        stride: along both axes.
        same: 1 if borders are padded so that ceil(L / stride) windows fit, else 0.
        fill: what they are padded with, -1, 0 or 1, after the images' affine map.
        pool: side of the windows of which the largest sign is handed on.
    """

    size: int
    stride: int
    same: int
    fill: int
    pool: int


class PackedLayer(NamedTuple):
    """One layer.

    Attributes:
        bits: (ceil(I / 8), O) uint8, weights of +1 as set bits, packed along inputs.
        inputs: I, of one unit.
        bias: (O,) floating, in units of the sum.
        window: of a convolution; None for a dense layer.
    """

    bits: np.ndarray
    inputs: int
    bias: np.ndarray
    window: Window | None = None


class Packed(NamedTuple):
    """A binarised network.

    Attributes:
        layers: from the first to that of the logits.
        scale: a pixel p enters as ``p * scale + shift``.
        shift: see ``scale``.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> packed = binary.network.pack(layers, params, scale=1 / 255)
        >>> len(packed.layers), packed.shift
        (1, 0.0)
    """

    layers: tuple[PackedLayer, ...]
    scale: float
    shift: float


def check_packed(network: Any) -> None:
    """Raise unless this is a packed network; its parts are left alone."""
    if not isinstance(network, Packed):
        raise ValueError(
            f"network: expected what pack() returns, got {type(network).__name__}"
        )


def check(network: Packed) -> None:
    """Raise unless the parts of a packed network are whole and fit each other.

    Raises:
        ValueError: naming the layer and what was expected.
    """
    check_packed(network)
    if not network.layers:
        raise ValueError("no layers")
    if not (math.isfinite(network.scale) and math.isfinite(network.shift)):
        raise ValueError("pixel: expected a finite scale and shift")
    if network.scale == 0:
        raise ValueError("pixel: a scale of 0 shuts every image out")
    before: PackedLayer | None = None
    for index, layer in enumerate(network.layers):
        _check_layer(f"layer {index}", layer)
        _check_chain(f"layer {index}", before, layer)
        before = layer
    if before is None or before.window is not None:
        raise ValueError("layers: expected the last to be dense")


def _check_layer(name: str, layer: PackedLayer) -> None:
    """Raise unless the arrays of one layer fit each other."""
    bits, bias, inputs = layer.bits, layer.bias, layer.inputs
    if bits.dtype != np.uint8 or bits.ndim != 2 or inputs < 1 or bits.shape[1] < 1:
        raise ValueError(
            f"{name}: expected bits as a matrix of uint8 and at least one input, got "
            f"{bits.dtype} of {bits.shape} and {inputs}"
        )
    if bits.shape[0] != -(-inputs // 8):
        raise ValueError(f"{name}: {inputs} inputs do not fit bits of {bits.shape}")
    # packbits fills bytes from the highest bit: padding is in the low ones.
    if inputs % 8 and np.any(bits[-1] & (255 >> inputs % 8)):
        raise ValueError(f"{name}: bits are set beyond the last of {inputs} inputs")
    if bias.shape != bits.shape[1:] or bias.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{name}: expected a bias of {bits.shape[1:]} in float32 or float64, got "
            f"{bias.dtype} of {bias.shape}"
        )
    if not np.isfinite(bias).all():
        raise ValueError(f"{name}: expected a finite bias")
    if layer.window is not None:
        size, stride, same, fill, pool = layer.window
        if min(size, stride, pool) < 1 or same not in (0, 1) or fill not in (-1, 0, 1):
            raise ValueError(f"{name}: no window of a convolution: {layer.window}")
        if inputs % size**2:
            raise ValueError(f"{name}: {inputs} inputs do not fill {size} x {size}")


def _check_chain(name: str, before: PackedLayer | None, layer: PackedLayer) -> None:
    """Raise unless a layer can take what the layer before it hands on."""
    if before is None:
        return
    units = before.bits.shape[1]
    if layer.window is None:
        images = before.window is not None  # of any size, each with a sign a channel
        if layer.inputs % units or (not images and layer.inputs != units):
            raise ValueError(f"{name}: {layer.inputs} inputs after {units} units")
        return
    if before.window is None:
        raise ValueError(f"{name}: a convolution after a dense layer")
    if layer.inputs != layer.window.size**2 * units:
        raise ValueError(f"{name}: {layer.inputs} inputs after {units} channels")
    if layer.window.same and not layer.window.fill:
        raise ValueError(
            f"{name}: zeros at the border are no signs; pad with fill=1 or -1, or not"
        )
