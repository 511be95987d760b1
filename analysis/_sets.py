"""Means over a data set, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from synaptax.checks import check_integer, is_traced, wide_dtype


def at_least(least: int, **numbers: Any) -> None:
    """Raise a ValueError that names the first that is no integer >= ``least``."""
    for name, value in numbers.items():
        check_integer(name, value, least, expected=f"at least {least}")


def check_pair(data: Any) -> None:
    """Raise a ValueError unless the data are ``(x, targets)``."""
    if not (isinstance(data, tuple | list) and len(data) == 2):
        kind = type(data).__name__
        size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise ValueError(f"data: expected a pair (x, targets), got {kind}{size}")


def size_of(data: Any, argument: str = "data") -> int:
    """Return the number of examples, the common leading axis of every leaf.

    Raises:
        ValueError: naming ``argument``, if there is no leaf, no example, or the
            leaves do not agree.
    """
    leaves = jax.tree.leaves(data)
    shapes = [tuple(np.shape(leaf)) for leaf in leaves]
    # A scalar has no examples: -1, which no check below lets pass.
    sizes = {int(shape[0]) if shape else -1 for shape in shapes}
    if len(sizes) != 1 or min(sizes) < 1:
        raise ValueError(
            f"{argument}: expected arrays with one leading axis of one or more "
            f"examples, got shapes {shapes}"
        )
    return sizes.pop()


def mean_over(
    function: Callable[[Any], Any],
    data: Any,
    batch: int,
    weight: Callable[[Any], Any] | None = None,
) -> Any:
    """Return the mean over all examples of a function that averages over a batch.

    A scan over batches in the order of the data; the last one may be smaller and
    weighs as much as it has examples.

    Args:
        function: ``batch -> tree`` of floats, each a mean over the batch's examples.
        data: tree of arrays with a leading axis of N examples.
        batch: examples at a time, at least 1.
        weight: ``batch -> scalar``, what a batch's mean weighs; default: its number
            of examples.

    Returns:
        A tree like the function's, summed in float32 or wider.

    Raises:
        ValueError: if ``batch`` is below 1, the data have no common leading axis or
            a weight is no scalar.
    """
    count = size_of(data)
    at_least(1, batch=batch)
    # With fewer than a batch there would be no whole one to take the shapes from.
    batch = min(batch, count)
    if weight is not None:

        def weighed(part: Any) -> Any:
            # Over its size, since the mean over the set multiplies by that again.
            mass = jnp.asarray(weight(part), jnp.float32) / size_of(part)
            if mass.shape != ():
                raise ValueError(
                    "weight: expected a scalar, such as the sum of the batch's "
                    f"weights, got an array of shape {mass.shape}"
                )
            mass = jnp.where(mass >= 0, mass, jnp.nan)  # no mean is the right one
            # A batch that weighs nothing may have no mean: 0 / 0.
            times = lambda a: jnp.where(mass > 0, mass.astype(a.dtype) * a, 0)
            return mass, jax.tree.map(times, function(part))

        total, sums = mean_over(weighed, data, batch)
        return jax.tree.map(lambda a: a / total.astype(a.dtype), sums)
    # (1/N) sum_k n_k f_k over batches k of n_k examples: the whole ones in one scan,
    # the ragged last one by itself, as its shape is another.
    steps, rest = divmod(count, batch)
    whole = jax.tree.map(
        lambda a: a[: steps * batch].reshape(steps, batch, *a.shape[1:]), data
    )

    def widened(part: Any) -> Any:
        # A running sum in half precision drops what is small beside it.
        wide = lambda a: a.astype(wide_dtype(a.dtype, jnp.float32))
        return jax.tree.map(wide, jax.tree.map(jnp.asarray, function(part)))

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, widened(part)), None

    shape = jax.eval_shape(widened, jax.tree.map(lambda a: a[0], whole))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    total, _ = lax.scan(add, zeros, whole)
    # One scaling after the sum; a Python float leaves the sum's dtype as it is.
    total = jax.tree.map(lambda a: a * (batch / count), total)
    if rest:
        last = widened(jax.tree.map(lambda a: a[steps * batch :], data))
        total = jax.tree.map(lambda a, b: a + b * (rest / count), total, last)
    return total


def check_finite(values: Any, where: Any, argument: str) -> None:
    """Raise a ValueError that names the first place where a value is not finite.

    Args:
        values: (n,) floats; not checked while traced.
        where: n descriptions, such as coordinates.
        argument: what computed the values.

    Raises:
        ValueError: as described.
    """
    if is_traced(values):
        return
    non_finite = np.flatnonzero(~np.isfinite(np.asarray(values, np.float64)))
    if non_finite.size:
        place = np.asarray(where[int(non_finite[0])]).tolist()
        raise ValueError(
            f"{argument}: the value at {place} is not finite "
            f"({non_finite.size} of {math.prod(np.shape(values))} are not)"
        )
