"""Which entries of a traced function's values depend on its input, whatever that is.

Each value is computed together with a mask: True where the entry may depend on ``x``.
A product with a weight that is zero does not, nor does what only such products enter.
The rules are structural, so that a neuron which happens to be off on some examples
counts as depending on them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from pruning._follow import ELEMENTWISE
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
    known = {slot: (value, None) for slot, value in program.constants.items()}
    known |= dict(zip(program.leaves, ((leaf, None) for leaf in leaves), strict=True))
    every = ((value, jnp.ones(jnp.shape(value), bool)) for value in inputs)
    known |= dict(zip(program.inputs, every, strict=True))
    _evaluate(program, known)
    return {slot: known[slot] for slot in slots}


def _evaluate(program: Program, known: dict[int, tuple[Any, Any]]) -> None:
    """Add what every equation writes: values, masks (None: False throughout)."""
    for eqn in program.equations:
        pairs = [known[slot] for slot in eqn.inputs]
        values, masks = [value for value, _ in pairs], [mask for _, mask in pairs]
        outputs = bind(eqn, values)
        new = [None] * len(outputs)
        if any(mask is not None for mask in masks):
            new = _masks(eqn, values, masks, outputs)
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
        known = {slot: (value, None) for slot, value in bodies[0].constants.items()}
        pairs = zip(values, masks, strict=True)
        known |= dict(zip(bodies[0].inputs, pairs, strict=True))
        _evaluate(bodies[0], known)
        return [known[slot][1] for slot in bodies[0].outputs]
    if name in _MOVING and not (name == "gather" and masks[1] is not None):
        moved = [
            jnp.zeros(jnp.shape(v), v.dtype) if m is None else m.astype(v.dtype)
            for v, m in zip(values, masks, strict=True)
        ]
        if name == "gather":
            moved[1] = values[1]
        return [one != 0 for one in bind(eqn, moved)]
    if name.startswith("reduce_window") and len(values) == 1:
        return [_window(eqn, masks[0])]
    if name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
        return [masks[0].any(eqn.params["axes"])]
    return every


def _window(eqn: Equation, mask: Any) -> Any:
    """Say of each window whether anything in it depends on the input."""
    names = ("window_dimensions", "window_strides", "padding")
    settings = [eqn.params[name] for name in names]
    dilated = {n: eqn.params[n] for n in ("base_dilation", "window_dilation")}
    flags = mask.astype(jnp.float32)
    return lax.reduce_window(flags, jnp.float32(0), lax.max, *settings, **dilated) != 0
