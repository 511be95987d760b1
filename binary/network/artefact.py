r"""The binarised network as a file: one bit a weight, computed with in integers.

A hidden field is a sum of +-1, and is counted on bits: of I signs, those that differ
from the weights are the ones in their exclusive or,

.. math:: \sum_i w_i s_i = I - 2 \, |w \oplus s|

The first layer's is a sum of +-pixels (whole numbers), to which an affine map brings
the normalisation of the images. Only the comparison of such a sum with a real threshold
is not an integer operation.

A convolution is a dense layer of every window; its bits are packed along (row, column,
channel), as its weights are laid out.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from binary._checks import number
from binary.network import model
from binary.network.layers import Conv, Layer
from binary.network.moments import border
from binary.network.packed import Packed, PackedLayer, Window, check, check_packed
from synaptax.checks import check_integer
from synaptax.runs.files import FileError, replacing

_FORMAT = "synaptax binary network 2"
_CELLS = 2**21  # of a block of fields, so that it stays in a core's cache


class ArtefactError(FileError):
    """A file is not a packed network, or not a whole one; the message names it.

    Example:
        >>> with open("no_network.npz", "w") as file:
        ...     _ = file.write("nothing packed")
        >>> try:
        ...     binary.network.load("no_network.npz")
        ... except binary.network.ArtefactError as error:
        ...     print(type(error).__name__)
        ArtefactError
    """


def pack(
    layers: tuple[Layer, ...], params: Any, *, scale: float = 1.0, shift: float = 0.0
) -> Packed:
    """Return the mode of a network, packed.

    Args:
        layers: dense layers and convolutions; the last is dense.
        params: their parameters, see :func:`binary.network.model.init`.
        scale: of pixels, see :class:`Packed`.
        shift: likewise.

    Raises:
        ValueError: for a hidden convolution padded with zeros, which are no signs; for
            parameters that are not those of the layers, or not finite.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> packed = binary.network.pack(layers, params)
        >>> packed.layers[0].bits.shape, packed.layers[0].inputs  # 9 weights in 2 bytes
        ((2, 2), 9)
    """
    model.check(layers, params)
    packed = []
    for index, layer in enumerate(layers):
        own = params[f"layer_{index}"]
        m, bias = np.asarray(own["m"]), np.asarray(own["bias"])
        inputs, window = math.prod(m.shape[:-1]), None
        if isinstance(layer, Conv):
            same = int(layer.padding == "SAME")
            window = Window(layer.size, layer.stride, same, layer.fill, layer.pool)
        bits = np.packbits(m.reshape(inputs, -1) >= 0, axis=0)
        # The model's own product, in its dtype: its sum with an integer rounds, but
        # rounding never moves a number across zero.
        wide = np.promote_types(bias.dtype, np.float32)
        offset = bias.astype(wide) * wide.type(inputs**0.5)
        packed.append(PackedLayer(bits, inputs, offset, window))
    network = Packed(tuple(packed), number("scale", scale), number("shift", shift))
    check(network)
    return network


def weights(layer: PackedLayer) -> np.ndarray:
    """Return the weights of a layer, (I, O) int8 of +-1."""
    bits = np.unpackbits(layer.bits, axis=0, count=layer.inputs)
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def predict(network: Packed, pixels: np.ndarray, *, chunk: int = 500) -> np.ndarray:
    """Return the class of each image: sums of pixels, then of bits.

    Logits are rounded to the dtype of their bias, as the model's are, before the
    largest is taken, so that classes tie alike; of equal ones the first is the answer.

    Args:
        network: the packed network.
        pixels: (B, ...) integers; (B, H, W, C) for convolutions.
        chunk: images at a time.

    Returns:
        (B,) int64.

    Raises:
        ValueError: for pixels that are not integers, or of another shape.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> packed = binary.network.pack(layers, params)
        >>> binary.network.predict(packed, np.ones((4, 9), np.uint8)).tolist()
        [0, 0, 0, 0]
    """
    check_packed(network)
    chunk = check_integer("chunk", chunk, 1)
    pixels = _shaped(network.layers[0], np.asarray(pixels))
    words = [_words(layer.bits.T) for layer in network.layers]
    parts = [np.empty(0, np.int64)]
    for start in range(0, len(pixels), chunk):
        signs, fields = None, np.empty(0)
        for layer, own in zip(network.layers, words, strict=True):
            if signs is None:
                fields = _first_field(network, pixels[start : start + chunk])
            else:
                fields = _field(layer, own, signs)
            signs = _pooled(layer, fields + layer.bias >= 0)
        logits = fields + network.layers[-1].bias
        logits = logits.astype(network.layers[-1].bias.dtype)
        parts.append(logits.argmax(axis=1))
    return np.concatenate(parts)


def _shaped(first: PackedLayer, pixels: np.ndarray) -> np.ndarray:
    """Return the pixels in the shape that the first layer takes."""
    if first.window is None:
        channels, expected = first.inputs, f"{first.inputs} integers an image"
        shaped = pixels
        if pixels.ndim > 1:
            shaped = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
    else:
        channels = first.inputs // first.window.size**2
        expected, shaped = f"integers (B, H, W, {channels})", pixels
    if (
        not np.issubdtype(pixels.dtype, np.integer)
        or shaped.ndim != (2 if first.window is None else 4)
        or shaped.shape[-1] != channels
    ):
        raise ValueError(
            f"pixels: expected {expected}, got {pixels.dtype} of shape {pixels.shape}"
        )
    return shaped


def _words(rows: np.ndarray) -> np.ndarray:
    """Return rows of bytes as rows of 64-bit words, padded with zeros."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8)))
    return np.ascontiguousarray(padded).view(np.uint64)


