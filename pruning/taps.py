"""Look inside any ``apply_fn``: where its parameters meet its activations.

``apply_fn(params, x)`` is traced to a jaxpr once, for a batch of one example, and
flattened into a :class:`Program`. Its equations fall into three kinds: those that
depend on neither input, those that depend on the parameters alone (reshapes of a
kernel, a weight normalisation), and those that depend on ``x``. An equation of the
third kind that reads a value of the second kind is a *meeting*: a parameter meets
an activation.

By the chain rule the derivative of an output with respect to a parameter is the
sum over its meetings of (cotangent at the meeting's output) times (derivative of
that one equation, activations held fixed). So it is enough to *record* what enters
each meeting and to add a zero *probe* to what leaves it: one ``jax.vjp`` with
respect to the probes gives every cotangent at once. Nothing here needs to know
what the equation is; a ``lax.scan`` or a ``custom_jvp`` with its own derivative
rule is a meeting like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from pruning._varying import vary, varying_axes

# Calls that only wrap a jaxpr: flattened, so that the equations inside are seen.
# custom_jvp and custom_vjp stay whole: flattening them would lose their rules.
_WRAPPERS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
}


class Equation(NamedTuple):
    """One primitive operation on numbered slots.

    Attributes:
        primitive: the jax primitive.
        params: its static parameters.
        context: the jax context (mesh, compute type) it was traced under.
        inputs: slots read, in order.
        outputs: slots written, in order.
        scope: the named scopes it was traced in (of Flax Linen: the modules).
    """

    primitive: Any
    params: dict[str, Any]
    context: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: tuple[str, ...] = ()


class Program(NamedTuple):
    """A function of (parameter leaves, inputs) as a flat list of equations.

    Attributes:
        equations: in an order in which they can be evaluated.
        constants: slot -> value, for literals and captured arrays.
        leaves: the slot of each parameter leaf, in flattening order.
        inputs: the slot of each leaf of ``x``.
        outputs: the slot of each leaf of what the function returns.
        avals: slot -> abstract value.
        active: slots that depend on ``x``.
        owners: slot -> parameter leaves it depends on, for slots that depend on
            parameters and not on ``x``.
    """

    equations: tuple[Equation, ...]
    constants: dict[int, Any]
    leaves: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    avals: dict[int, Any]
    active: frozenset[int]
    owners: dict[int, frozenset[int]]

    @property
    def output(self) -> int:
        """The slot of ``y``, where the function returns one array."""
        (slot,) = self.outputs
        return slot


Keep = Callable[[Any], bool]


def _scopes(eqn: Any) -> tuple[str, ...]:
    """Return the named scopes of a jaxpr equation, transformations left out."""
    stack = getattr(eqn.source_info.name_stack, "stack", ())
    return tuple(part.name for part in stack if type(part).__name__ == "Scope")


class _Flattener:
    """Collects equations while wrappers are unfolded; lives for one trace only."""

    def __init__(self, keep: Keep | None = None) -> None:
        self.keep = keep or (lambda eqn: False)
        self.equations: list[Equation] = []
        self.constants: dict[int, Any] = {}
        self.avals: dict[int, Any] = {}

    def slot(self, aval: Any) -> int:
        self.avals[len(self.avals)] = aval
        return len(self.avals) - 1

    def constant(self, value: Any, aval: Any) -> int:
        slot = self.slot(aval)
        self.constants[slot] = value
        return slot

    def inline(
        self,
        jaxpr: Any,
        consts: Iterable[Any],
        args: Sequence[int],
        around: tuple[str, ...] = (),
    ) -> list[int]:
        env: dict[Any, int] = dict(zip(jaxpr.invars, args, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            env[var] = self.constant(value, var.aval)

        def read(atom: Any) -> int:
            if isinstance(atom, jex.Literal):
                return self.constant(atom.val, atom.aval)
            return env[atom]

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            scope = (*around, *_scopes(eqn))
            key = _WRAPPERS.get(eqn.primitive.name)
            if key is not None and key in eqn.params and not self.keep(eqn):
                inner = eqn.params[key]
                closed = isinstance(inner, jex.ClosedJaxpr)
                outputs = self.inline(
                    inner.jaxpr if closed else inner,
                    inner.consts if closed else (),
                    inputs,
                    scope,
                )
            else:
                outputs = [self.slot(var.aval) for var in eqn.outvars]
                self.equations.append(
                    Equation(
                        eqn.primitive,
                        eqn.params,
                        eqn.ctx,
                        tuple(inputs),
                        tuple(outputs),
                        scope,
                    )
                )
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def trace(apply_fn: Callable[..., Any], params: Any, x: Any, *, batch: int) -> Program:
    """Trace ``apply_fn`` for ``batch`` examples and flatten it.

    Args:
        apply_fn: ``(params, x) -> y``.
        params: the parameter tree; only shapes and dtypes are used.
        x: the input; only shapes and dtypes are used, the leading axis of each
            leaf is replaced by ``batch``.
        batch: the number of examples to trace for.

    Returns:
        The flat :class:`Program`.

    Raises:
        ValueError: if ``apply_fn`` does not return one array of shape
            ``(batch, C)``.
    """
    abstract = jax.tree.map(lambda leaf: _batch_of(leaf, batch), x)
    try:
        closed, shape = jax.make_jaxpr(apply_fn, return_shape=True)(
            jax.tree.map(jax.typeof, params), abstract
        )
    except TypeError as error:
        raise ValueError(
            f"apply_fn: cannot be traced for a batch of {batch}; it is tried with "
            "other batch sizes than that of x (1, and 23 to see whether examples mix), "
            f"so take the size from x: {error}"
        ) from error
    if not hasattr(shape, "shape") or len(shape.shape) != 2 or shape.shape[0] != batch:
        raise ValueError(
            "apply_fn: expected one array of shape (B, C) as output, for B = "
            f"{batch} got {jax.tree.map(lambda leaf: tuple(leaf.shape), shape)}"
        )
    return _flatten(closed, len(jax.tree.leaves(params)))


def _batch_of(leaf: Any, batch: int) -> Any:
    """Return the type of ``batch`` examples like those of ``leaf``."""
    shape = (batch, *jnp.shape(leaf)[1:])
    if varying_axes(leaf):
        return jax.typeof(leaf).update(shape=shape)
    return jax.ShapeDtypeStruct(shape, jnp.result_type(leaf))


def trace_whole(
    function: Callable[..., Any], params: Any, *args: Any, keep: Keep | None = None
) -> tuple[Program, Any]:
    """Trace any function of parameters and further arguments, and flatten it.

    Args:
        function: ``(params, *args)`` -> any pytree of arrays. What it captures may be
            traced by an outer transformation.
        params: the parameter tree.
        *args: what else it reads; counts as depending on ``x``.
        keep: says of an equation that wraps a jaxpr (a jit, a remat) whether to leave
            it whole; by default none is.

    Returns:
        The flat :class:`Program`, and the structure of the function's result.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params, *args)
    program = _flatten(closed, len(jax.tree.leaves(params)), keep)
    return program, jax.tree.structure(shape)


