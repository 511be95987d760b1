"""Follow the axes of parameters through a traced program: which entries go together.

Every entry of every axis of a parameter is a label. An axis of any value has *columns*:
vectors of labels as long as the axis, such that an entry of the axis is gone when one
of its labels is (an axis merged of heads and features has two). Equations carry columns
on, and join labels: a sum, entry by entry; a contraction, the rows of a kernel with
the units that it reads. What joined labels name is one unit.

An axis without columns, ``()``, has a fixed size: of the input, of an image, of a
constant. ``None`` is an axis that a broadcast made, of any size. Labels that meet an
axis of fixed size, or a primitive that is not known here, are fixed, with the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pruning._nonlinear import RULES
from pruning.taps import Equation, Program, inside

Axis = tuple[np.ndarray, ...] | None
Axes = list[Axis]
ELEMENTWISE = {
    *("add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "clamp"),
    *("exp", "exp2", "expm1", "log", "log1p", "pow", "integer_pow", "square", "sqrt"),
    *("rsqrt", "cbrt", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin", "cos"),
    *("select_n", "gt", "ge", "lt", "le", "ne", "eq", "and", "or", "not", "xor"),
    *("floor", "ceil", "round", "is_finite", "stop_gradient", "add_any", "name"),
    *("convert_element_type", "reduce_precision", "copy", "copy_p", "pvary", "pcast"),
}
NO_UNITS = "meets an axis without units (of the input, an image or a constant)"


class Labels:
    """Disjoint sets of labels; some fixed, with the reason. Label 0 is no label."""

    def __init__(self) -> None:
        self.parent = np.zeros(1, int)
        self.reasons: dict[int, str] = {}

    def fresh(self, count: int) -> np.ndarray:
        """Return new labels."""
        first = len(self.parent)
        self.parent = np.append(self.parent, np.arange(first, first + count))
        return self.parent[first:].copy()

    def find(self, column: np.ndarray) -> np.ndarray:
        """Return the representative of each label."""
        root = self.parent[column]
        while (root != self.parent[root]).any():
            root = self.parent[root]
        return root

    def join(self, one: np.ndarray, other: np.ndarray, why: str) -> None:
        """Make labels of two columns one; fix those that meet no label."""
        pairs = np.stack([self.find(one.ravel()), self.find(other.ravel())], 1)
        for pair in np.unique(pairs, axis=0):
            low, high = sorted(int(root) for root in self.find(pair))
            if low == high:
                continue
            if low == 0:
                self.reasons.setdefault(high, why)
                continue
            self.parent[high] = low
            if high in self.reasons:
                self.reasons.setdefault(low, self.reasons[high])

    def fix(self, axis: Axis, why: str) -> None:
        """Fix all labels of an axis."""
        for column in axis or ():
            self.join(column, np.zeros_like(column), why)

    def unify(self, one: Axis, other: Axis, why: str) -> Axis:
        """Make two axes one; return it.

        Columns that part the axis alike are joined. Of the others the outermost are,
        so that units become coarser: heads, where features are merged with them.
        """
        if one is None or other is None or one is other:
            return other if one is None else one
        left, right = [*one], []
        for match in other:
            alike = (i for i, c in enumerate(left) if self._part_alike(c, match))
            place = next(alike, None)
            if place is None:
                right.append(match)
            else:
                self.join(left.pop(place), match, why)
        if left and right:
            self.join(left.pop(0), right.pop(0), why)
        self.fix((*left, *right), why)
        return one or other

    def _part_alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        a, b = self.find(one), self.find(other)
        pairs = np.unique(np.stack([a, b], 1), axis=0)
        return len(np.unique(a)) == len(np.unique(b)) == len(pairs)

    def merge(self, axes: Axes, sizes: Sequence[int]) -> Axis:
        """Return the one axis that a reshape makes of several."""
        if all(axis is None for axis in axes):
            return None
        columns = []
        for place, axis in enumerate(axes):
            for column in axis or ():
                shape = [1] * len(sizes)
                shape[place] = sizes[place]
                columns.append(np.broadcast_to(column.reshape(shape), sizes).ravel())
        return tuple(columns)

    def split(self, axis: Axis, sizes: Sequence[int], why: str) -> Axes:
        """Return the axes that a reshape makes of one.

        A column that varies along several of them is made coarser: by the outermost.
        """
        if not sizes:
            self.fix(axis, why)
        if axis is None or len(sizes) < 2:
            return [axis] * len(sizes)
        result: Axes = [None if size == 1 else () for size in sizes]
        for column in axis:
            grid = column.reshape(sizes)
            roots = self.find(grid)
            varies = [
                bool((roots != roots.take([0], d)).any()) for d in range(grid.ndim)
            ]
            place = int(np.argmax(varies)) if any(varies) else int(np.argmax(sizes))
            outer = np.moveaxis(grid, place, 0).reshape(sizes[place], -1)
            if sum(varies) > 1:
                self.join(outer, np.broadcast_to(outer[:, :1], outer.shape), why)
            result[place] = (*(result[place] or ()), outer[:, 0])
        return result


class Reading(NamedTuple):
    """A kernel that contracts an axis of an activation.

    Attributes:
        equation: where.
        slot: of the activation.
        dimension: of the activation that is contracted.
        columns: of it.
        rows: labels of the kernel's own axis.
    """

    equation: int
    slot: int
    dimension: int
    columns: Axis
    rows: np.ndarray


def blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[range, range]]:
    """Return which axes a reshape makes of which."""
    pairs, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        k, m = min(i + 1, len(before)), min(j + 1, len(after))
        while (a := math.prod(before[i:k])) != (b := math.prod(after[j:m])):
            k, m = (k + 1, m) if a < b else (k, m + 1)
        pairs.append((range(i, k), range(j, m)))
        i, j = k, m
    return pairs


def fixed(shape: Sequence[int]) -> Axes:
    """Return the axes of a value that no parameter sizes."""
    return [None if size == 1 else () for size in shape]


class Follower:
    """Carries axes through a program; lives for one trace only."""

    def __init__(self, program: Program, labels: Labels, top: bool = True) -> None:
        self.program, self.labels, self.top = program, labels, top
        self.axes: dict[int, Axes] = {}
        self.readings: list[Reading] = []

    def follow(self, inputs: dict[int, Axes]) -> list[Axes]:
        """Carry the axes of the inputs on; return those of the outputs."""
        self.axes = {slot: fixed(self._shape(slot)) for slot in self.program.constants}
        self.axes.update(inputs)
        for index, eqn in enumerate(self.program.equations):
            axes = [self.axes[slot] for slot in eqn.inputs]
            outputs = self._rule(eqn)(index, eqn, axes)
            self.axes.update(zip(eqn.outputs, outputs, strict=True))
        return [self.axes[slot] for slot in self.program.outputs]

    def _rule(self, eqn: Equation) -> Callable[..., list[Axes]]:
        name = eqn.primitive.name
        if name in ELEMENTWISE:
            return self._elementwise
        if name in RULES:
            return self._custom
        if name.startswith("reduce_window"):
            return self._window
        if name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
            return self._reduce
        return getattr(self, f"_{name}", self._unknown)

    def _shape(self, slot: int) -> tuple[int, ...]:
        return tuple(self.program.avals[slot].shape)

    def _unknown(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        for axis in itertools.chain.from_iterable(axes):
            self.labels.fix(axis, f"{eqn.primitive.name} is not followed")
        return [fixed(self._shape(slot)) for slot in eqn.outputs]

    def _elementwise(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        result: Axes = [None] * len(self._shape(eqn.outputs[0]))
        why = f"{eqn.primitive.name} {NO_UNITS}"
        for one in axes:
            if one:  # a scalar has none
                pairs = zip(result, one, strict=True)
                result = [self.labels.unify(a, b, why) for a, b in pairs]
        return [result]

    def _custom(self, index: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        bodies = inside(eqn)
        if len(bodies) != 1 or len(bodies[0].inputs) != len(axes):
            return self._unknown(index, eqn, axes)
        body = Follower(bodies[0], self.labels, top=False)
        return body.follow(dict(zip(bodies[0].inputs, axes, strict=True)))

    def _reduce(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        gone = eqn.params["axes"]
        for place in gone:
            why = f"{eqn.primitive.name} runs over it"
            self.labels.fix(axes[0][place], why)
        return [[a for place, a in enumerate(axes[0]) if place not in gone]]

    def _window(self, index: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        names = ("window_dimensions", "window_strides", "base_dilation")
        if not {*names, "padding"} <= {*eqn.params} or len(eqn.outputs) != 1:
            return self._unknown(index, eqn, axes)
        settings = zip(*(eqn.params[n] for n in (*names, "padding")), strict=True)
        result: Axes = []
        for axis, (*sizes, pad) in zip(axes[0], settings, strict=True):
            whole = set(sizes) == {1} and tuple(pad) == (0, 0)
            if not whole:
                self.labels.fix(axis, f"{eqn.primitive.name} runs over it")
            result.append(axis if whole else ())
        return [result]

    def _broadcast_in_dim(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        shape = eqn.params["shape"]
        result: Axes = [None] * len(shape)
        before = self._shape(eqn.inputs[0])
        for old, new in enumerate(eqn.params["broadcast_dimensions"]):
            if before[old] == shape[new]:
                result[new] = axes[0][old]
            else:
                self.labels.fix(axes[0][old], "one unit of a larger axis is broadcast")
        return [result]

    def _reshape(self, index: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        before, after = self._shape(eqn.inputs[0]), self._shape(eqn.outputs[0])
        if 0 in before:
            return self._unknown(index, eqn, axes)
        result: Axes = []
        for old, new in blocks(before, after):
            sizes = [before[d] for d in old]
            axis = self.labels.merge([axes[0][d] for d in old], sizes)
            why = "reshape parts it in a way that is not followed"
            result += self.labels.split(axis, [after[d] for d in new], why)
        return [result]

    _expand_dims = _reshape

    def _squeeze(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        gone = eqn.params["dimensions"]
        for place in gone:
            self.labels.fix(axes[0][place], "one unit of a larger axis is taken out")
        return [[a for place, a in enumerate(axes[0]) if place not in gone]]

    def _transpose(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        return [[axes[0][place] for place in eqn.params["permutation"]]]

    def _rev(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        result = list(axes[0])
        for place in eqn.params["dimensions"]:
            axis = result[place]
            result[place] = axis and tuple(column[::-1] for column in axis)
        return [result]

    def _slice(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        starts, limits = eqn.params["start_indices"], eqn.params["limit_indices"]
        steps = eqn.params["strides"] or (1,) * len(starts)
        cuts = map(slice, starts, limits, steps)
        pairs = zip(axes[0], cuts, strict=True)
        return [[axis and tuple(c[cut] for c in axis) for axis, cut in pairs]]

    def _split(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        place, ends = eqn.params["axis"], np.cumsum(eqn.params["sizes"])
        results = []
        for end, size in zip(ends, eqn.params["sizes"], strict=True):
            one, axis = list(axes[0]), axes[0][place]
            one[place] = axis and tuple(column[end - size : end] for column in axis)
            results.append(one)
        return results

    def _tile(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        pairs = zip(axes[0], eqn.params["reps"], strict=True)
        return [[axis and tuple(np.tile(c, n) for c in axis) for axis, n in pairs]]

    def _stack(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        result: Axes = [None] * len(axes[0])
        for one in axes:
            pairs = zip(result, one, strict=True)
            result = [self.labels.unify(a, b, f"stack {NO_UNITS}") for a, b in pairs]
        result.insert(eqn.params["axis"], ())
        return [result]

    def _concatenate(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        place = eqn.params["dimension"]
        result: Axes = [None] * len(axes[0])
        why = f"concatenate {NO_UNITS}"
        for one in axes:
            others = [None if d == place else a for d, a in enumerate(one)]
            pairs = zip(result, others, strict=True)
            result = [self.labels.unify(a, b, why) for a, b in pairs]
        sizes = [self._shape(slot)[place] for slot in eqn.inputs]
        parts = [one[place] or () for one in axes]
        count = max(len(part) for part in parts)
        padded = [
            [*part, *[np.zeros(n, int)] * (count - len(part))]
            for part, n in zip(parts, sizes, strict=True)
        ]
        result[place] = tuple(map(np.concatenate, zip(*padded, strict=True)))
        return [result]

    def _pad(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        result: Axes = []
        for axis, pad in zip(axes[0], eqn.params["padding_config"], strict=True):
            if any(pad):
                self.labels.fix(axis, "pad adds to it")
            result.append(() if any(pad) else axis)
        return [result]

    def _iota(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        result: Axes = [None] * len(eqn.params["shape"])
        result[eqn.params["dimension"]] = ()
        return [result]

    def _gather(self, _: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
        result = fixed(self._shape(eqn.outputs[0]))
        gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        offsets = iter(numbers.offset_dims)
        for place, axis in enumerate(axes[0]):
            new = None if place in gone else next(offsets)
            whole = sizes[place] == self._shape(eqn.inputs[0])[place]
            if new is not None and whole and place not in numbers.start_index_map:
                result[new] = axis
            else:
                self.labels.fix(axis, "gather picks from it")
        return [result]

    def _dot_general(self, index: int, eqn: Equation, axes: list[Axes]) -> list[Axes]:
        contracted, batch = eqn.params["dimension_numbers"]
        for places in zip(*contracted, strict=True):
            self._contract(index, eqn, axes, places)
        why = f"dot_general {NO_UNITS}"
        both = zip(*batch, strict=True)
        result = [self.labels.unify(axes[0][i], axes[1][j], why) for i, j in both]
        for side in (0, 1):
            used = (*contracted[side], *batch[side])
            result += [a for d, a in enumerate(axes[side]) if d not in used]
        return [result]

    def _contract(
        self, index: int, eqn: Equation, axes: list[Axes], places: tuple[int, int]
    ) -> None:
        """Join the rows of a kernel with the units they read."""
        pair = [one[place] for one, place in zip(axes, places, strict=True)]
        name = eqn.primitive.name
        axis = self.labels.unify(pair[0], pair[1], f"{name} {NO_UNITS}")
        active = [slot in self.program.active for slot in eqn.inputs]
        owned = [slot in self.program.owners for slot in eqn.inputs]
        side = active.index(True) if any(active) else 0
        if not (self.top and active[side] and owned[1 - side]):
            self.labels.fix(axis, f"{name} runs over it, and no side is a kernel")
        elif pair[side] is None or pair[1 - side] is None:
            self.labels.fix(axis, f"{name} runs over it, and the other is a broadcast")
        else:
            rows = np.concatenate([[0], *(pair[1 - side] or ())])
            reading = (index, eqn.inputs[side], places[side], axis, rows)
            self.readings.append(Reading(*reading))

    def _conv_general_dilated(
        self, index: int, eqn: Equation, axes: list[Axes]
    ) -> list[Axes]:
        left, right, out = eqn.params["dimension_numbers"]
        groups = eqn.params["feature_group_count"]
        channels = self._shape(eqn.inputs[0])[left[1]]
        depthwise = groups == channels and self._shape(eqn.inputs[1])[right[1]] == 1
        if eqn.params["batch_group_count"] > 1 or (groups > 1 and not depthwise):
            return self._unknown(index, eqn, axes)
        for one, spec in zip(axes, (left, right), strict=True):
            for place in spec[2:]:
                self.labels.fix(one[place], "a convolution's window runs over it")
        result = fixed(self._shape(eqn.outputs[0]))
        result[out[0]], result[out[1]] = axes[0][left[0]], axes[1][right[0]]
        if groups == 1:
            self._contract(index, eqn, axes, (left[1], right[1]))
        else:  # each channel has filters of its own: they are the channel's
            each = self._shape(eqn.inputs[1])[right[0]] // channels
            wide = axes[0][left[1]]
            wide = wide and tuple(np.repeat(column, each) for column in wide)
            why = f"conv_general_dilated {NO_UNITS}"
            result[out[1]] = self.labels.unify(result[out[1]], wide, why)
        return [result]
