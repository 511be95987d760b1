"""Multiply-adds by tracing, bytes in four encodings, measured latency."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning import taps
from pruning.taps import Equation, Program
from synaptax.typing import PyTree

ENCODINGS = ("dense", "bitmask", "csr", "coordinates")


class Work(NamedTuple):
    """Multiply-adds of one example.

    Attributes:
        total: as the program does them.
        kept: of those, the ones whose parameter is not zero (and all that are between
            two activations, as in attention).
    """

    total: int
    kept: int


def multiply_adds(apply_fn: Callable[..., Any], params: PyTree, x: Any) -> Work:
    """Count the multiply-adds of one example by tracing.

    Every ``dot_general`` (hence einsum and attention) and ``conv_general_dilated`` is
    counted, inside jit, remat and custom rules; in a scan as often as it runs, of a
    cond the largest branch. Each entry of an operand takes part in the same number of
    products, so that the share that is left is that of the entries which are not
    zero, whatever was done to the parameter on its way there. Products with the zeros
    of padding count, as they do in the literature.

    Args:
        apply_fn: ``(params, x) -> y``.
        params: concrete parameters, zeros where they are pruned.
        x: inputs; the first example's shape counts.

    Raises:
        ValueError: for a ``while`` loop, whose passes cannot be counted; and where
            products are inside an equation that cannot be looked into.
    """
    one = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *jnp.shape(leaf)[1:]), leaf.dtype), x
    )
    leaves = jax.tree.leaves(params)
    arguments = jax.tree.map(jax.typeof, params)
    program, _ = taps.trace_whole(apply_fn, arguments, one)
    return _count(program, taps.parameter_values(program, leaves))


def _count(program: Program, known: Mapping[int, Any]) -> Work:
    """Count a program; ``known`` has the values that do not depend on the input."""
    total = nonzeros = 0
    for eqn in program.equations:
        work = _of_equation(eqn, program, known)
        total, nonzeros = total + work.total, nonzeros + work.kept
    return Work(total, nonzeros)


def _of_equation(eqn: Equation, program: Program, known: Mapping[int, Any]) -> Work:
    values = [known.get(slot) for slot in eqn.inputs]
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
        if all(value is not None for value in values):
            return Work(0, 0)  # of parameters alone: done once, not for each example
        shapes = [program.avals[slot].shape for slot in eqn.inputs]
        size = math.prod(program.avals[eqn.outputs[0]].shape)
        work = size * _contracted(eqn, shapes)
        # Exact in integers: every entry of an operand is used equally often.
        nonzeros = work
        for value, shape in zip(values, shapes, strict=True):
            if value is not None and math.prod(shape):
                nonzeros = nonzeros * int(np.count_nonzero(value)) // math.prod(shape)
        return Work(work, nonzeros)
    bodies = taps.inside(eqn)
    if not any(_has_products(body) for body in bodies):
        return Work(0, 0)
    name = eqn.primitive.name
    if name == "scan":
        return _of_scan(eqn, bodies[0], values)
    if name == "cond":
        each = [_of_body(body, values[1:]) for body in bodies]
        return max(each, key=lambda work: work.total)
    if name.startswith(("custom_jvp", "custom_vjp")):
        return _of_body(bodies[0], values)
    raise ValueError(f"apply_fn: products inside {name} cannot be counted")


def _contracted(eqn: Equation, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the number of products in each entry of the output."""
    if eqn.primitive.name == "dot_general":
        (left, _), _ = eqn.params["dimension_numbers"]
        return math.prod(shapes[0][axis] for axis in left)
    # A kernel is (outputs, inputs, space...): the rest is summed over.
    outputs = eqn.params["dimension_numbers"].rhs_spec[0]
    return math.prod(shapes[1]) // shapes[1][outputs]


def _of_body(body: Program, values: Sequence[Any]) -> Work:
    """Count the body of an equation whose inputs are known or None."""
    slots = (*body.leaves, *body.inputs)
    constants = dict(body.constants)
    constants.update(
        (s, v) for s, v in zip(slots, values, strict=True) if v is not None
    )
    for eqn in body.equations:
        if all(slot in constants for slot in eqn.inputs):
            outputs = taps.bind(eqn, [constants[slot] for slot in eqn.inputs])
            constants.update(zip(eqn.outputs, outputs, strict=True))
    return _count(body, constants)


def _of_scan(eqn: Equation, body: Program, values: Sequence[Any]) -> Work:
    """Count a scan pass by pass, for each has its own slice of the parameters."""
    consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    slices = values[consts + carry :]
    unknown: list[Any] = [None] * carry
    passes = range(eqn.params["length"])
    if all(value is None for value in slices):
        work = _of_body(body, [*values[:consts], *unknown, *slices])
        return Work(len(passes) * work.total, len(passes) * work.kept)
    each = []
    for i in passes:
        own = [None if value is None else value[i] for value in slices]
        each.append(_of_body(body, [*values[:consts], *unknown, *own]))
    return Work(sum(work.total for work in each), sum(work.kept for work in each))


def _has_products(program: Program) -> bool:
    return any(
        eqn.primitive.name in ("dot_general", "conv_general_dilated")
        or any(_has_products(body) for body in taps.inside(eqn))
        for eqn in program.equations
    )


def encoded_bytes(leaf: Any, kept: int) -> dict[str, int]:
    """Return the bytes of a leaf in each of :data:`ENCODINGS`.

    ``dense``: every value. ``bitmask``: one bit for each entry, and the values kept.
    ``csr``: values, the column of each and the end of each row, a row being all but
    the last axis. ``coordinates``: values and the flat place of each. Indices take the
    fewest of 1, 2, 4 or 8 bytes that hold the largest.

    Args:
        leaf: anything with a shape and a dtype.
        kept: the number of values that are not zero.
    """
    shape, width = tuple(leaf.shape), np.dtype(leaf.dtype).itemsize
    total = math.prod(shape)
    columns = shape[-1] if shape else 1
    rows = total // columns if columns else 0
    return {
        "dense": total * width,
        "bitmask": -(-total // 8) + kept * width,
        "csr": kept * (width + _index(columns)) + (rows + 1) * _index(kept + 1),
        "coordinates": kept * (width + _index(total)),
    }


def _index(count: int) -> int:
    """Return the bytes of an index below ``count``."""
    return next(n for n in (1, 2, 4, 8) if count <= 2 ** (8 * n))


def latencies(
    calls: Sequence[tuple[Callable[..., Any], PyTree]], x: Any, *, repeats: int = 15
) -> list[float]:
    """Return the median seconds of compiled calls on this device.

    They take turns, so that what else the machine does meets all of them alike; one
    after the other, a busy second would make the one it falls on look slow.

    Args:
        calls: functions ``(params, x) -> y`` with their parameters, which are
            arguments of the compiled program.
        x: the inputs, of the batch that is asked for.
        repeats: timed calls of each, after two that are not.
    """
    x = jax.device_put(x)
    compiled = [
        (jax.jit(function), jax.device_put(params)) for function, params in calls
    ]
    seconds = np.zeros((repeats + 2, len(compiled)))
    for turn in seconds:
        for index, (call, params) in enumerate(compiled):
            start = time.perf_counter()
            jax.block_until_ready(call(params, x))
            turn[index] = time.perf_counter() - start
    # The first two calls compile and warm up.
    return np.median(seconds[2:], axis=0).tolist()


def batch_of(x: Any, size: int) -> Any:
    """Return ``size`` examples, those of ``x`` over and over."""

    def leaf(value: Any) -> Any:
        value = np.asarray(value)
        return value[np.arange(size) % len(value)]

    return jax.tree.map(leaf, x)
