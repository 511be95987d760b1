"""A few classes drawn for each example: sensitivity from fewer backward passes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synaptax.typing import Array, Float


def sampled(
    key: Array, batch: int, classes: int, draws: int = 1
) -> Float[Array, "B C"]:
    """Return weights of the outputs that estimate the unspecific sensitivity.

    Of each example ``draws`` different classes are drawn, all alike, and weigh
    ``1/draws``. So E[sum_k alpha_bk |dy_bk/dw|] = (1/C) sum_k |dy_bk/dw|: the estimate
    of S is unbiased, from ``draws`` backward passes instead of C. (Its max(0, 1 - S)
    is so, too, where no estimate exceeds 1.) With s2_b the variance, over the classes,
    of |dy_bk/dw| (divided by C - 1), that of S is

        (1/B^2) sum_b s2_b (1/draws - 1/C).

    Args:
        key: a typed PRNG key; a new one for each step.
        batch: the number of examples B.
        classes: the number of outputs C.
        draws: classes drawn of each example, from 1 to C; C gives the exact weights.

    Returns:
        float32 of shape (B, C), as ``alpha`` of :func:`pruning.sensitivity`; pass
        ``support=draws`` there, or all C passes are made.

    Raises:
        ValueError: if a size is below 1, or ``draws`` above ``classes``.

    Example:
        >>> pruning.sampled(jax.random.key(0), 2, 4, draws=2).sum(1).tolist()
        [1.0, 1.0]
    """
    for name, value in (("batch", batch), ("classes", classes), ("draws", draws)):
        if value < 1:
            raise ValueError(f"{name}: expected a positive integer, got {value}")
    if draws > classes:
        raise ValueError(f"draws: expected at most classes = {classes}, got {draws}")
    if draws == 1:
        drawn = jax.random.randint(key, (batch,), 0, classes)
        return jax.nn.one_hot(drawn, classes, dtype=jnp.float32)
    order = jax.random.uniform(key, (batch, classes))
    drawn = jax.lax.top_k(order, draws)[1]
    return jax.nn.one_hot(drawn, classes, dtype=jnp.float32).sum(1) / draws
