"""The binarised network as a file: one bit a weight, checked in integers.

A packed network computes in integers: a hidden field is a sum of +-1, and the first
layer's a sum of +-pixels (whole numbers), to which an affine map brings the
normalisation of the images. Only the comparison of that sum with a real threshold is
not an integer operation.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from binary.network.model import Dense, Layer
from synaptax.runs.files import replacing


class PackedLayer(NamedTuple):
    """One dense layer.

    Attributes:
        bits: (ceil(I / 8), O) uint8, weights of +1 as set bits, packed along inputs.
        inputs: I.
        bias: (O,) float64, in units of the sum.
    """

    bits: np.ndarray
    inputs: int
    bias: np.ndarray


class Packed(NamedTuple):
    """A binarised network.

    Attributes:
        layers: from the first to that of the logits.
        scale: a pixel p enters as ``p * scale + shift``.
        shift: see ``scale``.
    """

    layers: tuple[PackedLayer, ...]
    scale: float
    shift: float


def pack(
    layers: tuple[Layer, ...], params: Any, *, scale: float = 1.0, shift: float = 0.0
) -> Packed:
    """Return the mode of a network, packed.

    Args:
        layers: dense layers.
        params: their parameters, see :func:`binary.network.model.init`.
        scale: of pixels, see :class:`Packed`.
        shift: likewise.

    Raises:
        ValueError: for a layer that is not dense.
    """
    packed = []
    for index, layer in enumerate(layers):
        if not isinstance(layer, Dense):
            raise ValueError(f"layers: expected dense layers, got {layer}")
        own = params[f"layer_{index}"]
        m = np.asarray(own["m"])
        bias = np.asarray(own["bias"], np.float64) * math.sqrt(m.shape[0])
        packed.append(PackedLayer(np.packbits(m >= 0, axis=0), m.shape[0], bias))
    return Packed(tuple(packed), float(scale), float(shift))


def weights(layer: PackedLayer) -> np.ndarray:
    """Return the weights of a layer, (I, O) int8 of +-1."""
    bits = np.unpackbits(layer.bits, axis=0, count=layer.inputs)
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def predict(network: Packed, pixels: np.ndarray, *, chunk: int = 500) -> np.ndarray:
    """Return the class of each image, in integer sums.

    Args:
        network: the packed network.
        pixels: (B, ...) integers.
        chunk: images at a time.

    Returns:
        (B,) int64.

    Raises:
        ValueError: for pixels that are not integers, or of another number.
    """
    flat = np.asarray(pixels).reshape(len(pixels), -1)
    wanted = network.layers[0].inputs
    if not np.issubdtype(flat.dtype, np.integer) or flat.shape[1] != wanted:
        raise ValueError(
            f"pixels: expected {wanted} integers an image, got {flat.dtype} of shape "
            f"{np.shape(pixels)}"
        )
    matrices = [weights(layer).astype(np.int32) for layer in network.layers]
    parts = []
    for start in range(0, len(flat), chunk):
        values = flat[start : start + chunk].astype(np.int32)
        for index, (layer, matrix) in enumerate(
            zip(network.layers, matrices, strict=True)
        ):
            sums = values @ matrix
            field = _affine(network, matrix, sums) if index == 0 else sums
            field = field + layer.bias
            values = np.where(field > 0, 1, -1).astype(np.int32)
        parts.append(field.argmax(axis=1))
    return np.concatenate(parts)


def _affine(network: Packed, matrix: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the first field of normalised pixels from that of the pixels."""
    return network.scale * sums + network.shift * matrix.sum(axis=0)


def save(path: str | Path, network: Packed) -> None:
    """Write a packed network as ``.npz``, whole or not at all."""
    arrays: dict[str, Any] = {"pixel": np.asarray([network.scale, network.shift])}
    for index, layer in enumerate(network.layers):
        arrays[f"bits_{index}"] = layer.bits
        arrays[f"inputs_{index}"] = np.asarray(layer.inputs)
        arrays[f"bias_{index}"] = layer.bias
    with replacing(Path(path)) as file:
        np.savez(file, **arrays)


def load(path: str | Path) -> Packed:
    """Read what :func:`save` wrote.

    Raises:
        ValueError: naming a file that is not a packed network.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            count = sum(name.startswith("bits_") for name in found.files)
            layers = tuple(
                PackedLayer(
                    found[f"bits_{i}"], int(found[f"inputs_{i}"]), found[f"bias_{i}"]
                )
                for i in range(count)
            )
            scale, shift = (float(value) for value in found["pixel"])
    except (KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a packed network: {error}") from error
    if not layers:
        raise ValueError(f"{path}: not a packed network: no layers")
    return Packed(layers, scale, shift)
