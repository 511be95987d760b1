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
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pruning._labels import Axes, Axis, Labels, blocks, fixed
from pruning._nonlinear import RULES
from pruning.taps import Equation, Program, inside

ELEMENTWISE = {
    *("add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "clamp"),
    *("exp", "exp2", "expm1", "log", "log1p", "pow", "integer_pow", "square", "sqrt"),
    *("rsqrt", "cbrt", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin", "cos"),
    *("select_n", "gt", "ge", "lt", "le", "ne", "eq", "and", "or", "not", "xor"),
    *("floor", "ceil", "round", "is_finite", "stop_gradient", "add_any", "name"),
    *("convert_element_type", "reduce_precision", "copy", "copy_p", "pvary", "pcast"),
}
NO_UNITS = "meets an axis without units (of the input, an image or a constant)"


class Reading(NamedTuple):
    """A kernel that contracts an axis of an activation.

    Attributes:
        equation: where.
        slot: of the activation.
        dimension: of the activation that is contracted.
        columns: of it.
        rows: labels of the kernel's own axis.
        features: of each other axis of the kernel the dimension of the activation that
            it contracts; None where it contracts none. Empty where the kernel is not
            the parameter as it is.
    """

    equation: int
    slot: int
    dimension: int
    columns: Axis
    rows: np.ndarray
    features: tuple[int | None, ...] = ()


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
        dims = eqn.params["axes"]
        for place in dims:
            why = f"{eqn.primitive.name} runs over it"
            self.labels.fix(axes[0][place], why)
        return [[a for place, a in enumerate(axes[0]) if place not in dims]]

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
        dims = eqn.params["dimensions"]
        for place in dims:
            self.labels.fix(axes[0][place], "one unit of a larger axis is taken out")
        return [[a for place, a in enumerate(axes[0]) if place not in dims]]

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
        return [[axis and tuple(c[span] for c in axis) for axis, span in pairs]]

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
        # Label 0 is no label: it fills up what has fewer columns than another input.
        columns = [
            [*part, *[np.zeros(n, int)] * (count - len(part))]
            for part, n in zip(parts, sizes, strict=True)
        ]
        result[place] = tuple(map(np.concatenate, zip(*columns, strict=True)))
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
        dims = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        offsets = iter(numbers.offset_dims)
        for place, axis in enumerate(axes[0]):
            new = None if place in dims else next(offsets)
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
            features = self._features(eqn, side, places[1 - side])
            reading = (index, eqn.inputs[side], places[side], axis, rows, features)
            self.readings.append(Reading(*reading))

    def _features(self, eqn: Equation, side: int, row: int) -> tuple[int | None, ...]:
        """Return what the other axes of a kernel contract: heads and their features."""
        kernel = eqn.inputs[1 - side]
        if eqn.primitive.name != "dot_general" or kernel not in self.program.leaves:
            return ()
        contracted = eqn.params["dimension_numbers"][0]
        pairs = dict(zip(contracted[1 - side], contracted[side], strict=True))
        rank = len(self._shape(kernel))
        return tuple(pairs.get(axis) for axis in range(rank) if axis != row)

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
