"""Which axes of which parameters belong to one unit: declared, never guessed.

A leaf is named by its path under the collections of Flax: ``params/Dense_0/kernel``,
``batch_stats/BatchNorm_0/mean``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from synaptax.nets import lenets, mobilenet, resnets, transformer, vgg
from synaptax.trees import named_leaves
from synaptax.typing import PyTree

Flat = dict[str, np.ndarray]
Silent = Callable[[Flat], tuple[np.ndarray, np.ndarray | list[np.ndarray]]]
Smaller = Callable[[Mapping[str, int]], Any]
EPSILON = 1e-5  # of the bundled networks' batch-norm


def flattened(tree: PyTree) -> Flat:
    """Return the leaves by their paths; each has to have a path of its own."""
    flat: Flat = {}
    for path, leaf in named_leaves(tree):
        if path in flat:
            raise ValueError(f"params: two leaves have the path {path}")
        flat[path] = np.asarray(leaf)
    return flat


class Read(NamedTuple):
    """A kernel that reads the units.

    Attributes:
        kernel: its path; its last axis is that of the outputs.
        axis: the axis that the units lie along, counted from 0.
        repeat: entries of that axis for each unit, as after a flattening (H, W, C).
        into: a leaf, one entry for each output (it keeps its shape when a vector along
            them is added), that takes up what constant units contribute; None where it
            is not the same at every place (padding), or nothing can take it up.
        subtract: whether ``into`` is subtracted from the output: a running mean.

    Example:
        >>> pruning.Read("Dense_1/kernel", axis=0, into="Dense_1/bias").repeat
        1
    """

    kernel: str
    axis: int
    repeat: int = 1
    into: str | None = None
    subtract: bool = False


class Units(NamedTuple):
    """Units that can be taken out one by one, with everything tied to them.

    Attributes:
        name: of the group.
        ties: (path, axis) of each leaf that has an axis of them; axes count from 0.
        reads: who reads them: all of it.
        silent: leaves by path -> (boolean (units,), which put out a constant whatever
            the input; the constants). These are (units,), or (units, features) where
            a unit has several outputs; where readers get different ones (scaled or
            shifted on the way), a list with one array for each reader, (units, repeat
            or 1, ...), that broadcasts against what its kernel reads of a unit.
        entries: (path, axis) -> the unit of each entry of that axis, -1 for what is of
            other units; by default, repeat by repeat, all units in order.

    Example:
        >>> pruning.Units._fields
        ('name', 'ties', 'reads', 'silent', 'entries')
    """

    name: str
    ties: tuple[tuple[str, int], ...]
    reads: tuple[Read, ...]
    silent: Silent
    entries: Mapping[tuple[str, int], tuple[int, ...]] = MappingProxyType({})

    def count(self, flat: Flat) -> int:
        """Return the number of units."""
        path, axis = self.ties[0]
        if path not in flat:
            raise ValueError(f"units {self.name}: there is no leaf {path}")
        return self.size(self.owners(path, axis, flat[path].shape[axis]))

    def places(self) -> list[tuple[str, int]]:
        """Return (path, axis) of all that has an axis of the units."""
        return [*self.ties, *((reader.kernel, reader.axis) for reader in self.reads)]

    def owners(self, path: str, axis: int, size: int) -> np.ndarray:
        """Return the unit of each entry of an axis, -1 for what is of others."""
        if (path, axis) in self.entries:
            return np.asarray(self.entries[path, axis])
        repeats = {(reader.kernel, reader.axis): reader.repeat for reader in self.reads}
        return np.arange(size) % (size // repeats.get((path, axis), 1))

    @staticmethod
    def size(owners: np.ndarray) -> int:
        """Return the number of units that entries belong to."""
        return int(owners.max()) + 1


def _all_zero(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Say of each entry of an axis whether all that it holds is zero."""
    first = np.moveaxis(kernel, axis, 0)
    return np.count_nonzero(first.reshape(len(first), -1), axis=1) == 0


def relu(value: np.ndarray) -> np.ndarray:
    """Return max(0, value)."""
    return np.maximum(value, 0)


def gelu(value: np.ndarray) -> np.ndarray:
    """Return what ``jax.nn.gelu`` does."""
    # In float32, as a float32 network computes it; float64 would be cut to it.
    return np.asarray(jax.nn.gelu(value.astype(np.float32)), np.float64)


