"""One epoch of gradient ascent, in one step or in many small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from binary.likelihood import Batch
from synaptax.typing import Array


def initial_magnetisations(key: Array, size: int, scale: float = 1.0) -> Array:
    """Draw m ~ N(0, 1 / N), float32, clipped to the cube."""
    m = jax.random.normal(key, (size,)) * jnp.float32(scale / size**0.5)
    return jnp.clip(m, -1, 1)


def epoch(
    key: Array,
    params: Any,
    batch: Batch,
    size: int | None,
    update: Callable[[Any, Batch], Any],
) -> Any:
    """Go once over the patterns in random order, ``size`` at a time.

    Args:
        key: for the order.
        params: what ``update`` changes.
        batch: all the patterns.
        size: patterns an update; None for all at once.
        update: (params, patterns) -> params.
    """
    if size is None:
        return update(params, batch)
    count = batch.valid.size
    size = min(size, count)
    # The last update has what is left over, so that every pattern is seen once.
    steps = -(-count // size)
    order = jax.random.permutation(key, count)
    # Rows past the end repeat the first one, with no weight.
    index = jnp.pad(order, (0, steps * size - count)).reshape(steps, size)
    real = jnp.arange(steps * size).reshape(steps, size) < count

    def body(carry: Any, rows: tuple[Array, Array]) -> tuple[Any, None]:
        patterns = batch.rows(rows[0])
        return update(carry, patterns._replace(valid=patterns.valid & rows[1])), None

    return lax.scan(body, params, (index, real))[0]
