"""Parameters of a bundled network from a PyTorch ``state_dict``; needs no PyTorch.

PyTorch keeps convolutions as (outputs, inputs, rows, columns) and dense layers as
(outputs, inputs), and flattens feature maps channels first; here outputs come last, and
channels are flattened last. Layers are taken in the order of the state, that of their
definition; each must fit the layer that stands there in the bundled network. A bias of
a convolution before a batch norm, which no network here has, only shifts the mean that
the norm subtracts: it is taken off the running mean. Two layers of one shape that were
defined in another order than they are called in are not told apart: compare outputs.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from synaptax.nets import models
from synaptax.typing import PyTree

NAMES = ("lenet300", "lenet5", "vgg16", "resnet20", "resnet32", "resnet18", "allcnn_c")
_PARTS = ("weight", "bias", "running_mean", "running_var")
_IGNORED = "num_batches_tracked"


def from_torch(
    name: str,
    state: Mapping[str, Any],
    classes: int,
    image_shape: tuple[int, int, int],
    **options: Any,
) -> tuple[PyTree, PyTree]:
    """Return (params, stats) of a bundled network, from PyTorch's numbers.

    Args:
        name: one of :data:`NAMES`.
        state: a ``state_dict``: name to tensor or array of any floating dtype, in the
            order of definition. A convolution's bias before a batch norm with running
            moments goes into its running mean: mean - bias.
        classes: of the network.
        image_shape: (height, width, channels) of an image.
        options: of the network, as :func:`synaptax.nets.models.network` takes them.

    Returns:
        Trees as ``models.network(...).init`` gives them, float32.

    Raises:
        ValueError: for another network; naming the entry, if a layer is missing, left
            over, of another kind or shape, not of floating numbers, or not finite in
            float32.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sizes = [(300, 64), (300,), (100, 300), (100,), (10, 100), (10,)]
        >>> names = [f"fc{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")]
        >>> state = {n: rng.normal(size=s) for n, s in zip(names, sizes, strict=True)}
        >>> params, _ = from_torch("lenet300", state, 10, (8, 8, 1))
        >>> params["Dense_1"]["kernel"].shape
        (300, 100)
    """
    if name not in NAMES:
        raise ValueError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")
    net = models.network(name, classes, image_shape, **options)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params, stats = (traverse_util.flatten_dict(tree, sep="/") for tree in shapes)
    layers = sorted({path.rpartition("/")[0] for path in params}, key=_order)
    entries = _layers(state)
    if len(entries) != len(layers):
        raise ValueError(
            f"state: {name} has {len(layers)} layers with parameters, the state "
            f"{len(entries)}: {', '.join(entries)}"
        )
    _fold_biases(layers, entries, params)
    channels = image_shape[-1]
    values: dict[str, dict[str, np.ndarray]] = {"params": {}, "stats": {}}
    for layer, (prefix, parts) in zip(layers, entries.items(), strict=True):
        own = {
            "params": _below(params, layer),
            "stats": _below(stats, layer),
        }
        arrays = _converted(parts, prefix, channels)
        for kind, leaves in own.items():
            for leaf, shape in leaves.items():
                if leaf not in arrays:
                    raise ValueError(f"state: {prefix} has nothing for {layer}/{leaf}")
                value = arrays.pop(leaf)
                if value.shape != shape.shape:
                    raise ValueError(
                        f"state: {prefix} gives {layer}/{leaf} the shape "
                        f"{value.shape}, expected {shape.shape}"
                    )
                values[kind][f"{layer}/{leaf}"] = value
        if arrays:
            raise ValueError(f"state: {prefix} has {sorted(arrays)}, {layer} has not")
        # What the next dense layer reads: maps of so many channels, or one vector.
        channels = {4: len(parts["weight"]), 2: 1}.get(parts["weight"].ndim, channels)
    trees = [
        traverse_util.unflatten_dict(
            {path: jnp.asarray(value) for path, value in values[kind].items()}, sep="/"
        )
        for kind in ("params", "stats")
    ]
    return trees[0], trees[1]


def _order(layer: str) -> tuple[Any, ...]:
    """Sort layers as the network calls them: by block and index, then norms."""
    key: list[Any] = []
    for part in layer.split("/"):
        kind, *numbers = re.split(r"_", part)
        group = {"Conv": 0, "BatchNorm": 0, "Block": 1, "Dense": 2}[kind]
        # Numbers as numbers: Conv_10 comes after Conv_9.
        key += [group, [int(n) for n in numbers], kind == "BatchNorm"]
    return tuple(key)


def _layers(state: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Return prefix -> {part: array}, checked, in the order of the state."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, value in state.items():
        prefix, _, part = name.rpartition(".")
        if part == _IGNORED:
            continue
        if part not in _PARTS:
            raise ValueError(
                f"state: {name}: expected a name that ends in {', '.join(_PARTS)}"
            )
        if hasattr(value, "detach"):  # a tensor, on any device
            value = value.detach().cpu()
            # NumPy has no bfloat16.
            value = (value.float() if value.is_floating_point() else value).numpy()
        array = np.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.floating):  # NumPy's denies bfloat16
            raise ValueError(
                f"state: {name}: expected floating numbers, got {array.dtype}"
            )
        with np.errstate(over="ignore"):  # refused in the next line
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"state: {name}: expected numbers finite in float32")
        layers.setdefault(prefix, {})[part] = array
    for prefix, parts in layers.items():
        if "weight" not in parts:
            raise ValueError(f"state: {prefix} has no weight")
    return layers


def _fold_biases(
    layers: list[str],
    entries: Mapping[str, dict[str, np.ndarray]],
    params: Mapping[str, Any],
) -> None:
    """Move biases that a layer here has not into the norm that follows.

    x + bias - mean = x - (mean - bias), at the moments of training's batches too.
    """
    steps = zip(layers, entries.values(), strict=True)
    for (layer, parts), (after, norm) in itertools.pairwise(steps):
        bias, mean = parts.get("bias"), norm.get("running_mean")
        if (
            f"{layer}/bias" not in params
            and after != layer
            and after == layer.replace("Conv_", "BatchNorm_")
            and bias is not None
            and mean is not None
            and mean.shape == bias.shape
        ):
            norm["running_mean"] = mean - bias
            del parts["bias"]


def _below(flat: Mapping[str, Any], layer: str) -> dict[str, Any]:
    """Return leaf name -> shape of one layer."""
    return {
        path.rpartition("/")[2]: shape
        for path, shape in flat.items()
        if path.rpartition("/")[0] == layer
    }


def _converted(
    parts: Mapping[str, np.ndarray],
    prefix: str,
    channels: int,
) -> dict[str, np.ndarray]:
    """Return a layer's leaves under their names here."""
    weight = parts["weight"]
    rest = {
        {"running_mean": "mean", "running_var": "var"}.get(part, part): value
        for part, value in parts.items()
        if part != "weight"
    }
    if weight.ndim == 1:
        return {"scale": weight, **rest}
    if weight.ndim == 4:
        return {"kernel": weight.transpose(2, 3, 1, 0), **rest}
    if weight.ndim != 2:
        raise ValueError(f"state: {prefix}.weight has {weight.ndim} axes")
    if channels == 1 or weight.shape[1] % channels:
        return {"kernel": weight.T, **rest}
    # It reads maps: (channels, pixels) there, (pixels, channels) here.
    maps = weight.T.reshape(channels, -1, len(weight))
    return {"kernel": maps.transpose(1, 0, 2).reshape(-1, len(weight)), **rest}
