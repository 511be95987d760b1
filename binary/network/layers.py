"""The kinds of layers, and what each hands on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from binary._checks import magnetisations, numbers
from binary.network import moments
from synaptax.checks import check_integer
from synaptax.typing import Array

_OWN = {"m", "bias"}  # the parameters of a stochastic layer


@dataclasses.dataclass(frozen=True)
class Dense:
    """A fully connected layer.

    Attributes:
        units: outputs.

    Example:
        >>> binary.network.Dense(10).units
        10
    """

    units: int

    def __post_init__(self) -> None:
        """Raise a ValueError unless there is a unit."""
        check_integer("units", self.units, 1)


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution with square windows.

    Attributes:
        filters: output channels.
        size: side of the window.
        stride: along both axes.
        padding: ``"VALID"`` or ``"SAME"``.
        fill: what ``"SAME"`` pads with: 0, or +1 or -1, as a layer of signs must to be
            packed into bits.
        pool: side of the windows of which the largest sign is handed on; 1 for none.

    Example:
        >>> binary.network.Conv(8, 3, padding="SAME", fill=1, pool=2).filters
        8
    """

    filters: int
    size: int
    stride: int = 1
    padding: str = "VALID"
    fill: int = 0
    pool: int = 1

    def __post_init__(self) -> None:
        """Raise a ValueError that names an attribute out of range."""
        for name in ("filters", "size", "stride", "pool"):
            expected = f"at least 1 in {self}"
            check_integer(name, getattr(self, name), 1, expected=expected)
        if self.padding not in ("VALID", "SAME") or self.fill not in (-1, 0, 1):
            raise ValueError(
                f"padding, fill: expected VALID or SAME and -1, 0 or 1 in {self}"
            )


Layer = Dense | Conv


def kernel_shape(layer: Layer, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a layer's weights for inputs of a shape."""
    if isinstance(layer, Dense):
        return (math.prod(inputs[1:]), layer.units)
    return (layer.size, layer.size, inputs[-1], layer.filters)


def check_layers(layers: Any) -> None:
    """Raise unless this is a sequence of layers, one at least."""
    listed = isinstance(layers, tuple | list)
    if not (listed and layers and all(isinstance(one, Layer) for one in layers)):
        raise ValueError(f"layers: expected Dense and Conv layers, got {layers!r}")


def check_own(name: str, layer: Layer, own: Any) -> None:
    """Raise unless these are the parameters of a layer."""
    if not isinstance(own, Mapping) or set(own) != _OWN:
        kind = sorted(own) if isinstance(own, Mapping) else type(own).__name__
        raise ValueError(f"params: {name}: expected m and bias, got {kind}")
    shape = magnetisations(own["m"], name=f"params: {name}/m").shape
    bias = numbers(own["bias"], f"params: {name}/bias").shape
    conv = isinstance(layer, Conv)
    sides, units = (2 * (layer.size,), layer.filters) if conv else ((), layer.units)
    fits = len(shape) == len(sides) + 2 and shape[:-2] == sides and shape[-1] == units
    if not fits or bias != (units,):
        raise ValueError(
            f"params: {layer} cannot have weights {shape} and bias {bias}: {name}"
        )


def pooled(layer: Layer, signs: Array) -> Array:
    """Return what a layer hands on of its signs, or of their means."""
    side = layer.pool if isinstance(layer, Conv) else 1
    return signs if side == 1 else moments.pool(signs, side)
