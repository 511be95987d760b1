r"""Products with a matrix of +-1 that is held as bits, 32 entries a word.

A vector v is rounded to integers j of P bits, j = sum_p w_p b_p with bits b_p and
weights w = 1, 2, ..., 2^(P-2), -2^(P-1). A row x of +-1 has set bits X where it is +1:

.. math:: x \cdot j = 2 \sum_p w_p \, |X \wedge b_p| - \sum_i j_i

which is exclusive to integers and population counts. The matrix takes 1/32 of its
float32 bytes, which is what bounds a product with it; with P = 12 the rounding is that
of a float with 11 bits below the largest entry.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from synaptax.typing import Array, Bool, Float, Shaped

WORD = 32


class Packed(NamedTuple):
    """A matrix of +-1 as bits, by rows and by columns; set where the entry is +1.

    Attributes:
        rows: (M, ceil(N / 32)) uint32.
        columns: (N, ceil(M / 32)) uint32.
    """

    rows: Shaped[Array, "*batch M row_words"]
    columns: Shaped[Array, "*batch N column_words"]


def pack(matrix: Shaped[Array, "M N"]) -> Packed:
    """Return a matrix of +-1 as bits."""
    up = matrix > 0
    return Packed(words(up, 1)[..., 0, :], words(up.T, 1)[..., 0, :])


def words(
    whole: Shaped[Array, "*batch n"], planes: int
) -> Shaped[Array, "*batch planes words"]:
    """Return the lowest bits of integers as words, a plane a bit, padded with zeros.

    Of W = ceil(n / 32) words, bit b of word w is of entry b W + w: the entries of one
    bit are neighbours, which vector instructions shift and join at once.

    Args:
        whole: integers or booleans.
        planes: how many bits.
    """
    count, half = -(-whole.shape[-1] // WORD), WORD // 2
    short = count * WORD - whole.shape[-1]
    padded = jnp.pad(whole, [(0, 0)] * (whole.ndim - 1) + [(0, short)])
    # (..., planes, half, bit, word): entry ((16 half + bit) W + word). As uint32 a
    # negative integer keeps its bits: two's complement.
    runs = padded.reshape(*whole.shape[:-1], 1, 2, half, count).astype(jnp.uint32)
    shape = (*whole.shape[:-1], planes, 2, count)
    plane = lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 3)
    halves = jnp.zeros(shape, jnp.uint32)
    for bit in range(half):
        halves = halves | ((runs[..., bit, :] >> plane) & 1) << bit
    place = half * lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 2)
    # A reduction at the end: XLA would compute an elementwise end anew for every row.
    return jnp.bitwise_or.reduce(halves << place, axis=-2)


def sign_product(rows: Shaped[Array, "M words"], up: Bool[Array, " N"]) -> Array:
    """Return the exact int32 products of the rows with +1 where ``up``, else -1."""
    # x . s = N - 2 |X xor S|; the bits of padding are 0 in both and do not differ.
    differ = lax.population_count(rows ^ words(up, 1))
    return up.size - 2 * jnp.sum(differ.astype(jnp.int32), axis=-1)


def product(
    rows: Shaped[Array, "M words"], vector: Float[Array, " N"], planes: int
) -> Float[Array, " M"]:
    """Return the products of the rows with a real vector rounded to ``planes`` bits.

    Args:
        rows: words of the matrix.
        vector: real; its largest magnitude sets the unit of rounding.
        planes: bits kept, the sign's included; see :func:`check_planes`.
    """
    # The same range on both sides of 0, so that rounding is odd in the vector.
    top = 2 ** (planes - 1) - 1
    largest = jnp.max(jnp.abs(vector))
    # At least the smallest normal number: a vector of zeros is not divided by 0.
    unit = jnp.maximum(largest, jnp.finfo(vector.dtype).tiny * top) / top
    whole = jnp.round(vector / unit).astype(jnp.int32)
    masks = words(whole, planes)
    shared = jnp.zeros(rows.shape, jnp.int32)
    for plane in range(planes):  # unrolled, so that the rows are read once
        count = lax.population_count(rows & masks[plane][None]).astype(jnp.int32)
        # The sign bit of two's complement weighs -2^(P-1).
        weight = -(2**plane) if plane == planes - 1 else 2**plane
        shared = shared + weight * count
    # x . j = 2 sum_p w_p |X and b_p| - sum_i j_i, all in int32
    exact = 2 * jnp.sum(shared, axis=-1) - jnp.sum(whole)
    return exact.astype(vector.dtype) * unit


def check_planes(planes: int, size: int) -> None:
    """Raise unless the products of ``planes`` bits over ``size`` entries fit int32."""
    # |2 sum_p w_p |X and b_p|| <= 2 N 2^(P-1); and 24 bits are what a float32 holds.
    if not 2 <= planes <= 24 or size * 2**planes > 2**31:
        raise ValueError(
            f"planes: expected at least 2 bits and size * 2^planes <= 2^31, got "
            f"{planes} at size {size}"
        )