def layer(
    name: str,
    kernel: str,
    *reads: Read,
    rank: int,
    bias: str | None = None,
    norm: str | None = None,
    act: Callable[[np.ndarray], np.ndarray] = relu,
) -> Units:
    """Declare the outputs of a dense or convolutional layer.

    Args:
        name: of the units.
        kernel: path of the kernel; its last axis is that of the units.
        *reads: who reads them.
        rank: of the kernel.
        bias: path of the bias, if there is one.
        norm: name of the batch-norm behind, such as ``BatchNorm_0``, if there is one.
        act: what follows; it and any pooling must keep a constant map constant.
    """

    def silent(flat: Flat) -> tuple[np.ndarray, np.ndarray]:
        weights = flat[kernel]
        none = _all_zero(weights, -1)
        # Without weights the unit puts out act(b), or act(norm(b)), and nothing else.
        value = np.zeros(len(none))
        if bias is not None:
            value = flat[bias].astype(np.float64)
        return none, act(value if norm is None else normalised(flat, norm, value))

    ties = [(kernel, rank - 1)]
    if bias is not None:
        ties.append((bias, 0))
    if norm is not None:
        ties += norm_ties(norm)
    return Units(name, tuple(ties), reads, silent)


def normalised(flat: Flat, norm: str, value: np.ndarray) -> np.ndarray:
    """Return what batch-norm makes of a value for each channel, by running moments."""
    scale, shift = (flat[f"params/{norm}/{name}"] for name in ("scale", "bias"))
    mean, var = (flat[f"batch_stats/{norm}/{name}"] for name in ("mean", "var"))
    # (value - mean) / sqrt(var + eps) scale + shift, (units,), in float64.
    deviation = np.sqrt(var.astype(np.float64) + EPSILON)
    return (value - mean) / deviation * scale + shift


def norm_ties(norm: str) -> list[tuple[str, int]]:
    """Return the leaves of a batch-norm."""
    params = [(f"params/{norm}/{name}", 0) for name in ("scale", "bias")]
    return params + [(f"batch_stats/{norm}/{name}", 0) for name in ("mean", "var")]


