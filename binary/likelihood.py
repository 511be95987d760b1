r"""The log-likelihood of patterns under factorised binary weights, and its gradient.

Weights are drawn with means m: W_i = +1 with probability (1 + m_i) / 2. By the central
limit theorem a pattern is classified with probability Phi(Delta):

.. math::
    \mathcal L(m) = \sum_\mu \log \Phi(\Delta_\mu), \qquad
    \Delta_\mu = \frac{m \cdot \xi_\mu - \kappa \sqrt N}{\sqrt{S_\mu}}, \qquad
    S_\mu = \sum_i (1 - m_i)(1 + m_i) \xi_{\mu i}^2

Its error is of the order of 1e-3 at N = 1001 and q* = 0.9.

Reference: Baldassi et al., On the role of synaptic stochasticity in training
low-precision neural networks, arXiv 1710.09825.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from binary._checks import magnetisations
from binary.bits import Packed, check_planes, pack, product
from binary.instances import Instance, check_instance
from synaptax.checks import check_flags, wide_dtype
from synaptax.typing import Array, Float, Shaped

FLOOR = 1e-5  # of the variance, in units of N
_FAR = -50.0
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def self_overlap(m: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
    """Return q* = (1/N) sum_i m_i^2.

    Example:
        >>> float(binary.self_overlap(jnp.array([1.0, -1.0, 0.0, 0.0])))
        0.5
    """
    return jnp.mean(jnp.square(m), axis=-1)


def inverse_mills(delta: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Return K = G(Delta) / Phi(Delta), finite and accurate far into the left tail."""
    near = jnp.maximum(delta, _FAR)
    ratio = jnp.exp(-jnp.square(near) / 2 - _LOG_ROOT_2PI - log_ndtr(near))
    # Further left the exponent is a small difference of numbers near delta^2 / 2, all
    # rounding in float32; there K = t + 1/t - 2/t^3 + 10/t^5 - ..., with t = -delta.
    t = jnp.maximum(-delta, -_FAR)
    square = jnp.square(t)
    return jnp.where(delta < _FAR, t + (1 - (2 - 10 / square) / square) / t, ratio)


