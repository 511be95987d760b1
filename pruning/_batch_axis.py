"""Does a network treat its examples one by one? A check on the traced program.

Per-example derivatives mean nothing where one example's output depends on another,
as with batch-norm in training mode. The batch axis is followed through the
equations as far as it can be told; an equation that provably mixes examples is an
error, an unfamiliar one ends the search on that path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pruning.taps import Equation, Program

_ALONG_AXIS = {
    "cumsum": "axis",
    "cumprod": "axis",
    "cummax": "axis",
    "cummin": "axis",
    "cumlogsumexp": "axis",
    "sort": "dimension",
    "rev": "dimensions",
}


class _Met(NamedTuple):
    """What a rule looks at: one equation and the batch axis of what it reads.

    Attributes:
        params: the equation's static parameters.
        shapes: of what it reads.
        out: the shape of its first output.
        axes: the batch axis of what it reads, ``None`` where there is none.
        batch: the number of examples.
    """

    params: dict[str, Any]
    shapes: Sequence[tuple[int, ...]]
    out: tuple[int, ...]
    axes: Sequence[int | None]
    batch: int


class _Mixed(Exception):
    """The equation combines values of different examples."""


def check_examples_apart(program: Program, batch: int) -> None:
    """Raise if the traced function mixes examples.

    Args:
        program: a program traced for ``batch`` > 1 examples.
        batch: that number.

    Raises:
        ValueError: naming the primitive and the shape of its input.
    """
    where = {slot: 0 for slot in program.inputs if program.avals[slot].shape}
    for eqn in program.equations:
        if not any(slot in where for slot in eqn.inputs):
            continue
        shapes = [program.avals[slot].shape for slot in eqn.inputs]
        outs = [program.avals[slot].shape for slot in eqn.outputs]
        axes = [where.get(slot) for slot in eqn.inputs]
        try:
            output_axes = _follow(eqn, shapes, outs, axes, batch)
        except _Mixed:
            raise ValueError(
                f"apply_fn: {eqn.primitive.name} on an input of shape "
                f"{tuple(shapes[0])} (batch {batch}) mixes the examples of a batch, so "
                "per-example sensitivities are not defined. Use batch-norm in "
                "evaluation mode, or reduction='abs_mean'."
            ) from None
        where.update(
            (slot, axis)
            for slot, axis in zip(eqn.outputs, output_axes, strict=True)
            if axis is not None
        )


def _follow(
    eqn: Equation,
    shapes: Sequence[tuple[int, ...]],
    outs: Sequence[tuple[int, ...]],
    axes: Sequence[int | None],
    batch: int,
) -> list[int | None]:
    """Return the batch axis of each output, ``None`` where it cannot be told."""
    name, params = eqn.primitive.name, eqn.params
    axis = next(a for a in axes if a is not None)
    rule = _RULES.get(name)
    if rule is not None:
        return [rule(_Met(params, shapes, outs[0], axes, batch))]
    if name.startswith("reduce_window") or name == "select_and_gather_add":
        if params["window_dimensions"][axis] > 1:
            raise _Mixed
        return [axis] * len(outs)
    if name.startswith(("reduce_", "arg")) and "axes" in params:
        if axis in params["axes"]:
            raise _Mixed
        return [axis - sum(a < axis for a in params["axes"])] * len(outs)
    if name in _ALONG_AXIS:
        along = params[_ALONG_AXIS[name]]
        if axis in (along if isinstance(along, tuple) else (along,)):
            raise _Mixed
        return [axis] * len(outs)
    # An unfamiliar equation: an axis of the batch's size in
    # the same place is taken for it.
    rank = len(shapes[axes.index(axis)])
    return [axis if len(out) == rank and out[axis] == batch else None for out in outs]


def _reshape(met: _Met) -> int | None:
    # The entries before the batch axis are as many before
    # and after, in row-major order.
    before = math.prod(met.shapes[0][: met.axes[0]])
    for axis, size in enumerate(met.out):
        if size == met.batch and math.prod(met.out[:axis]) == before:
            return axis
    return None


def _broadcast(met: _Met) -> int | None:
    axis = met.axes[0]
    return None if axis is None else met.params["broadcast_dimensions"][axis]


def _transpose(met: _Met) -> int | None:
    return list(met.params["permutation"]).index(met.axes[0])


def _squeeze(met: _Met) -> int | None:
    axis = met.axes[0]
    if axis is None:
        return None
    return axis - sum(d < axis for d in met.params["dimensions"])


def _dot(met: _Met) -> int | None:
    contracting, batched = met.params["dimension_numbers"]
    axes, shapes = met.axes, met.shapes
    if any(a in dims for a, dims in zip(axes, contracting, strict=True)):
        raise _Mixed
    side = 0 if axes[0] is not None else 1
    if axes[side] in batched[side]:
        return tuple(batched[side]).index(axes[side])
    if axes[1 - side] is not None:  # every example against every other
        raise _Mixed
    common = (*contracting[side], *batched[side])
    free = [d for d in range(len(shapes[side])) if d not in common]
    offset = len(batched[0])
    if side == 1:
        offset += len(shapes[0]) - len(contracting[0]) - len(batched[0])
    return offset + [d == axes[side] for d in free].index(True)


def _convolution(met: _Met) -> int | None:
    numbers = met.params["dimension_numbers"]
    if met.axes[1] is not None:
        return None
    if met.axes[0] != numbers.lhs_spec[0]:
        raise _Mixed
    return numbers.out_spec[0]


def _concatenate(met: _Met) -> int | None:
    axes = {axis for axis in met.axes if axis is not None}
    axis = axes.pop()
    return None if axes or axis == met.params["dimension"] else axis


_RULES: dict[str, Callable[[_Met], int | None]] = {
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "concatenate": _concatenate,
}
