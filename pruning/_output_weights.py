"""The weights of the outputs, alpha, that a sensitivity is taken with."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from synaptax.checks import check_integer, check_key
from synaptax.typing import Array, Float


def unspecific(classes: int) -> Float[Array, " C"]:
    """Return the weights ``alpha_k = 1/C`` of the unspecific sensitivity.

    Args:
        classes: the number of outputs C, at least 1.

    Returns:
        float32 array of shape (C,).

    Raises:
        ValueError: if ``classes`` is not a positive integer.

    Reference: arXiv 1810.11764.

    Example:
        >>> pruning.unspecific(4).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    positive("classes", classes)
    return jnp.full((classes,), 1 / classes, jnp.float32)


def specific(labels: Any, classes: int) -> Float[Array, "B C"]:
    """Return one-hot rows: the output of the true class alone.

    Args:
        labels: integer array of shape (B,), each in ``[0, classes)``.
        classes: the number of outputs C.

    Returns:
        float32 array of shape (B, C).

    Raises:
        ValueError: if labels are not integers, not one-dimensional, or (where their
            values are known, that is outside ``jit``) out of range.

    Reference: arXiv 1810.11764, ``alpha_k = y*_k``.

    Example:
        >>> pruning.specific(jnp.array([2, 0]), 3).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    positive("classes", classes)
    if not hasattr(labels, "dtype"):
        labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels: expected integers of shape (B,), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if not isinstance(labels, Tracer):
        values = np.asarray(labels)
        outside = values[(values < 0) | (values >= classes)]
        if outside.size:
            raise ValueError(f"labels: {outside[0]} is not in [0, {classes})")
    return jax.nn.one_hot(labels, classes, dtype=jnp.float32)


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
        positive(name, value)
    check_key(key)
    if draws > classes:
        raise ValueError(f"draws: expected at most classes = {classes}, got {draws}")
    if draws == 1:
        picks = jax.random.randint(key, (batch,), 0, classes)
        return jax.nn.one_hot(picks, classes, dtype=jnp.float32)
    # The places of the largest of C independent uniforms are a sample of the classes
    # without replacement, each as likely as the other.
    order = jax.random.uniform(key, (batch, classes))
    picks = jax.lax.top_k(order, draws)[1]
    return jax.nn.one_hot(picks, classes, dtype=jnp.float32).sum(1) / draws


def checked_weights(
    alpha: Any, batch: int, classes: int, support: int | None = None
) -> Array:
    """Return alpha as (C,) or (B, C), checked as far as its values are known."""
    if jnp.shape(alpha) not in ((classes,), (batch, classes)):
        raise ValueError(
            f"alpha: expected shape ({classes},) or ({batch}, {classes}), "
            f"got {jnp.shape(alpha)}"
        )
    if jnp.iscomplexobj(alpha):
        raise ValueError("alpha: expected real numbers, got complex ones")
    if not isinstance(alpha, Tracer):
        values = np.asarray(alpha, np.float64)
        most = int(np.count_nonzero(values, axis=-1).max(initial=0))
        if support is not None and most > support:
            raise ValueError(
                f"support: {support}, but a row of alpha has {most} non-zero entries"
            )
        if not np.all(values >= 0) or not np.all(np.isfinite(values)):
            raise ValueError("alpha: expected finite non-negative values")
    return jnp.asarray(alpha)


def positive(name: str, value: int) -> None:
    """Raise a ValueError that names the argument unless it is an integer >= 1."""
    check_integer(name, value, 1, expected="a positive integer")
