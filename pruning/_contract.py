"""From what a parameter meets, and the cotangents there, to |dy/dw|.

For one example and one output the derivative with respect to a leaf is the
vector-Jacobian product of its meetings (:mod:`pruning.taps`). Its absolute value is
summed over examples and outputs, which in general needs each product apart. Where
a leaf enters one matrix product with a single row per example, the product is an
outer product, |a delta| = |a| |delta|, and the whole sum collapses to one matrix
product |A|^T sum_k |Delta_k|.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pruning.taps import Equation, Program, bind, differentiable, meetings
from synaptax.checks import wide_dtype

# Operations that only rearrange or convert: |.| passes through their transpose.
_REARRANGING = {
    "reshape",
    "transpose",
    "squeeze",
    "expand_dims",
    "convert_element_type",
    "copy",
    "copy_p",
    "rev",
}


class LeafPlan(NamedTuple):
    """How one parameter leaf is used.

    Attributes:
        leaf: index of the leaf in flattening order.
        path: indices of equations on parameters alone that lead to its meetings.
        uses: indices of its meetings.
        operand: where the leaf, merely rearranged, enters a single meeting: the slot
            it is read from; otherwise ``None``.
        row: for an outer product, ``(operand, axis, output axis)``: which operand of
            the matrix product is the activation, its free axis of size 1, and that
            axis's place in the output; otherwise ``None``.
        added: whether the leaf is only added, element by element, so that its
            derivative is the cotangent itself.
    """

    leaf: int
    path: tuple[int, ...]
    uses: tuple[int, ...]
    operand: int | None
    row: tuple[int, int, int] | None
    added: bool

    @property
    def apart(self) -> bool:
        """Whether |dy/dw| has to be formed for each example and output apart."""
        return self.row is None and not self.added


class Seen(NamedTuple):
    """What was recorded of a batch.

    Attributes:
        program: the traced function.
        fixed: slot -> value, for all that does not depend on ``x``.
        records: per meeting, the values read, with a leading example axis.
        deltas: per meeting, the cotangents, with leading axes (example, output).
    """

    program: Program
    fixed: dict[int, Any]
    records: dict[int, list[Any]]
    deltas: dict[int, list[Any]]


def plan(program: Program) -> list[LeafPlan]:
    """Find, for each floating leaf that is used, its meetings and their form."""
    plans = []
    indices = meetings(program)
    for leaf, slot in enumerate(program.leaves):
        if not differentiable(program.avals[slot]):
            continue
        # Slots that hold the leaf or what is computed of it and other parameters; the
        # path is the equations that compute them.
        slots, path = {slot}, []
        for index, eqn in enumerate(program.equations):
            inside = leaf in program.owners.get(eqn.outputs[0], ())
            if inside and any(s in slots for s in eqn.inputs):
                slots.update(eqn.outputs)
                path.append(index)
        uses = tuple(
            i for i in indices if any(s in slots for s in program.equations[i].inputs)
        )
        if uses:
            operand = _operand(program, path, uses, slots)
            row = None if operand is None else _outer_row(program, uses[0])
            added = _is_added(program, path, uses, slot)
            plans.append(LeafPlan(leaf, tuple(path), uses, operand, row, added))
    return plans


def _operand(
    program: Program, path: list[int], uses: tuple[int, ...], reached: set[int]
) -> int | None:
    """Return the :class:`LeafPlan` operand, if the leaf has one."""
    slots = [s for s in program.equations[uses[0]].inputs if s in reached]
    rearranged = all(_rearranges(program, i, _REARRANGING) for i in path)
    return slots[0] if len(uses) == len(slots) == 1 and rearranged else None


def _rearranges(program: Program, index: int, names: set[str]) -> bool:
    """Say whether an equation only moves or converts the entries of one value.

    From real to complex is no such conversion: of the product of moduli that the
    complex value would be given, a real weight feels the real part alone.
    """
    eqn = program.equations[index]
    sides = [program.avals[slot].dtype for slot in (*eqn.inputs, *eqn.outputs)]
    complex_sides = {jnp.issubdtype(dtype, jnp.complexfloating) for dtype in sides}
    single = len(eqn.inputs) == 1 and len(complex_sides) == 1
    return single and eqn.primitive.name in names


def _outer_row(program: Program, use: int) -> tuple[int, int, int] | None:
    """Return the :class:`LeafPlan` row of a meeting, if it is an outer product."""
    eqn = program.equations[use]
    if eqn.primitive.name != "dot_general":
        return None
    operand = 0 if eqn.inputs[0] in program.active else 1
    contracting, batched = eqn.params["dimension_numbers"]
    shapes = [program.avals[slot].shape for slot in eqn.inputs]
    free = [
        [d for d in range(len(shapes[i])) if d not in (*contracting[i], *batched[i])]
        for i in (0, 1)
    ]
    own = free[operand]
    # With one row a and delta of an example the derivative is a delta^T, and |a_i
    # delta_j| = |a_i| |delta_j|. With more rows it is a sum over them, inside |.|.
    if not own or math.prod(shapes[operand][d] for d in own) != 1:
        return None
    # A dot_general's output has batch axes, the left's free axes, then the right's.
    output_axis = len(batched[0]) + (len(free[0]) if operand == 1 else 0)
    return operand, own[0], output_axis


def _is_added(
    program: Program, path: list[int], uses: tuple[int, ...], slot: int
) -> bool:
    """Say whether a leaf meets one addition, and nothing copies its elements."""
    eqn = program.equations[uses[0]]
    return (
        len(uses) == 1
        and eqn.primitive.name in ("add", "sub")
        and all(
            _rearranges(program, i, {*_REARRANGING, "broadcast_in_dim"}) for i in path
        )
        and math.prod(program.avals[slot].shape)
        == math.prod(program.avals[eqn.outputs[0]].shape)
    )


def accumulated(aval: Any) -> Any:
    """Return the dtype for sums of moduli of ``aval``: real, at least float32.

    A sum over a batch in half precision stops growing at 2048 terms of one size.
    """
    real = jnp.finfo(aval.dtype).dtype
    return real if jnp.finfo(real).bits >= 32 else jnp.float32


def absolute_sum(leaf: LeafPlan, seen: Seen) -> Any:
    """Sum |dy_k/dw| over examples and outputs, the cheapest way the leaf allows.

    Args:
        leaf: how the parameter is used.
        seen: what was recorded.

    Returns:
        An array like the leaf, in the dtype of the sums.
    """
    if leaf.row is not None:
        return outer_sum(leaf, seen)
    if leaf.added:
        return added_sum(leaf, seen)
    return each_sum(leaf, seen)


def outer_sum(leaf: LeafPlan, seen: Seen) -> Any:
    """Sum |dy_k/dw| over examples and outputs for a leaf with a ``row``."""
    assert leaf.row is not None
    operand, axis, output_axis = leaf.row
    (use,) = leaf.uses
    inputs = seen.records[use][operand]
    # |a|, in the dtype that the product is taken in: complex, where the weight is.
    activation = _rows(jnp.abs(inputs).astype(inputs.dtype), axis)
    (values,) = seen.deltas[use]
    # sum_k |Delta_bk|, (B, K, ...) -> (B, ...): with |a| outside, the sum over outputs
    # is taken before the product, |A|^T sum_k |Delta_k|: (I, B) x (B, O).
    delta = jnp.abs(values).astype(accumulated(values)).sum(1)
    record: list[Any] = [None, None]
    record[operand] = activation
    pull = _pull(seen, _whole(seen.program, leaf), {use: record})
    total = pull({use: [_rows(delta, output_axis)]})
    # A product of moduli; complex by its dtype alone.
    return total.real if jnp.iscomplexobj(total) else total


def added_sum(leaf: LeafPlan, seen: Seen) -> Any:
    """Sum |dy_k/dw| over examples and outputs for a leaf that is only added."""
    (use,) = leaf.uses
    (values,) = seen.deltas[use]
    delta = jnp.abs(values).astype(accumulated(values))
    # The derivative of an addition does not depend on what it read: any record will do.
    first = jax.tree.map(lambda values: values[0], seen.records[use])
    pull = _pull(seen, _whole(seen.program, leaf), {use: first})
    # An addition's transpose may subtract; the sum of absolute values does not.
    return jnp.abs(pull({use: [delta.sum(1).sum(0)]}))


def _rows(values: Any, axis: int) -> Any:
    """Lay the example axis (0) along an axis of size 1, so that products sum it."""
    return jnp.swapaxes(values, 0, axis + 1)[0]


def each_sum(leaf: LeafPlan, seen: Seen) -> Any:
    """Sum |dy_k/dw| over examples and outputs of any leaf, one derivative at a time."""
    program, fixed, records, deltas = seen
    whole = _whole(program, leaf)
    # A rearranged leaf is rearranged back once, not for every derivative.
    way = whole if leaf.operand is None else whole._replace(slot=leaf.operand, path=())

    def one(record: dict[int, list[Any]], delta: dict[int, list[Any]]) -> Any:
        return jax.vmap(_pull(seen, way, record))(delta)

    # (B, K, *slot), every derivative apart, since here |.|
    # cannot be drawn into factors.
    gradients = jax.vmap(one)(
        {use: records[use] for use in leaf.uses},
        {use: deltas[use] for use in leaf.uses},
    )
    total = jnp.abs(gradients).sum((0, 1))
    operand = leaf.operand
    if operand is None or not leaf.path:
        return total
    # The path only moves entries: it is linear, and its transpose lays the sums out as
    # the leaf lies. The leaf's value is not looked at.
    leaf_value = fixed[whole.slot].real.astype(total.dtype)
    _, back = jax.vjp(
        lambda w: follow(program, leaf.path, {whole.slot: w})[operand],
        leaf_value,
    )
    return back(total)[0]


class _Way(NamedTuple):
    """From a parameter value to its meetings: a slot, a path, the meetings."""

    slot: int
    path: tuple[int, ...]
    uses: tuple[int, ...]


def _whole(program: Program, leaf: LeafPlan) -> _Way:
    return _Way(program.leaves[leaf.leaf], leaf.path, leaf.uses)


def follow(
    program: Program, path: tuple[int, ...], env: dict[int, Any]
) -> dict[int, Any]:
    """Evaluate the equations of a path on top of the values in ``env``."""
    env = dict(env)
    for index in path:
        eqn = program.equations[index]
        values = bind(eqn, [env[s] for s in eqn.inputs])
        env.update(zip(eqn.outputs, values, strict=True))
    return env


def pull_of(seen: Seen, leaf: LeafPlan, records: dict[int, list[Any]]) -> Any:
    """Return the map from cotangents at a leaf's meetings to its derivative."""
    return _pull(seen, _whole(seen.program, leaf), records)