def _field(layer: PackedLayer, own: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return sums of signs (booleans, True for +1) by exclusive or and counts."""
    if layer.window is None:
        rows = signs.reshape(len(signs), -1)
        if rows.shape[1] != layer.inputs:
            raise ValueError(
                f"pixels: images of this size leave {rows.shape[1]} signs to a layer "
                f"of {layer.inputs} inputs"
            )
    else:
        rows = _windows(layer.window, signs, int(layer.window.fill > 0))
    words = _words(np.packbits(rows.reshape(-1, layer.inputs), axis=1))
    differ = np.empty((len(words), len(own)), np.int32)
    step = max(1, _CELLS // len(own))
    for start in range(0, len(words), step):
        block = words[start : start + step]
        count = np.zeros((len(block), len(own)), np.int32)
        for word in range(own.shape[1]):
            count += np.bitwise_count(block[:, word, None] ^ own[None, :, word])
        differ[start : start + step] = count
    return (layer.inputs - 2 * differ).reshape(*rows.shape[:-1], -1)


def _first_field(network: Packed, pixels: np.ndarray) -> np.ndarray:
    """Return the first field of normalised pixels, float64, from sums of pixels."""
    layer = network.layers[0]
    matrix = weights(layer)
    if layer.window is None:
        # sum_j w_j (scale p_j + shift) over the image, + fill sum_j w_j over the
        # border, which is filled after the affine map.
        sums, inside, outside = _sums(pixels, matrix), matrix.sum(axis=0), 0
    else:
        ones = np.ones((1, *pixels.shape[1:]), np.int64)
        sums, inside, outside = (
            _sums(_windows(layer.window, values, fill), matrix)
            for values, fill in ((pixels, 0), (ones, 0), (0 * ones, 1))
        )
        outside = outside * layer.window.fill
    return network.scale * sums + network.shift * inside + outside


def _sums(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return integer sums exactly, by products in a float that holds them all."""
    largest = max(abs(int(pixels.max(initial=0))), abs(int(pixels.min(initial=0))))
    most = largest * len(matrix)
    if most >= 2**53:
        raise ValueError(f"pixels: up to {largest}, so that sums pass 2^53")
    # Floats hold these integers exactly, and their products are BLAS's.
    exact = np.float32 if most < 2**24 else np.float64
    return (pixels.astype(exact) @ matrix.astype(exact)).astype(np.float64)


def _windows(window: Window, images: np.ndarray, fill: int) -> np.ndarray:
    """Return every window of images (B, H, W, C), flat: (B, H', W', I)."""
    size, stride = window.size, window.stride
    if window.same:
        sides = [border(length, size, stride) for length in images.shape[1:3]]
        images = np.pad(images, [(0, 0), *sides, (0, 0)], constant_values=fill)
    if min(images.shape[1:3]) < size:
        raise ValueError(f"pixels: images of {images.shape[1:3]} hold no window {size}")
    views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    views = np.moveaxis(views[:, ::stride, ::stride], 3, 5)
    return views.reshape(*views.shape[:3], -1)


def _pooled(layer: PackedLayer, up: np.ndarray) -> np.ndarray:
    """Return the signs that a layer hands on: +1 where any of a window is."""
    side = layer.window.pool if layer.window else 1
    if side == 1:
        return up
    batch, height, width, channels = up.shape
    rows, columns = height // side, width // side
    whole = up[:, : rows * side, : columns * side]
    windows = whole.reshape(batch, rows, side, columns, side, channels)
    return np.asarray(windows.any(axis=(2, 4)))


def save(path: str | Path, network: Packed) -> None:
    """Write a packed network as ``.npz``, whole or not at all.

    Raises:
        ValueError: if its parts do not fit each other.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> binary.network.save("digits.npz", binary.network.pack(layers, params))
        >>> binary.network.load("digits.npz").layers[0].inputs
        9
    """
    check(network)
    arrays: dict[str, np.ndarray] = {
        "format": np.asarray(_FORMAT),
        "pixel": np.asarray([network.scale, network.shift]),
    }
    for index, layer in enumerate(network.layers):
        arrays[f"bits_{index}"] = layer.bits
        arrays[f"inputs_{index}"] = np.asarray(layer.inputs)
        arrays[f"bias_{index}"] = layer.bias
        if layer.window is not None:
            arrays[f"window_{index}"] = np.asarray(layer.window)
    arrays["digest"] = np.frombuffer(_digest(arrays), np.uint8)
    with replacing(Path(path)) as file:
        np.savez(file, **arrays)  # pyright: ignore


def load(path: str | Path) -> Packed:
    """Read what :func:`save` wrote; every part is checked.

    Raises:
        ArtefactError: naming a file that is not a packed network, or a damaged one.
        OSError: for a file that cannot be read at all.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> binary.network.save("digits.npz", binary.network.pack(layers, params))
        >>> binary.network.load("digits.npz").scale
        1.0
    """
    raw = Path(path).read_bytes()
    try:
        network = _network(dict(_arrays(raw)))
        check(network)
    except Exception as error:  # a damaged zip raises a dozen classes
        raise ArtefactError(f"{path}: not a packed network: {error}") from error
    return network


def _arrays(raw: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of an ``.npz``, none larger than what the file holds of it."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise ValueError("a name occurs twice")
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(raw):
                raise ValueError(f"{info.filename}: not as save() stores it")
            content = io.BytesIO(archive.read(info))  # checks its CRC
            version = np.lib.format.read_magic(content)
            if version != (1, 0):
                raise ValueError(f"{info.filename}: not as save() stores it")
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            size = len(content.getvalue()) - content.tell()
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != size:
                raise ValueError(f"{info.filename}: {shape} of {dtype} in {size} bytes")
            content.seek(0)
            array = np.lib.format.read_array(content, allow_pickle=False)
            yield info.filename.removesuffix(".npy"), array


def _network(arrays: dict[str, np.ndarray]) -> Packed:
    """Return the network of the arrays of a file, without the checks of its parts."""
    digest = arrays.pop("digest", None)
    if "format" in arrays or digest is not None:  # the first format had neither
        if digest is None or digest.tobytes() != _digest(arrays):
            raise ValueError("the digest is that of other content")
        if str(arrays.pop("format")) != _FORMAT:
            raise ValueError(f"expected the format {_FORMAT!r}")
    pixel = arrays.pop("pixel")
    if pixel.shape != (2,) or not np.issubdtype(pixel.dtype, np.floating):
        raise ValueError(f"pixel: expected two floats, got {pixel.dtype} {pixel.shape}")
    layers = []
    while f"bits_{len(layers)}" in arrays:
        index = len(layers)
        window = arrays.pop(f"window_{index}", None)
        layers.append(
            PackedLayer(
                bits=arrays.pop(f"bits_{index}"),
                inputs=_whole(arrays.pop(f"inputs_{index}"), ())[0],
                bias=arrays.pop(f"bias_{index}"),
                window=None
                if window is None
                else Window(*_whole(window, (len(Window._fields),))),
            )
        )
    if arrays:
        raise ValueError(f"unknown or out of order: {sorted(arrays)[:3]}")
    return Packed(tuple(layers), float(pixel[0]), float(pixel[1]))


def _whole(array: np.ndarray, shape: tuple[int, ...]) -> list[int]:
    """Return the integers of an array of one shape."""
    if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"expected integers of {shape}, got {array.dtype} {array}")
    return [int(value) for value in array.ravel()]


def _digest(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the SHA-256 of named arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
