"""The kinds of layers, and what each hands on."""

from __future__ import annotations

import dataclasses
import math

from binary.network import moments
from synaptax.typing import Array


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
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1 in {self}")
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


def pooled(layer: Layer, signs: Array) -> Array:
    """Return what a layer hands on of its signs, or of their means."""
    side = layer.pool if isinstance(layer, Conv) else 1
    return signs if side == 1 else moments.pool(signs, side)
