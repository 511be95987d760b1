"""Find the non-linearities of a traced function that act on each entry alone.

A non-linearity is known by the equations that jax makes of it: a ``custom_jvp`` whose
body is ``max(z, 0)`` (:func:`jax.nn.relu`), a jit of a known name
(:func:`jax.nn.silu`), or a few primitives in a row (:func:`jax.nn.gelu`, a plain
``jnp.maximum(z, 0)``, ``where(z > 0, z, a * z)``). What is handed out is the
pre-activation z itself: of ``z * relu6(z + 3) / 6`` or ``z * tanh(softplus(z))``, not
what enters the inner function. Which of these are neurons, :mod:`pruning._neurons`
tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pruning.taps import Equation, Program, differentiable, inside

KINDS = (
    "relu",
    "leaky_relu",
    "gelu",
    "silu",
    "elu",
    "tanh",
    "sigmoid",
    "softplus",
    "mish",
    "hard_swish",
    "hard_sigmoid",
    "hard_tanh",
    "soft_sign",
    "erf",
    "piecewise",
)

_JITTED = {
    "leaky_relu": "leaky_relu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "elu": "elu",
    "celu": "elu",
    "selu": "elu",
    "sigmoid": "sigmoid",
    "log_sigmoid": "softplus",
    "softplus": "softplus",
    "squareplus": "softplus",
    "sparse_plus": "softplus",
    "mish": "mish",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
    "hard_sigmoid": "hard_sigmoid",
    "hard_tanh": "hard_tanh",
    "soft_sign": "soft_sign",
}
_SHAPING = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose"}
CONVERTING = {*_SHAPING, "convert_element_type", "copy", "copy_p", "pvary", "pcast"}
_COMPARING = {"gt", "ge", "lt", "le"}
_ELEMENTWISE = {
    *CONVERTING,
    *_COMPARING,
    *("add", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "clamp"),
    *("exp", "exp2", "expm1", "log", "log1p", "pow", "integer_pow", "square", "sqrt"),
    *("tanh", "logistic", "erf", "erfc", "select_n", "ne", "eq", "and", "or", "not"),
}
# Their own rule replaces what is inside; numerical guards there are no neurons.
RULES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
_GATED = {"sigmoid": "silu", "erf": "gelu", "relu": "hard_swish"}


class Match(NamedTuple):
    """One non-linearity.

    Attributes:
        kind: one of :data:`KINDS`.
        slot: where its pre-activation is written.
        equation: the index of the equation that is it, or ends it.
        within: the indices of equations that are only a part of it.
    """

    kind: str
    slot: int
    equation: int
    within: frozenset[int] = frozenset()


def keep(eqn: Any) -> bool:
    """Say whether a jaxpr equation is a jitted non-linearity, to be left whole."""
    return (
        _jitted(eqn) is not None
        and len(eqn.outvars) == 1
        and eqn.outvars[0].aval.shape == eqn.invars[0].aval.shape
    )


def _jitted(eqn: Any) -> str | None:
    """Return the kind of a jit of a known name, else None."""
    is_jit = eqn.primitive.name in ("jit", "pjit")
    return _JITTED.get(eqn.params["name"]) if is_jit else None


def matches(program: Program) -> list[Match]:
    """Return the non-linearities of a program, in the order of evaluation.

    Args:
        program: traced with ``keep=``:func:`keep`. Of what depends on ``x`` alone.
    """
    graph = _Graph(program)
    results = []
    for index, eqn in enumerate(program.equations):
        active = not program.active.isdisjoint(eqn.inputs)
        one = graph.match(index, eqn) if active else None
        if one is not None:
            results.append(graph.gated(one))
    parts = frozenset().union(*(one.within for one in results))
    return [one for one in results if one.equation not in parts]


def hidden(eqn: Equation) -> list[str]:
    """Return the kinds inside an equation that stays whole: a loop, a rule."""
    kinds = []
    for program in inside(eqn, keep):
        whole = {one.equation: one for one in matches(program)}
        parts = frozenset().union(*(one.within for one in whole.values()))
        for index, inner in enumerate(program.equations):
            guard = eqn.primitive.name in RULES and inner.primitive.name in (
                "max",
                "select_n",
            )
            if index in whole and not guard:
                kinds.append(whole[index].kind)
            elif index not in whole and index not in parts:
                kinds += hidden(inner)
    return kinds


class _Graph:
    """Who writes and who reads each slot of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.writer = {
            s: (index, eqn)
            for index, eqn in enumerate(program.equations)
            for s in eqn.outputs
        }
        self.readers: dict[int, list[tuple[int, Equation]]] = {}
        for index, eqn in enumerate(program.equations):
            for slot in eqn.inputs:
                self.readers.setdefault(slot, []).append((index, eqn))

    def match(self, index: int, eqn: Equation) -> Match | None:
        """Return the non-linearity that an equation is or ends, before any gate."""
        if not eqn.inputs or not differentiable(self.program.avals[eqn.outputs[0]]):
            return None
        name = eqn.primitive.name
        kind = _jitted(eqn)
        if kind is not None:
            return Match(kind, eqn.inputs[0], index)
        if name == "custom_jvp_call":
            return self._custom(index, eqn)
        if name in ("max", "min"):
            return self._extremum(index, eqn)
        if name == "select_n":
            return self._selection(index, eqn)
        if name in ("tanh", "logistic", "erf", "erfc"):
            kind = {"logistic": "sigmoid", "erfc": "erf"}.get(name, name)
            return Match(kind, eqn.inputs[0], index)
        if name == "mul":
            return self._switched(index, eqn)
        if name in ("log1p", "log"):
            return self._softplus(index, eqn)
        return None

    def gated(self, one: Match) -> Match:
        """Return the match itself, or the larger one whose gate it is.

        A gate is a function of s alone that multiplies s: z sigmoid(z), z Phi(z),
        z tanh(softplus(z)), z relu6(z + 3).
        """
        start = self.program.equations[one.equation].outputs[0]
        for s in (s for f in self._factors(start) for s in self._unscaled(f)):
            steps = self.function_of(one.slot, s)
            if steps is None:
                continue
            kind = _GATED.get(one.kind, one.kind)
            if one.kind == "tanh":
                kind = "mish" if self._holds_softplus(steps) else "gelu"
            if one.kind == "relu" and one.slot == s:
                kind = "relu"  # z max(z, 0), the squared relu
            return one._replace(kind=kind, slot=s, within=one.within | steps)
        return one

    def _factors(self, slot: int) -> Iterator[int]:
        """Yield what a value multiplies, up to constants added and multiplied."""
        for _, eqn in self.readers.get(slot, ()):
            name = eqn.primitive.name
            rest = [s for s in eqn.inputs if s != slot]
            if name == "mul" and rest and rest[0] in self.program.active:
                yield rest[0]
            fixed = all(s not in self.program.active for s in rest)
            steps = name in ("mul", "div", "add", "sub", "min", "max") and fixed
            if steps or name in CONVERTING:
                yield from self._factors(eqn.outputs[0])

    def _holds_softplus(self, walked: Iterable[int]) -> bool:
        names = set()
        for index in walked:
            eqn = self.program.equations[index]
            names.add(_jitted(eqn) or eqn.primitive.name)
        return bool(names & {"softplus", "log1p", "custom_jvp_call"})

    def function_of(self, slot: int, z: int) -> frozenset[int] | None:
        """Return the equations that make a slot from z and constants, or None.

        None unless each step acts entry by entry and z is all that it reads of x.
        """
        steps: set[int] = set()
        pending, reads_z = [slot], False
        while pending:
            current = pending.pop()
            if current == z:
                reads_z = True
                continue
            if current not in self.program.active:
                continue
            if current not in self.writer:
                return None
            index, eqn = self.writer[current]
            if index in steps:
                continue
            rule = eqn.primitive.name == "custom_jvp_call" or _jitted(eqn)
            if not rule and eqn.primitive.name not in _ELEMENTWISE:
                return None
            steps.add(index)
            pending += eqn.inputs
        return frozenset(steps) if reads_z else None

    def number(self, slot: int) -> float | None:
        """Return the one value that a slot is filled with, if known before running."""
        if slot in self.writer:
            eqn = self.writer[slot][1]
            plain = eqn.primitive.name in CONVERTING
            return self.number(eqn.inputs[0]) if plain else None
        value = self.program.constants.get(slot)
        if value is None or isinstance(value, Tracer):
            return None
        flat = np.asarray(value).ravel()
        if not flat.size or not jnp.issubdtype(flat.dtype, jnp.number):
            return None
        return float(flat[0].real) if np.all(flat == flat[0]) else None

    def _custom(self, index: int, eqn: Equation) -> Match | None:
        """Recognise relu, and softplus as log(e^z + e^0), by their bodies."""
        if _is_relu_body(eqn):
            return Match("relu", eqn.inputs[0], index)
        names = {e.primitive.name for body in inside(eqn) for e in body.equations}
        active = [s for s in eqn.inputs if s in self.program.active]
        fixed = [s for s in eqn.inputs if s not in self.program.active]
        if {"max", "exp", "log1p"} <= names and len(active) == 1:
            zero = [self.number(s) == 0 for s in fixed]
            return Match("softplus", active[0], index) if any(zero) else None
        return None

    def _extremum(self, index: int, eqn: Equation) -> Match | None:
        """Recognise max(z, 0), min(z, 0), max(z, a z); no guard of a root."""
        if self._rooted(eqn.outputs[0]):
            return None
        first, second = eqn.inputs
        for z, other in ((first, second), (second, first)):
            if z not in self.program.active:
                continue
            if self.number(other) == 0:
                return Match("relu", z, index)
            steps = self.function_of(other, z) if other != z else None
            if steps is not None:
                return Match("leaky_relu", z, index, steps)
        active = [s for s in eqn.inputs if s in self.program.active]
        bound = [self.number(s) for s in eqn.inputs if s not in self.program.active]
        inner = self.writer.get(active[0]) if len(active) == 1 and bound else None
        if inner is not None and inner[1].primitive.name in ("max", "min"):
            return self._clip(index, bound[0], *inner)
        return None

    def _clip(
        self, index: int, bound: float | None, inside: int, eqn: Equation
    ) -> Match | None:
        """Recognise a clip between two numbers, one below 0 and one above."""
        z = [s for s in eqn.inputs if s in self.program.active]
        other = [self.number(s) for s in eqn.inputs if s not in self.program.active]
        if len(z) != 1 or not other or bound is None or other[0] is None:
            return None
        if bound * other[0] >= 0:
            return None
        return Match("hard_tanh", z[0], index, frozenset([inside]))

    def _selection(self, index: int, eqn: Equation) -> Match | None:
        """Recognise where(z > c, f(z), g(z)): a function in two pieces."""
        choice = self.writer.get(eqn.inputs[0])
        if choice is None or choice[1].primitive.name not in _COMPARING:
            return None
        sides = choice[1].inputs
        active = [s for s in sides if s in self.program.active]
        threshold = [self.number(s) for s in sides if s not in self.program.active]
        if len(active) != 1 or not threshold or threshold[0] is None:
            return None
        z, steps, numbers, same = active[0], frozenset([choice[0]]), [], 0
        for branch in eqn.inputs[1:]:
            if branch not in self.program.active:
                numbers.append(self.number(branch))
            elif branch == z:
                same += 1
            else:
                part = self.function_of(branch, z)
                if part is None:
                    return None
                steps |= part
        names = {self.program.equations[i].primitive.name for i in steps}
        flag = len(numbers) == len(eqn.inputs) - 1
        jump = same and numbers and numbers != threshold  # where(n > 0, n, 1)
        if flag or jump or names & {"sqrt", "rsqrt", "log"}:
            return None  # no neuron, but a guard
        kind = "relu" if same and numbers == [0] else "piecewise"
        if same and not numbers:
            kind = "elu" if names & {"exp", "expm1"} else "leaky_relu"
            kind = "softplus" if "log1p" in names else kind
        return Match(kind, z, index, steps)

    def _switched(self, index: int, eqn: Equation) -> Match | None:
        """Recognise z * (z > 0)."""
        for switch, other in (eqn.inputs, eqn.inputs[::-1]):
            change = self.writer.get(switch)
            if change is None or change[1].primitive.name != "convert_element_type":
                continue
            choice = self.writer.get(change[1].inputs[0])
            if choice is None or choice[1].primitive.name not in _COMPARING:
                continue
            z = [s for s in choice[1].inputs if s in self.program.active]
            if len(z) == 1 and other == z[0]:
                return Match("relu", z[0], index, frozenset([choice[0]]))
        return None

    def _softplus(self, index: int, eqn: Equation) -> Match | None:
        """Recognise log(1 + e^z)."""
        total, step = eqn.inputs[0], frozenset()
        if eqn.primitive.name == "log":
            inner = self.writer.get(total)
            if inner is None or inner[1].primitive.name != "add":
                return None
            ones = [self.number(s) == 1 for s in inner[1].inputs]
            if ones.count(True) != 1:
                return None
            total, step = inner[1].inputs[ones.index(False)], frozenset([inner[0]])
        power = self.writer.get(total)
        if power is None or power[1].primitive.name != "exp":
            return None
        z = power[1].inputs[0]
        return Match("softplus", z, index, step | {power[0]})

    def _rooted(self, slot: int) -> bool:
        """Say whether a value goes, with at most a constant added, to a root."""
        for _, eqn in self.readers.get(slot, ()):
            name = eqn.primitive.name
            if name in ("sqrt", "rsqrt", "pow"):
                return True
            plain = name in CONVERTING or (
                name == "add" and any(s in self.program.constants for s in eqn.inputs)
            )
            if plain and self._rooted(eqn.outputs[0]):
                return True
        return False

    def _unscaled(self, slot: int) -> Iterator[int]:
        """Yield a slot, then what it is a constant times, and so on."""
        yield slot
        while slot in self.writer:
            eqn = self.writer[slot][1]
            name = eqn.primitive.name
            other = [s for s in eqn.inputs if s not in self.program.constants]
            if name != "neg" and (name not in ("mul", "div") or len(other) != 1):
                return
            slot = other[0]
            yield slot


def _is_relu_body(eqn: Equation) -> bool:
    """Say whether a custom rule's body is max(z, 0), capped from above or not."""
    bodies = inside(eqn)
    if len(bodies) != 1 or not bodies[0].equations:
        return False
    (body,) = bodies
    first, *rest = (e for e in body.equations if e.primitive.name not in CONVERTING)
    if first.primitive.name != "max":
        return False
    # A relu6 is min(max(z, 0), 6): what follows the maximum may only cap it.
    graph = _Graph(body)
    capped = all(e.primitive.name == "min" for e in rest)
    return capped and any(graph.number(slot) == 0 for slot in first.inputs)