def _pull(seen: Seen, way: _Way, records: dict[int, list[Any]]) -> Any:
    """Return the map from cotangents at the meetings to the derivative at the slot.

    ``records`` holds what one meeting or example read.
    """
    program, fixed, slot = seen.program, seen.fixed, way.slot

    def use(weight: Any) -> dict[int, list[Any]]:
        env = follow(program, way.path, {**fixed, slot: weight})
        outputs = {}
        for index in way.uses:
            eqn = program.equations[index]
            values = [
                env[s] if record is None else record
                for s, record in zip(eqn.inputs, records[index], strict=True)
            ]
            outputs[index] = _meet(eqn, values)
        return outputs

    # Sums run in at least float32; the leaf's own dtype is restored at the end.
    # The widened weight is rounded to the leaf's dtype inside: the activation meets the
    # weight as it is.
    weight = fixed[slot].astype(wide_dtype(fixed[slot].dtype, jnp.float32))
    outputs, pull = jax.vjp(lambda w: use(w.astype(fixed[slot].dtype)), weight)

    def pulled(deltas: dict[int, list[Any]]) -> Any:
        # A vjp takes cotangents in the outputs' own dtype;
        # sums of moduli come in wider.
        cast = jax.tree.map(lambda d, like: d.astype(like.dtype), deltas, outputs)
        return pull(cast)[0]

    return pulled


