"""Which entries of a traced function's values depend on its input, whatever that is.

Each value is computed together with a mask: True where the entry may depend on ``x``.
A product with a weight that is zero does not, nor does what only such products enter.
The rules are structural, so that a neuron which happens to be off on some examples
counts as depending on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from pruning._folding import STEADY, multiples
from pruning._follow import ELEMENTWISE, Reading
from pruning._nonlinear import RULES
from pruning.taps import Equation, Program, bind, inside

_MOVING = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "rev"}
_MOVING |= {"slice", "split", "concatenate", "stack", "tile", "pad", "gather"}


def measure(
    program: Program,
    leaves: Sequence[Any],
    inputs: Sequence[Any],
    slots: Collection[int],
) -> dict[int, tuple[Any, Any]]:
    """Return (value, whether it depends on the input) of slots.

    Args:
        program: the traced function.
        leaves: the parameter leaves.
        inputs: the leaves of ``x``.
        slots: those wanted.
    """
    pairs = {slot: (value, None) for slot, value in program.constants.items()}
    pairs |= dict(zip(program.leaves, ((leaf, None) for leaf in leaves), strict=True))
    every = ((value, jnp.ones(jnp.shape(value), bool)) for value in inputs)
    pairs |= dict(zip(program.inputs, every, strict=True))
    _evaluate(program, pairs)
    return {slot: pairs[slot] for slot in slots}


def _evaluate(program: Program, known: dict[int, tuple[Any, Any]]) -> None:
    """Add what every equation writes: values, masks (None: False throughout)."""
    averages = _averages(program)
    for eqn in program.equations:
        pairs = [known[slot] for slot in eqn.inputs]
        values, masks = [value for value, _ in pairs], [mask for _, mask in pairs]
        outputs = bind(eqn, values)
        new = [None] * len(outputs)
        if any(mask is not None for mask in masks):
            new = _masks(eqn, values, masks, outputs)
        if eqn.primitive.name == "dot_general":
            new = _mixed(eqn, averages, values, masks, new)
        known.update(zip(eqn.outputs, zip(outputs, new, strict=True), strict=True))


def _masks(eqn: Equation, values: list, masks: list, outputs: list) -> list:
    """Return the mask of each output."""
    name = eqn.primitive.name
    every = [jnp.ones(jnp.shape(value), bool) for value in outputs]
    shape = jnp.shape(outputs[0])
    if name in ELEMENTWISE or name in _MOVING:
        values = [jnp.asarray(value) for value in values]  # literals may be numbers
    if name in ("mul", "dot_general", "conv_general_dilated"):
        # d(ab) = da b + a db: zero where the other factor is zero whatever the input.
        first, second = (
            value != 0 if mask is None else mask | (value != 0)
            for value, mask in zip(values, masks, strict=True)
        )
        sides = ((masks[0], second), (first, masks[1]))
        total = [
            bind(eqn, [a.astype(v.dtype) for a, v in zip(pair, values, strict=True)])[0]
            for pair in sides
            if pair[0] is not None and pair[1] is not None
        ]
        # The masks, as numbers, go through the equation itself: an output is
        # above 0 if any of its products may vary.
        return [sum(total) != 0]
    if name in ELEMENTWISE:
        one = jnp.zeros(shape, bool)
        for mask in masks:
            one = one if mask is None else one | jnp.broadcast_to(mask, shape)
        return [one]
    if name in RULES:
        bodies = inside(eqn)
        if len(bodies) != 1 or len(bodies[0].inputs) != len(values):
            return every
        inner = {slot: (value, None) for slot, value in bodies[0].constants.items()}
        pairs = zip(values, masks, strict=True)
        inner |= dict(zip(bodies[0].inputs, pairs, strict=True))
        _evaluate(bodies[0], inner)
        return [inner[slot][1] for slot in bodies[0].outputs]
    if name in _MOVING and not (name == "gather" and masks[1] is not None):
        operands = [
            jnp.zeros(jnp.shape(v), v.dtype) if m is None else m.astype(v.dtype)
            for v, m in zip(values, masks, strict=True)
        ]
        if name == "gather":
            operands[1] = values[1]
        return [one != 0 for one in bind(eqn, operands)]
    if name.startswith("reduce_window") and len(values) == 1:
        return [_window(eqn, masks[0])]
    if name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
        return [masks[0].any(eqn.params["axes"])]
    return every


def _averages(program: Program) -> dict[int, int]:
    """Return the slots that add up to 1 along an axis, as a softmax does: slot -> axis.

    What is divided by its own sum.
    """
    writer = {slot: eqn for eqn in program.equations for slot in eqn.outputs}
    axes: dict[int, int] = {}
    for eqn in program.equations:
        name = eqn.primitive.name
        if name == "convert_element_type" and eqn.inputs[0] in axes:
            axes[eqn.outputs[0]] = axes[eqn.inputs[0]]
        if name != "div":
            continue
        top, below = eqn.inputs
        rank, steps = len(program.avals[top].shape), []
        while below in writer and writer[below].primitive.name == "broadcast_in_dim":
            steps.insert(0, tuple(writer[below].params["broadcast_dimensions"]))
            below = writer[below].inputs[0]
        total = writer.get(below)
        if total is None or total.primitive.name != "reduce_sum":
            continue
        (axis, *more), every = total.params["axes"], tuple(range(rank))
        first = tuple(d for d in every if d != axis)
        placed = steps[:1] == [first] and {*steps[1:]} <= {every}
        if total.inputs[0] == top and not more and placed:
            axes[eqn.outputs[0]] = axis
    return axes


def _mixed(
    eqn: Equation, averages: dict[int, int], values: list, masks: list, new: list
) -> list:
    """Return the mask of a product with averages: of what is constant it is that."""
    contracted = eqn.params["dimension_numbers"][0]
    for side in (0, 1):
        if contracted[side] != (averages.get(eqn.inputs[side]),):
            continue
        axis, value, mask = contracted[1 - side][0], values[1 - side], masks[1 - side]
        varies = value != jnp.take(value, jnp.array([0]), axis)
        varies = varies if mask is None else varies | mask
        varies = jnp.broadcast_to(varies.any(axis, keepdims=True), value.shape)
        pair = [jnp.ones_like(values[side]), varies.astype(value.dtype)]
        return [bind(eqn, pair if side == 0 else pair[::-1])[0] != 0]
    return new


def silent_units(
    count: int,
    reads: Sequence[tuple[int, Sequence[tuple[Reading, np.ndarray]]]],
    known: Mapping[int, tuple[Any, Any]],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return which units do not depend on the input, and their constants.

    Args:
        count: number of units.
        reads: of each kernel that reads them how many rows it has for a unit, and where
            it does: the entries of the activation's axis, unit by unit.
        known: of :func:`measure`.

    Returns:
        Booleans, and for each kernel constants of shape (units, rows or 1, features or
        1, ...). Of units whose constants differ from place to place (padding) only
        those count that are multiples of each other, with the constants of one place.
    """
    none, patterns = np.ones(count, bool), []
    for rows, readings in reads:
        parts, widths = [], (1,)
        for reading, order in readings:
            value, mask = known[reading.slot]
            if mask is not None:
                none &= ~_pattern(reading, order, count, np.asarray(mask)).any((1, 2))
            part = _pattern(reading, order, count, np.asarray(value, np.float64))
            fits = len(readings) == 1 and len(order) == rows * count
            shape = value.shape
            widths = (rows, *(1 if d is None else shape[d] for d in reading.features))
            widths = widths if fits else (1,)
            parts.append(part.reshape(count, int(np.prod(widths)), -1))
        patterns.append((np.concatenate(parts, 2), widths))
    constants = []
    for pattern, widths in patterns:
        pattern = np.where(none[:, None, None], pattern, 0)
        spread = np.ptp(pattern, 2).max(1)
        # The same at every place, but for rounding: one constant is all.
        if (spread <= STEADY * np.abs(pattern).max((1, 2))).all():
            constants.append(pattern[:, :, 0].reshape(count, *widths))
            continue
        pattern = pattern.reshape(count, -1)
        one = pattern[:, np.argmax(np.abs(pattern).sum(0))]
        none &= multiples(pattern, int(np.argmax(np.abs(one))))[1]
        constants.append(one[:, None])
    return none, constants


def _pattern(
    reading: Reading, order: np.ndarray, count: int, value: np.ndarray
) -> np.ndarray:
    """Return what is read of each unit: (units, rows and features, places)."""
    first = np.moveaxis(value, reading.dimension, 0)
    others = [d for d in range(value.ndim) if d != reading.dimension]
    features = [1 + others.index(d) for d in reading.features if d is not None]
    first = np.moveaxis(first[order], features, range(1, 1 + len(features)))
    size = int(np.prod(first.shape[1 : 1 + len(features)]))
    return first.reshape(count, len(order) // count * size, -1)


def _window(eqn: Equation, mask: Any) -> Any:
    """Say of each window whether anything in it depends on the input."""
    names = ("window_dimensions", "window_strides", "padding")
    settings = [eqn.params[name] for name in names]
    dilated = {n: eqn.params[n] for n in ("base_dilation", "window_dilation")}
    flags = mask.astype(jnp.float32)
    return lax.reduce_window(flags, jnp.float32(0), lax.max, *settings, **dilated) != 0
