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

from synaptax.checks import wide_dtype
from synaptax.typing import Array, Float, Shaped

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


def widened(m: Array, given: Array | None = None) -> Array:
    """Return m, or given numbers, in the dtype that fields are computed in.

    That is the dtype of m, at least float32: a sum of pixels overflows 8 and 16 bits.
    """
    return (m if given is None else given).astype(wide_dtype(m.dtype, jnp.float32))


def sign_mean(field: Moments) -> Array:
    """Return the mean of the sign of a Gaussian field, erf(mu / sqrt(2 v))."""
    return erf(field.mean / jnp.sqrt(2 * field.variance))


def dense(
    m: Float[Array, "I O"], inputs: Shaped[Array, "*B I"], *, signs: bool
) -> Moments:
    """Return the moments of ``inputs @ W`` for W ~ Q_m.

    Args:
        m: means of the weights, in [-1, 1].
        inputs: given numbers, or means of signs.
        signs: whether the inputs are means of signs.
    """
    m, inputs = widened(m), widened(m, inputs)
    mean = inputs @ m  # mu = sum_j m_ij a_j
    # v_i = sum_j (1 - m_ij^2 a_j^2) of signs, sum_j (1 - m_ij^2) x_j^2 of numbers
    if signs:
        variance = m.shape[0] - jnp.square(inputs) @ jnp.square(m)
    else:
        # Not 1 - m^2, which loses its digits where |m| is near 1.
        variance = jnp.square(inputs) @ ((1 - m) * (1 + m))
    return Moments(mean, jnp.maximum(variance, FLOOR * m.shape[0]))


def convolution(
    m: Float[Array, "h w C O"],
    inputs: Shaped[Array, "B H W C"],
    *,
    signs: bool,
    stride: int = 1,
    padding: str = "VALID",
    fill: int = 0,
) -> Moments:
    """Return the moments of the convolution (cross-correlation) of inputs with W ~ Q_m.

    Args:
        m: means of the kernel, in [-1, 1].
        inputs: images of given numbers, or of means of signs.
        signs: whether the inputs are means of signs.
        stride: the same along both axes.
        padding: ``"VALID"`` or ``"SAME"``.
        fill: what ``"SAME"`` pads with: a given zero, or a sign of +1 or -1.
    """
    m, inputs = widened(m), widened(m, inputs)
    # lax pads with zeros alone. A given +-1 is a term like any other: it counts in v.
    if padding == "SAME" and fill:
        inputs = padded(inputs, m.shape[0], stride, fill)
        padding = "VALID"

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


def padded(inputs: Array, size: int, stride: int, fill: int) -> Array:
    """Return images with the border that ``"SAME"`` adds, of a value of one's own.

    Args:
        inputs: (B, H, W, C).
        size: side of the window.
        stride: along both axes.
        fill: the value.
    """
    sides = [border(length, size, stride) for length in inputs.shape[1:3]]
    return jnp.pad(inputs, [(0, 0), *sides, (0, 0)], constant_values=fill)


def border(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return what ``"SAME"`` adds before and after a side, so that ceil(L / s) fit."""
    # Of an odd border the larger part comes after, as lax has it.
    short = max((-(-length // stride) - 1) * stride + size - length, 0)
    return short // 2, short - short // 2


def pool(means: Float[Array, "B H W C"], side: int) -> Array:
    r"""Return the means of the largest of the signs of each window.

    .. math:: a = 1 - 2 \prod_j \tfrac12 (1 - a_j)

    Signs are independent, as everywhere here; signs themselves are pooled exactly.

    Args:
        means: of signs.
        side: of the windows, which do not overlap; rows that fill none are left out.
    """
    batch, height, width, channels = means.shape
    rows, columns = height // side, width // side
    whole = means[:, : rows * side, : columns * side]
    windows = whole.reshape(batch, rows, side, columns, side, channels)
    return 1 - 2 * jnp.prod((1 - windows) / 2, axis=(2, 4))
