r"""Means and variances through layers of independent binary weights.

Weights are drawn with means m, W_ij = +-1; a layer's inputs are either given numbers x
or signs with means a. By the central limit theorem a field is Gaussian:

.. math::
    \mu_i = \sum_j m_{ij} a_j + b_i, \qquad
    v_i = \sum_j (1 - m_{ij}^2)\, x_j^2 \quad\text{or}\quad
    v_i = \sum_j (1 - m_{ij}^2 a_j^2)

and the sign of a field has mean erf(mu / sqrt(2 v)). Neurons of a layer are treated as
independent.

Reference: Baldassi et al., On the role of synaptic stochasticity in training
low-precision neural networks, arXiv 1710.09825 (the deep extension).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import erf

from synaptax.typing import Array, Float

# Of a variance, in units of the number of inputs: a field of +-1 terms differs from
# zero by at least one (or a bias), so a saturated layer still acts as exact signs.
FLOOR = 1e-6
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Moments(NamedTuple):
    """A field's mean and variance, arrays of the same shape.

    Attributes:
        mean: mu.
        variance: v, floored above zero.
    """

    mean: Array
    variance: Array


def sign_mean(field: Moments) -> Array:
    """Return the mean of the sign of a Gaussian field, erf(mu / sqrt(2 v))."""
    return erf(field.mean / jnp.sqrt(2 * field.variance))


def dense(
    m: Float[Array, "I O"], inputs: Float[Array, "*B I"], *, signs: bool
) -> Moments:
    """Return the moments of ``inputs @ W`` for W ~ Q_m.

    Args:
        m: means of the weights, in [-1, 1].
        inputs: given numbers, or means of signs.
        signs: whether the inputs are means of signs.
    """
    mean = inputs @ m
    if signs:
        variance = m.shape[0] - jnp.square(inputs) @ jnp.square(m)
    else:
        variance = jnp.square(inputs) @ ((1 - m) * (1 + m))
    return Moments(mean, jnp.maximum(variance, FLOOR * m.shape[0]))


def convolution(
    m: Float[Array, "h w C O"],
    inputs: Float[Array, "B H W C"],
    *,
    signs: bool,
    stride: int = 1,
    padding: str = "VALID",
) -> Moments:
    """Return the moments of the convolution (cross-correlation) of inputs with W ~ Q_m.

    Args:
        m: means of the kernel, in [-1, 1].
        inputs: images of given numbers, or of means of signs.
        signs: whether the inputs are means of signs; padding is a given zero.
        stride: the same along both axes.
        padding: ``"VALID"`` or ``"SAME"``.
    """

    def convolve(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=_DIMENSIONS
        )

    mean = convolve(inputs, m)
    if signs:
        # At a border only the terms inside the image count.
        one = jnp.ones((1, *inputs.shape[1:]), m.dtype)
        terms = convolve(one, jnp.ones((*m.shape[:3], 1), m.dtype))
        variance = terms - convolve(jnp.square(inputs), jnp.square(m))
    else:
        variance = convolve(jnp.square(inputs), (1 - m) * (1 + m))
    floor = FLOOR * m.shape[0] * m.shape[1] * m.shape[2]
    return Moments(mean, jnp.maximum(variance, floor))
