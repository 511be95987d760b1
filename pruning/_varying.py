"""What differs from device to device inside ``jax.shard_map``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax import lax


def varying_axes(tree: Any) -> frozenset[str]:
    """Return the axes of ``jax.shard_map`` along which some leaf differs."""
    axes: set[str] = set()
    for leaf in jax.tree.leaves(tree):
        kind = getattr(jax.typeof(leaf), "manual_axis_type", None)
        axes |= set(getattr(kind, "varying", ()))
    return frozenset(axes)


def vary(tree: Any, axes: Iterable[str]) -> Any:
    """Mark each leaf as one that may differ along axes of ``jax.shard_map``.

    A derivative with respect to a value that is the same on all devices is summed
    over them; with respect to one that is marked so, it is this device's own.
    """

    def leaf(value: Any) -> Any:
        # pcast refuses an axis along which the value differs already.
        new = tuple(sorted(set(axes) - varying_axes(value)))
        return lax.pcast(value, new, to="varying") if new else value

    return jax.tree.map(leaf, tree) if axes else tree


def mean_over(axes: Iterable[str]) -> Callable[[Any], Any]:
    """Return the mean over axes of ``jax.shard_map``, the identity for none."""
    names = tuple(sorted(axes))
    return (lambda value: lax.pmean(value, names)) if names else (lambda value: value)
