"""An epoch as one scan over its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from synaptax.data.streaming import take
from synaptax.typing import Array


def scan_batches(
    step: Callable[[Any, Any, Any], tuple[Any, Any]],
    carry: Any,
    data: Any,
    order: Array,
    keys: Any,
    *,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> tuple[Any, Any]:
    """Scan ``step(carry, batch, key) -> (carry, out)`` over the batches of an epoch.

    How ``order`` and ``keys`` follow from the replica's key and the epoch's number is
    the caller's: it fixes the bits of a run, and old runs are taken up by it.

    Args:
        step: of one batch; pure.
        carry: what the first step begins with.
        data: a tree of arrays with a leading axis of N examples, such as a
            :class:`synaptax.data.images.Batch`; one that is too large for the device
            may be a :class:`synaptax.data.streaming.Streamed`.
        order: (steps, B) int32, the examples of each step
            (:func:`synaptax.data.images.epoch_order`).
        keys: a tree whose leaves have a leading axis of steps: typed PRNG keys, the
            steps' numbers, or both.
        place: puts a batch on its devices (:func:`synaptax.training.placing`).

    Returns:
        The last carry, and what each step gave, stacked: (steps, ...).

    Example:
        >>> def step(w, batch, key):
        ...     loss, slope = jax.value_and_grad(loss_fn)(w, batch)  # doctest: +SKIP
        ...     return w - 0.1 * slope, loss  # doctest: +SKIP
        >>> w, losses = scan_batches(step, w, train, order, keys)  # doctest: +SKIP
    """
    data = jax.tree.map(jnp.asarray, data)

    def one(carry: Any, inputs: tuple[Array, Any]) -> tuple[Any, Any]:
        index, key = inputs
        batch = place(take(data, index))
        return step(carry, batch, key)

    return lax.scan(one, carry, (order, keys))