def inside(eqn: Equation, keep: Keep | None = None) -> list[Program]:
    """Return the programs that an equation holds: the body of a loop, of a rule."""
    programs = []
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, jex.ClosedJaxpr):
                programs.append(_flatten(one, 0, keep))
            elif isinstance(one, jex.Jaxpr):
                unknown = [None] * len(one.constvars)
                programs.append(_flatten(jex.ClosedJaxpr(one, unknown), 0, keep))
    return programs


def _flatten(closed: Any, count: int, keep: Keep | None = None) -> Program:
    """Flatten a jaxpr whose first ``count`` arguments are the parameter leaves."""
    flat = _Flattener(keep)
    slots = [flat.slot(var.aval) for var in closed.jaxpr.invars]
    outputs = flat.inline(closed.jaxpr, closed.consts, slots)
    active, owners = _dependencies(flat.equations, slots[:count], slots[count:])
    return Program(
        tuple(flat.equations),
        flat.constants,
        tuple(slots[:count]),
        tuple(slots[count:]),
        tuple(outputs),
        flat.avals,
        active,
        owners,
    )


def _dependencies(
    equations: Sequence[Equation], leaves: Sequence[int], inputs: Sequence[int]
) -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    """Sort slots into those that depend on ``x`` and those on parameters only."""
    active = set(inputs)
    owners = {slot: frozenset([index]) for index, slot in enumerate(leaves)}
    for eqn in equations:
        if any(slot in active for slot in eqn.inputs):
            # What depends on x is active, whether it depends on parameters too or not.
            active.update(eqn.outputs)
            continue
        union = frozenset().union(*(owners.get(s, frozenset()) for s in eqn.inputs))
        if union:
            owners.update(dict.fromkeys(eqn.outputs, union))
    return frozenset(active), owners


