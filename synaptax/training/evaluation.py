"""Losses, errors and sums over a whole data set, in parts that fit the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from synaptax.data.images import Batch
from synaptax.nets.models import ApplyFn, Network
from synaptax.typing import Array

_EVALUATION_CHUNK = 500


def evaluating(net: Network, stats: Any) -> ApplyFn:
    """Return ``(params, x) -> logits`` in evaluation mode, with given statistics."""
    return lambda params, x: net.apply(params, stats, x)


def cross_entropy(logits: Array, label: Array) -> Array:
    """Return the cross-entropy of each example, in nats: shape (B,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def evaluate(
    apply_fn: Callable[[Any, Any], Any], params: Any, data: Batch
) -> tuple[Array, Array]:
    """Return the mean loss and the error (a fraction) over a data set.

    Args:
        apply_fn: ``(params, image) -> logits``.
        params: the weights.
        data: the examples, any number.

    Returns:
        Two float32 scalars.
    """

    def sums(part: Batch) -> tuple[Array, Array]:
        logits = apply_fn(params, part.image)
        wrong = jnp.argmax(logits, axis=-1) != part.label
        # Wrong answers are counted in integers; the division comes last.
        return cross_entropy(logits, part.label).sum(), wrong.sum()

    count = data.label.shape[0]
    loss, wrong = summed(sums, data)
    return loss / count, wrong.astype(jnp.float32) / count


def summed(sums: Callable[[Batch], Any], data: Batch) -> Any:
    """Return ``sums(part)`` added up over parts that make up a data set.

    Args:
        sums: a function of some examples, to a tree of sums over them.
        data: the examples, any number >= 1.
    """
    count = data.label.shape[0]
    whole = count - count % _EVALUATION_CHUNK
    total = None
    if whole:
        split = lambda a: a[:whole].reshape(-1, _EVALUATION_CHUNK, *a.shape[1:])
        parts = lax.map(sums, jax.tree.map(split, data))
        total = jax.tree.map(lambda part: part.sum(0), parts)
    if whole < count:
        rest = sums(jax.tree.map(lambda a: a[whole:], data))
        total = rest if total is None else jax.tree.map(jnp.add, total, rest)
    return total
