r"""Committee machines of binary weights: K hidden units, the majority of their signs.

The hidden signs have means a_k = erf(mu_k / sqrt(2 v_k)); their sum is Gaussian with
mean sum a_k and variance sum (1 - a_k^2), so a pattern is on the right side with
probability Phi(y sum a_k / sqrt(sum (1 - a_k^2))).

A committee is not in the sources of arXiv 1710.09825 that were read; the moments of its
units are those of that paper, the vote of the units is ours.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from binary._checks import array, check_binary, magnetisations
from binary.likelihood import log_phi
from binary.network import artefact, moments
from binary.network.layers import Dense
from binary.network.packed import Packed
from binary.perceptron import mode, predict
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
        ValueError: for arguments that do not fit each other, labels that are not +-1,
            or an even K, whose votes could tie.

    Example:
        >>> m, x, y = jnp.ones((5, 3)) / 2, jnp.ones((2, 5)), jnp.array([1.0, -1.0])
        >>> deltas = binary.network.committee.stabilities(m, x, y)
        >>> deltas.shape, bool(deltas[0] > 0 > deltas[1])
        ((2,), True)
    """
    m, x, y = _checked(m, x, y)
    stability = votes(moments.dense(m, x, signs=False))
    return y.astype(stability.dtype) * stability


def _checked(m: Any, x: Any, y: Any) -> tuple[Array, Array, Array]:
    """Return arrays of a committee's magnetisations, inputs and labels; else raise."""
    m, x = magnetisations(m), array(x, "x")
    check_binary(y, "y")
    y = array(y, "y")
    if m.ndim != 2:
        raise ValueError(f"m: expected shape (N, K), got {m.shape}")
    check_units(m.shape[1])
    if x.ndim != 2 or x.shape[1] != len(m):
        raise ValueError(f"x: expected shape (M, {len(m)}), got {x.shape}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y: expected {len(x)} labels, got shape {y.shape}")
    return m, x, y


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
    return log_phi(stabilities(m, x, y)).sum()


def errors(
    m: Float[Array, "N K"], x: Float[Array, "M N"], y: Float[Array, " M"]
) -> Int[Array, ""]:
    """Return how many patterns the committee of sign(m) gets wrong.

    N has to be odd for fields never to be zero.
    """
    m, x, y = _checked(m, x, y)
    return (predict(mode(m), x) != y.astype(jnp.int8)).sum()


def pack(weights: Any) -> Packed:
    """Return a committee, or one perceptron, as a packed network of two classes.

    Class 1 is the label +1, class 0 the label -1; it takes inputs of whole numbers, and
    is saved, loaded and asked as any network.

    Args:
        weights: (N, K) of +-1, K odd; (N,) of a perceptron.

    Raises:
        ValueError: for other weights, or an even number of units.

    Example:
        >>> packed = binary.network.committee.pack([[1, 1, -1]] * 5)
        >>> binary.network.predict(packed, np.array([[1] * 5, [-1] * 5])).tolist()
        [1, 0]
    """
    check_binary(weights, "weights")
    m = np.asarray(weights)
    if m.ndim not in (1, 2):
        raise ValueError(f"weights: expected (N,) or (N, K), got shape {m.shape}")
    m = m.reshape(len(m), -1).astype(np.float32)
    units = m.shape[1]
    check_units(units)
    vote = np.tile(
        np.array([-1, 1], np.float32), (units, 1)
    )  # (-s, s): the larger is the sign
    params = {
        "layer_0": {"m": m, "bias": np.zeros(units, np.float32)},
        "layer_1": {"m": vote, "bias": np.zeros(2, np.float32)},
    }
    return artefact.pack((Dense(units), Dense(2)), params)


def check_units(units: int, name: str = "m") -> None:
    """Raise unless the number of hidden units is odd, so that votes cannot tie."""
    if units < 1 or units % 2 == 0:
        raise ValueError(f"{name}: expected an odd number of hidden units, got {units}")