@jax.custom_jvp
def log_phi(delta: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Return log Phi(Delta); its derivative is :func:`inverse_mills`."""
    return log_ndtr(delta)


@log_phi.defjvp
def _log_phi_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log_phi(*primals), inverse_mills(*primals) * tangents[0]


def is_binary(one: Instance) -> bool:
    """Say whether an instance has inputs of +-1."""
    return not jnp.issubdtype(one.patterns.dtype, jnp.floating)


def spreads(m: Float[Array, " N"], squares: Array | None) -> Float[Array, ...]:
    """Return S, floored: a scalar if all squares are 1 (None), else one a pattern."""
    # Not 1 - m^2, which loses its digits where |m| is near 1.
    single = (1 - m) * (1 + m)
    spread = jnp.sum(single) if squares is None else squares @ single
    return jnp.maximum(spread, FLOOR * m.size)


def stabilities(m: Shaped[Array, " N"], one: Instance) -> Float[Array, " M"]:
    """Return Delta, how many standard deviations each pattern is on the right side.

    Args:
        m: magnetisations in [-1, 1].
        one: an instance of M patterns.

    Raises:
        ValueError: if m has another size or leaves [-1, 1].

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, 1]])
        >>> m = jnp.array([0.5, 0.0, 0.0])
        >>> [round(float(delta), 3) for delta in binary.stabilities(m, one)]
        [0.302, 0.302]
    """
    m, dtype = _checked(m, one)
    batch = batch_of(one, m.dtype)
    spread = spreads(m, batch.squares)
    return ((fields(m, batch) - batch.threshold) / jnp.sqrt(spread)).astype(dtype)


def _checked(m: Any, one: Instance) -> tuple[Array, Any]:
    """Return m for the patterns of one instance, widened, and its own dtype."""
    check_instance(one)
    m = magnetisations(m, one.patterns.shape[-1])
    return m.astype(wide_dtype(m.dtype, jnp.float32)), m.dtype


def threshold(one: Instance, dtype: Any) -> Array:
    """Return kappa * sqrt(N)."""
    return one.margin.astype(dtype) * math.sqrt(one.patterns.shape[-1])


def log_likelihood(m: Shaped[Array, " N"], one: Instance) -> Float[Array, ""]:
    """Return the sum over patterns of log Phi(Delta).

    Args:
        m: magnetisations in [-1, 1].
        one: the instance.

    Raises:
        ValueError: if m has another size or leaves [-1, 1].

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, 1]])
        >>> round(float(binary.log_likelihood(jnp.zeros(3), one)), 4)  # 2 log(1/2)
        -1.3863
    """
    m, dtype = _checked(m, one)
    terms = log_phi(stabilities(m, one))
    return jnp.sum(jnp.where(one.valid, terms, 0)).astype(dtype)


def gradient(
    m: Shaped[Array, " N"], one: Instance, *, detach: bool = False
) -> Float[Array, " N"]:
    r"""Return the gradient of the log-likelihood with respect to m, in closed form.

    .. math:: \sum_\mu K(\Delta_\mu) \left[ \frac{\xi_{\mu i}}{\sqrt{S_\mu}}
        + \frac{\Delta_\mu}{S_\mu} m_i \xi_{\mu i}^2 \right]

    The first term aligns; the second, for +-1 inputs, is parallel to m and moves only
    its norm. It is zero where S is at its floor.

    Args:
        m: magnetisations in [-1, 1].
        one: the instance.
        detach: leave out the second term, the gradient through the variance.

    Raises:
        ValueError: if m has another size or leaves [-1, 1].

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, 1]])
        >>> slope = binary.gradient(jnp.zeros(3), one)
        >>> slope.shape, bool(slope[0] > 0), float(slope[1])
        ((3,), True, 0.0)
    """
    check_flags(detach=detach)
    m, dtype = _checked(m, one)
    slope = ascent_direction(m, batch_of(one, m.dtype), radial=not detach)
    return slope.astype(dtype)


class Batch(NamedTuple):
    """Patterns as a step computes with them.

    Attributes:
        inputs: (M, N) int8 or floating.
        squares: None if they are all 1, else (M, N) the squares of the inputs.
        valid: (M,) boolean.
        threshold: kappa * sqrt(N).
        packed: the inputs as bits, or None.
    """

    inputs: Array
    squares: Array | None
    valid: Array
    threshold: Array
    packed: Packed | None

    def rows(self, index: Array) -> Batch:
        """Return the patterns of some rows, not packed."""
        return Batch(
            inputs=self.inputs[index],
            squares=None if self.squares is None else self.squares[index],
            valid=self.valid[index],
            threshold=self.threshold,
            packed=None,
        )


def batch_of(one: Instance, dtype: Any = jnp.float32) -> Batch:
    """Return the patterns of an instance, packed if they are +-1."""
    if is_binary(one):
        # Bits for full-batch products; the int8 patterns for rows and for float ones.
        packed = pack(one.patterns)
        return Batch(one.patterns, None, one.valid, threshold(one, dtype), packed)
    inputs = one.patterns.astype(dtype)
    return Batch(inputs, jnp.square(inputs), one.valid, threshold(one, dtype), None)


def fields(m: Array, batch: Batch, planes: int | None = None) -> Array:
    """Return m . xi of each pattern, from bits if there are bits and ``planes``."""
    if batch.packed is None or planes is None:
        return batch.inputs.astype(m.dtype) @ m
    check_planes(planes, m.size)
    return product(batch.packed.rows, m, planes)


def pulls(weights: Array, batch: Batch, planes: int | None = None) -> Array:
    """Return sum_mu weights_mu xi_mu, from bits if there are bits and ``planes``."""
    if batch.packed is None or planes is None:
        return weights @ batch.inputs.astype(weights.dtype)
    check_planes(planes, weights.size)
    return product(batch.packed.columns, weights, planes)


def ascent_direction(
    m: Array, batch: Batch, *, radial: bool, planes: int | None = None
) -> Array:
    """Return the gradient as :func:`gradient` does, with no check, inside a step.

    Args:
        m: (N,) magnetisations.
        batch: the patterns.
        radial: include the gradient through the variance.
        planes: bits of m and of K that products with packed patterns keep; None for
            products in floating point.
    """
    # Delta_mu = (m . xi_mu - kappa sqrt N) / sqrt S_mu,  K = G(Delta) / Phi(Delta)
    spread = spreads(m, batch.squares)
    delta = (fields(m, batch, planes) - batch.threshold) / jnp.sqrt(spread)
    pull = jnp.where(batch.valid, inverse_mills(delta), 0)
    # sum_mu K_mu xi_mu / sqrt S_mu
    align = pulls(pull / jnp.sqrt(spread), batch, planes)
    if not radial:
        return align
    # + sum_mu K_mu Delta_mu / S_mu  m_i xi_mu,i^2, through the variance
    free = spread > FLOOR * m.size
    push = jnp.where(free, pull * delta / spread, 0)
    if batch.squares is None:
        return align + m * jnp.sum(push)
    return align + m * (push @ batch.squares)
