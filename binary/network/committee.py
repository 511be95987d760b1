r"""Committee machines of binary weights: K hidden units, the majority of their signs.

The hidden signs have means a_k = erf(mu_k / sqrt(2 v_k)); their sum is Gaussian with
mean sum a_k and variance sum (1 - a_k^2), so a pattern is on the right side with
probability Phi(y sum a_k / sqrt(sum (1 - a_k^2))).

A committee is not in the sources of arXiv 1710.09825 that were read; the moments of its
units are those of that paper, the vote of the units is ours.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from binary._signs import sign
from binary.network import moments
from synaptax.typing import Array, Float, Int, Shaped


def stabilities(
    m: Float[Array, "N K"], x: Shaped[Array, "M N"], y: Float[Array, " M"]
) -> Float[Array, " M"]:
    """Return how many standard deviations each pattern's vote is on the right side.

    Args:
        m: magnetisations, one column a hidden unit.
        x: inputs, +-1 or real.
        y: labels, +-1.

    Raises:
        ValueError: if K is even, so that votes could tie.

    Example:
        >>> m, x, y = jnp.ones((5, 3)) / 2, jnp.ones((2, 5)), jnp.array([1.0, -1.0])
        >>> deltas = binary.network.committee.stabilities(m, x, y)
        >>> deltas.shape, bool(deltas[0] > 0 > deltas[1])
        ((2,), True)
    """
    check_units(m.shape[1])
    return y * votes(moments.dense(m, x, signs=False))


def votes(fields: moments.Moments) -> Float[Array, " M"]:
    """Return the sum of the signs of K fields over its standard deviation.

    Args:
        fields: moments that broadcast to (M, K), one column a hidden unit.
    """
    # a_k = erf(mu_k / sqrt(2 v_k)), then sum_k a_k / sqrt(sum_k (1 - a_k^2))
    mean = moments.sign_mean(fields)
    variance = jnp.sum((1 - mean) * (1 + mean), axis=1)
    floor = moments.FLOOR * mean.shape[1]
    return mean.sum(axis=1) / jnp.sqrt(jnp.maximum(variance, floor))


def log_likelihood(
    m: Float[Array, "N K"], x: Float[Array, "M N"], y: Float[Array, " M"]
) -> Float[Array, ""]:
    """Return the sum over patterns of log Phi(stability); see :func:`stabilities`."""
    return log_ndtr(stabilities(m, x, y)).sum()


def errors(
    m: Float[Array, "N K"], x: Float[Array, "M N"], y: Float[Array, " M"]
) -> Int[Array, ""]:
    """Return how many patterns the committee of sign(m) gets wrong.

    N has to be odd for fields never to be zero.
    """
    votes = sign(x.astype(jnp.int32) @ sign(m, jnp.int32)).sum(axis=1)
    return (votes * y.astype(jnp.int32) <= 0).sum()


def check_units(units: int) -> None:
    """Raise unless the number of hidden units is odd, so that votes cannot tie."""
    if units < 1 or units % 2 == 0:
        raise ValueError(f"m: expected an odd number of hidden units, got {units}")
