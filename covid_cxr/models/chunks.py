"""Many images through one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from synaptax.data.streaming import Streamed

CHUNK = 32  # images at once where no gradient is needed


def chunked(function: Callable[[Any], Any], data: Any, *, size: int = CHUNK) -> Any:
    """Apply a function of batches to any number of examples, in equal chunks.

    Args:
        function: of a tree whose leaves have a leading axis of examples, to another;
            what it says of one example must not depend on the others.
        data: such a tree, or one stream, N >= 1 examples.
        size: examples at once.

    Returns:
        The results of all N, in order.
    """
    if isinstance(data, Streamed):  # read by chunk, too
        return chunked(
            lambda rows: function(data[rows]), jnp.arange(len(data)), size=size
        )
    count = jax.tree.leaves(data)[0].shape[0]
    size = min(size, count)
    spare = -count % size

    def cut(leaf: Any) -> Any:
        filled = jnp.concatenate([leaf, leaf[:spare]]) if spare else leaf
        return filled.reshape(-1, size, *leaf.shape[1:])

    out = lax.map(function, jax.tree.map(cut, data))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], out)