def meetings(program: Program) -> list[int]:
    """Return the indices of the equations where a parameter meets an activation."""
    return [
        index
        for index, eqn in enumerate(program.equations)
        if any(slot in program.active for slot in eqn.inputs)
        and any(slot in program.owners for slot in eqn.inputs)
    ]


def bind(eqn: Equation, values: Sequence[Any]) -> list[Any]:
    """Evaluate one equation, derivative rules of custom functions included."""
    with eqn.context.manager:
        out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


Visitor = Callable[[int, Equation, list[Any]], list[Any]]


def parameter_values(program: Program, leaves: Sequence[Any]) -> dict[int, Any]:
    """Evaluate everything that depends on parameters or constants only.

    Args:
        program: the traced function.
        leaves: the parameter leaves.

    Returns:
        slot -> value, for each slot that does not depend on ``x``.
    """
    env = dict(program.constants)
    env.update(zip(program.leaves, leaves, strict=True))
    for eqn in program.equations:
        if not any(slot in program.active for slot in eqn.inputs):
            values = bind(eqn, [env[slot] for slot in eqn.inputs])
            env.update(zip(eqn.outputs, values, strict=True))
    return env


def zero_probes(program: Program, taps: Sequence[int]) -> dict[int, list[Any]]:
    """Return zeros in the shape of what leaves each tapped equation."""
    return {
        index: [
            _zeros(program.avals[slot])
            for slot in program.equations[index].outputs
            if differentiable(program.avals[slot])
        ]
        for index in taps
    }


def _zeros(aval: Any) -> Any:
    # In jax.shard_map a probe varies over the same devices as what it is added to.
    kind = getattr(aval, "manual_axis_type", None)
    zeros = jnp.zeros(aval.shape, aval.dtype)
    return vary(zeros, getattr(kind, "varying", ()))


def differentiable(aval: Any) -> bool:
    """Say whether a value is floating or complex, hence has a cotangent."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def evaluate(
    program: Program,
    fixed: dict[int, Any],
    inputs: Sequence[Any],
    probes: dict[int, list[Any]],
) -> tuple[Any, dict[int, list[Any]]]:
    """Run the program, adding each probe to the outputs of its equation.

    Args:
        program: the traced function.
        fixed: slot -> value for all that does not depend on ``x``
            (:func:`parameter_values`).
        inputs: the leaves of ``x``.
        probes: equation index -> one array for each floating output.

    Returns:
        ``(y, records)``; ``records[index]`` holds the values read by the tapped
        equation, ``None`` where the value does not depend on ``x``.
    """
    records: dict[int, list[Any]] = {}

    def visit(index: int, eqn: Equation, values: list[Any]) -> list[Any]:
        outputs = bind(eqn, values)
        if index not in probes:
            return outputs
        records[index] = [
            value if slot in program.active else None
            for slot, value in zip(eqn.inputs, values, strict=True)
        ]
        # z + 0 at the output z of each meeting m: dy/dw = sum_m (dy/dz_m) (dz_m/dw),
        # and the derivative by the probe is dy/dz_m.
        added = iter(probes[index])
        return [
            value + next(added) if differentiable(value) else value for value in outputs
        ]

    (y,) = run(program, fixed, inputs, visit)
    return y, records


def run(
    program: Program, fixed: dict[int, Any], inputs: Sequence[Any], visit: Visitor
) -> list[Any]:
    """Run the part of the program that depends on ``x``, one visit per equation.

    Args:
        program: the traced function.
        fixed: slot -> value for all that does not depend on ``x``
            (:func:`parameter_values`).
        inputs: the leaves of ``x``.
        visit: ``(index, equation, values read) -> values written``; :func:`bind` for
            plain evaluation.

    Returns:
        The leaves of the function's result.
    """
    env = dict(fixed)
    env.update(zip(program.inputs, inputs, strict=True))
    for index, eqn in enumerate(program.equations):
        if any(slot in program.active for slot in eqn.inputs):
            outputs = visit(index, eqn, [env[slot] for slot in eqn.inputs])
            env.update(zip(eqn.outputs, outputs, strict=True))
    return [env[slot] for slot in program.outputs]
