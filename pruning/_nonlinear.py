"""Find the ReLU-like non-linearities of a traced function.

A non-linearity is known by the equations that jax makes of it: a ``custom_jvp`` whose
body is ``max(z, 0)`` (:func:`jax.nn.relu`), a jit of a known name
(:func:`jax.nn.silu`), or a few primitives in a row (:func:`jax.nn.gelu`, a plain
``jnp.maximum(z, 0)``, ``z * sigmoid(z)``). Where one hides in the body of a loop, a
branch or a custom rule, so that its input cannot be taken out, it is an error: never
silently missed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pruning.taps import Equation, Program, differentiable, inside

KINDS = ("relu", "leaky_relu", "gelu", "silu", "elu", "tanh")

_JITTED = {
    "leaky_relu": "leaky_relu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "elu": "elu",
}
_SHAPING = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose"}
_CONVERTING = {*_SHAPING, "convert_element_type", "copy", "copy_p"}
# Their own rule replaces what is inside; numerical guards there are no neurons.
_RULES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}


class Entry(NamedTuple):
    """A value that enters a non-linearity.

    Attributes:
        kind: one of :data:`KINDS`.
        slot: where the value is written.
        scope: the named scopes of the non-linearity.
    """

    kind: str
    slot: int
    scope: tuple[str, ...]


def keep(eqn: Any) -> bool:
    """Say whether a jaxpr equation is a jitted non-linearity, to be left whole."""
    return (
        _jitted(eqn) is not None
        and len(eqn.outvars) == 1
        and eqn.outvars[0].aval.shape == eqn.invars[0].aval.shape
    )


def _jitted(eqn: Any) -> str | None:
    """Return the kind of a jit of a known name, else None."""
    named = eqn.primitive.name in ("jit", "pjit")
    return _JITTED.get(eqn.params["name"]) if named else None


def entries(program: Program, kinds: Collection[str]) -> list[Entry]:
    """Return what enters each non-linearity, once each, in the order of evaluation.

    Args:
        program: traced with ``keep=``:func:`keep`.
        kinds: those wanted, of :data:`KINDS`.

    Raises:
        ValueError: if one that is wanted lies in a body that cannot be opened.
    """
    graph, driven = _Graph(program), _driven(program)
    found: dict[int, Entry] = {}
    for eqn in program.equations:
        if driven.isdisjoint(eqn.inputs):
            continue
        seen = graph.seen(eqn)
        if seen is None:
            _check_closed(eqn, kinds)
        elif seen[0] in kinds and seen[1] in driven:
            found.setdefault(seen[1], Entry(*seen, eqn.scope))
    return list(found.values())


def _driven(program: Program) -> set[int]:
    """Return the slots that depend on data: on the inputs, but not through a key.

    Drawing random numbers takes a ``max(., 0)`` that is no neuron.
    """
    driven = set(program.inputs)
    for eqn in program.equations:
        drawn = any(
            jnp.issubdtype(program.avals[s].dtype, jax.dtypes.prng_key)
            for s in eqn.inputs
        )
        if not drawn and not driven.isdisjoint(eqn.inputs):
            driven.update(eqn.outputs)
    return driven


def _check_closed(eqn: Equation, kinds: Collection[str]) -> None:
    """Raise if an equation that stays whole has a wanted non-linearity inside."""
    hidden = _hidden(eqn, kinds)
    if hidden is not None:
        raise ValueError(
            f"apply_fn: a {hidden} inside {eqn.primitive.name}, whose values cannot be "
            "taken out. Unroll the loop in Python, leave the kind out of "
            "nonlinearities, or return the pre-activations from the model and pass "
            "them to psp_penalty"
        )


def _hidden(eqn: Equation, kinds: Collection[str]) -> str | None:
    for program in inside(eqn, keep):
        graph, driven = _Graph(program), _driven(program)
        for inner in program.equations:
            if driven.isdisjoint(inner.inputs):
                continue
            seen = graph.seen(inner)
            guard = eqn.primitive.name in _RULES and inner.primitive.name == "max"
            if seen is None:
                seen = (_hidden(inner, kinds), 0)
            if seen[0] in kinds and not guard:
                return seen[0]
    return None


class _Graph:
    """Who writes and who reads each slot of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.writer = {s: eqn for eqn in program.equations for s in eqn.outputs}
        self.readers: dict[int, list[Equation]] = {}
        for eqn in program.equations:
            for slot in eqn.inputs:
                self.readers.setdefault(slot, []).append(eqn)

    def seen(self, eqn: Equation) -> tuple[str, int] | None:
        """Return (kind, slot of z) if an equation is or ends a non-linearity."""
        if not eqn.inputs or not differentiable(self.program.avals[eqn.outputs[0]]):
            return None
        name = eqn.primitive.name
        kind = _jitted(eqn)
        if kind is not None:
            return kind, eqn.inputs[0]
        if name == "custom_jvp_call" and _is_relu_body(eqn):
            return "relu", eqn.inputs[0]
        if name == "max":
            return self._maximum(eqn)
        if name == "tanh":
            cubic = self._cubic(eqn.inputs[0])
            return ("tanh", eqn.inputs[0]) if cubic is None else ("gelu", cubic)
        if name in ("erf", "erfc"):
            z = self._through_scaling(eqn.inputs[0])
            return ("gelu", z) if self._gated(z, eqn.outputs[0]) else None
        if name == "logistic" and self._gated(eqn.inputs[0], eqn.outputs[0]):
            return "silu", eqn.inputs[0]
        return None

    def is_zero(self, slot: int) -> bool:
        """Say whether a slot holds nothing but zeros, known before running."""
        eqn = self.writer.get(slot)
        if eqn is not None:
            return eqn.primitive.name in _CONVERTING and self.is_zero(eqn.inputs[0])
        value = self.program.constants.get(slot)
        if value is None or isinstance(value, Tracer):
            return False
        return not np.any(np.asarray(value))

    def _maximum(self, eqn: Equation) -> tuple[str, int] | None:
        """Recognise max(z, 0), unless it guards a square root as in batch-norm."""
        zero = [self.is_zero(slot) for slot in eqn.inputs]
        if zero.count(True) != 1 or self._rooted(eqn.outputs[0]):
            return None
        return "relu", eqn.inputs[zero.index(False)]

    def _rooted(self, slot: int) -> bool:
        """Say whether a value goes, with at most a constant added, to a root."""
        for eqn in self.readers.get(slot, ()):
            name = eqn.primitive.name
            if name in ("sqrt", "rsqrt", "pow"):
                return True
            plain = name in _CONVERTING or (
                name == "add" and any(s in self.program.constants for s in eqn.inputs)
            )
            if plain and self._rooted(eqn.outputs[0]):
                return True
        return False

    def _factor(self, slot: int) -> int | None:
        """Return s where a slot is a constant times s, else None."""
        eqn = self.writer.get(slot)
        if eqn is None or eqn.primitive.name not in ("mul", "div"):
            return None
        other = [s for s in eqn.inputs if s not in self.program.constants]
        return other[0] if len(other) == 1 else None

    def _through_scaling(self, slot: int) -> int:
        """Follow a slot back through signs and constant factors."""
        while True:
            eqn, factor = self.writer.get(slot), self._factor(slot)
            if factor is not None:
                slot = factor
            elif eqn is not None and eqn.primitive.name == "neg":
                (slot,) = eqn.inputs
            else:
                return slot

    def _cubic(self, slot: int) -> int | None:
        """Return z where a slot is c (z + c' z^3), as in the approximate gelu."""
        inner = self._factor(slot)
        total = None if inner is None else self.writer.get(inner)
        if total is None or total.primitive.name != "add":
            return None
        for z, rest in (total.inputs, total.inputs[::-1]):
            cube = self.writer.get(self._through_scaling(rest))
            if cube is not None and cube.params.get("y") == 3 and cube.inputs[0] == z:
                return z
        return None

    def _gated(self, z: int, gate: int) -> bool:
        """Say whether a gate computed from z multiplies z, up to constants."""
        for eqn in self.readers.get(gate, ()):
            name = eqn.primitive.name
            if name == "mul":
                rest = [s for s in eqn.inputs if s != gate]
                if rest and self._through_scaling(rest[0]) == z:
                    return True
            constant = any(s in self.program.constants for s in eqn.inputs)
            steps = name in ("mul", "add", "sub") and constant
            if (steps or name in _CONVERTING) and self._gated(z, eqn.outputs[0]):
                return True
        return False


def _is_relu_body(eqn: Equation) -> bool:
    """Say whether a custom rule's body is max(z, 0), capped from above or not."""
    bodies = inside(eqn)
    if len(bodies) != 1 or not bodies[0].equations:
        return False
    (body,) = bodies
    first, *rest = (e for e in body.equations if e.primitive.name not in _CONVERTING)
    if first.primitive.name != "max":
        return False
    graph = _Graph(body)
    capped = all(e.primitive.name == "min" for e in rest)
    return capped and any(map(graph.is_zero, first.inputs))


def check_kinds(nonlinearities: Collection[str]) -> tuple[str, ...]:
    """Return the kinds wanted; a ValueError names one that is not known."""
    kinds = (nonlinearities,) if isinstance(nonlinearities, str) else nonlinearities
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(
                f"nonlinearities: unknown {kind!r}, expected some of {', '.join(KINDS)}"
            )
    return tuple(kinds)


def is_array(value: Any) -> bool:
    """Say whether a value is one array of floats."""
    return hasattr(value, "shape") and jnp.issubdtype(value.dtype, jnp.floating)