def of_module(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    """Return the units of a bundled network, and what makes the smaller one.

    Raises:
        ValueError: if the module is not known.
    """
    for kind, declare in _BUNDLED.items():
        if isinstance(module, kind):
            return declare(module, flat)
    raise ValueError(
        f"module: {type(module).__name__} is not a bundled network; give smaller=, "
        "and units= unless they are to be found by tracing"
    )


def _dense(index: int, repeat: int = 1) -> Read:
    path = f"params/Dense_{index}"
    return Read(f"{path}/kernel", 0, repeat, f"{path}/bias")


def _lenet300(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    units = [
        layer(
            f"Dense_{i}",
            f"params/Dense_{i}/kernel",
            _dense(i + 1),
            rank=2,
            bias=f"params/Dense_{i}/bias",
        )
        for i in range(len(module.widths))
    ]
    return units, lambda left: module.clone(widths=tuple(left.values()))


def _lenet5(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    filters = flat["params/Conv_1/kernel"].shape[-1]
    repeat = flat["params/Dense_0/kernel"].shape[0] // filters
    reads = {
        "Conv_0": Read("params/Conv_1/kernel", 2, into="params/Conv_1/bias"),
        "Conv_1": _dense(0, repeat),
        "Dense_0": _dense(1),
    }
    units = [
        layer(
            name,
            f"params/{name}/kernel",
            reader,
            rank=4 if name.startswith("Conv") else 2,
            bias=f"params/{name}/bias",
        )
        for name, reader in reads.items()
    ]
    return units, lambda left: module.clone(widths=tuple(left.values()))


def _vgg16(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    count = len(module.widths) - 1
    filters = flat[f"params/Conv_{count - 1}/kernel"].shape[-1]
    repeat = flat["params/Dense_0/kernel"].shape[0] // filters
    units = []
    for i in range(count):
        padded = Read(f"params/Conv_{i + 1}/kernel", 2)
        name = f"Conv_{i}"
        units.append(
            layer(
                name,
                f"params/{name}/kernel",
                padded if i + 1 < count else _dense(0, repeat),
                rank=4,
                bias=None if module.norm else f"params/{name}/bias",
                norm=f"BatchNorm_{i}" if module.norm else None,
            )
        )
    last = layer(
        "Dense_0",
        "params/Dense_0/kernel",
        _dense(1),
        rank=2,
        bias="params/Dense_0/bias",
    )
    return [*units, last], lambda left: module.clone(widths=tuple(left.values()))


def _resnet(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    units = []
    for stage in range(len(module.widths)):
        for block in range(module.blocks):
            name = f"Block_{stage}_{block}"
            reader = Read(f"params/{name}/Conv_1/kernel", 2)
            kernel, norm = f"params/{name}/Conv_0/kernel", f"{name}/BatchNorm_0"
            units.append(layer(name, kernel, reader, rank=4, norm=norm))
    return units, lambda left: module.clone(inner=tuple(left.values()))


def _mobilenet(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    units = [
        _inverted(f"Block_{stage}_{block}")
        for stage, (expansion, _, blocks, _) in enumerate(mobilenet.STAGES)
        for block in range(blocks)
        if expansion > 1
    ]
    last = layer(
        "Conv_1", "params/Conv_1/kernel", _dense(0), rank=4, norm="BatchNorm_1"
    )
    return [*units, last], lambda left: module.clone(hidden=tuple(left.values()))


def _inverted(name: str) -> Units:
    """Declare the hidden channels of an inverted residual block."""
    expand, depthwise = (f"params/{name}/{k}/kernel" for k in ("Expand", "Depthwise"))
    first, second = f"{name}/BatchNorm_0", f"{name}/BatchNorm_1"

    def silent(flat: Flat) -> tuple[np.ndarray, np.ndarray]:
        taps = _all_zero(flat[depthwise], 3)
        # Nothing comes in, and what the first norm makes of it is cut by the ReLU: a
        # positive constant would meet zeros at the border of the depthwise filter.
        zero = np.zeros(len(taps))
        negative = normalised(flat, first, zero) <= 0
        nothing = _all_zero(flat[expand], 3) & negative
        return taps | nothing, relu(normalised(flat, second, zero))

    ties = [(expand, 3), (depthwise, 3), *norm_ties(first), *norm_ties(second)]
    mean = f"batch_stats/{name}/BatchNorm_2/mean"
    reader = Read(f"params/{name}/Project/kernel", 2, into=mean, subtract=True)
    return Units(name, tuple(ties), (reader,), silent)


def _transformer(module: Any, flat: Flat) -> tuple[list[Units], Smaller]:
    heads, hidden = [], []
    for i in range(len(module.heads)):
        block = f"params/Block_{i}"
        heads.append(_heads(block))
        hidden.append(
            layer(
                f"{block}/hidden",
                f"{block}/Dense_0/kernel",
                Read(f"{block}/Dense_1/kernel", 0, into=f"{block}/Dense_1/bias"),
                rank=2,
                bias=f"{block}/Dense_0/bias",
                act=gelu,
            )
        )

    def smaller(left: Mapping[str, int]) -> Any:
        return module.clone(
            heads=tuple(left[one.name] for one in heads),
            hidden=tuple(left[one.name] for one in hidden),
        )

    return [*heads, *hidden], smaller


def _heads(block: str) -> Units:
    """Declare attention heads: one whose values are constant mixes to that constant."""
    value = f"{block}/value"

    def silent(flat: Flat) -> tuple[np.ndarray, np.ndarray]:
        return _all_zero(flat[f"{value}/kernel"], 1), flat[f"{value}/bias"]

    ties = []
    for name in ("value", "query", "key"):
        ties += [(f"{block}/{name}/kernel", 1), (f"{block}/{name}/bias", 0)]
    reader = Read(f"{block}/out/kernel", 0, into=f"{block}/out/bias")
    return Units(f"{block}/heads", tuple(ties), (reader,), silent)


_BUNDLED: dict[type, Callable[[Any, Flat], tuple[list[Units], Smaller]]] = {
    lenets.LeNet300: _lenet300,
    lenets.LeNet5: _lenet5,
    vgg.VGG16: _vgg16,
    resnets.ResNet: _resnet,
    mobilenet.MobileNetV2: _mobilenet,
    transformer.CharTransformer: _transformer,
}
