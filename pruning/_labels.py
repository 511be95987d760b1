"""Labels of the entries of axes, joined where entries go together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Axis = tuple[np.ndarray, ...] | None
Axes = list[Axis]


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
            # One of the two has no label, for its axis has a
            # fixed size: so has the other's.
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
        reason = "is merged with another axis, whose units are followed"
        self.fix((*left, *right), reason if one and other else why)
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