def _meet(eqn: Equation, values: list[Any]) -> list[Any]:
    """Evaluate a meeting; a convolution as a matrix product over its patches.

    The derivative of a convolution with respect to its kernel, one example and one
    output at a time, is a matrix product of patches and cotangents; the
    convolution's own transpose rule would run it as a grouped convolution.
    """
    if (
        eqn.primitive.name == "conv_general_dilated"
        and eqn.params["batch_group_count"] == 1
    ):
        return [convolve_by_patches(*values, **eqn.params)]
    return [value for value in bind(eqn, values) if differentiable(value)]


def convolve_by_patches(
    lhs: Any,
    rhs: Any,
    *,
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: Any,
    feature_group_count: int,
    precision: Any,
    **_: Any,
) -> Any:
    """Evaluate ``lax.conv_general_dilated`` as patches times kernel.

    Arguments are those of the primitive, for ``batch_group_count=1``. Any number of
    spatial axes, strides, padding, dilation of either side and feature groups.
    """
    numbers = dimension_numbers
    # x: (B, *space, channels of all groups); w: (*window, channels, features).
    x = jnp.transpose(
        lhs, (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1])
    )
    w = jnp.transpose(
        rhs, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0])
    )
    kernel, (channels, features) = w.shape[:-2], w.shape[-2:]
    interior = [d - 1 for d in lhs_dilation]
    config = [
        (0, 0, 0),
        *((lo, hi, i) for (lo, hi), i in zip(padding, interior, strict=True)),
        (0, 0, 0),
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), config)
    # Places of a window of k entries, d apart, moved by s over n padded
    # entries: floor((n - (k - 1) d - 1) / s) + 1.
    out = tuple(
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(
            x.shape[1:-1], kernel, rhs_dilation, window_strides, strict=True
        )
    )
    windows = []
    for offset in _offsets(kernel):
        start = [o * d for o, d in zip(offset, rhs_dilation, strict=True)]
        stop = [
            b + (n - 1) * s + 1
            for b, n, s in zip(start, out, window_strides, strict=True)
        ]
        windows.append(
            lax.slice(
                x,
                (0, *start, 0),
                (x.shape[0], *stop, x.shape[-1]),
                (1, *window_strides, 1),
            )
        )
    groups = feature_group_count
    patches = jnp.stack(windows, axis=-2)  # (B, *out, K, groups * channels)
    patches = patches.reshape(
        x.shape[0], math.prod(out), math.prod(kernel), groups, channels
    )
    weights = w.reshape(math.prod(kernel), channels, groups, features // groups)
    # y[b, p, g, f] = sum_{k,c} x[b, p + k, g, c] w[k, c, g, f] with places p, entries k
    # of the window, groups g: the features of a group lie together.
    y = jnp.einsum("bpkgc,kcgf->bpgf", patches, weights, precision=precision)
    y = y.reshape(x.shape[0], *out, features)
    order = (numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1])
    inverse = [order.index(axis) for axis in range(len(order))]
    return jnp.transpose(y, inverse)


def _offsets(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return all positions inside a kernel, last axis fastest."""
    offsets: list[tuple[int, ...]] = [()]
    for size in kernel:
        offsets = [(*offset, i) for offset in offsets for i in range(size)]
    return offsets
