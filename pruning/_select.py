"""Exact-k selection without a sort: bisection on ordered integers.

A float's bits, read as an unsigned integer after a monotone change of code, keep the
order of the floats. The k-th largest value is then found bit by bit: each step counts
how many keys reach a candidate. Only counts leave a leaf, so nothing is concatenated,
nothing is sorted, and a sharded leaf stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from pruning._varying import vary, varying_axes
from synaptax.checks import check_number
from synaptax.typing import Array

LIMIT = 2**31 - 1
"""The most weights one selection may count: totals are kept in int32."""

# No number's key is that low: -inf has 2^23 - 1, in 64 bits 2^52 - 1.
EXCLUDED, NAN = 0, 1
"""Keys below every number: an entry that may not be kept, and a NaN."""


class Keys(NamedTuple):
    """The keys of one leaf, made anew wherever they are compared and counted.

    Held as an array they would take as much memory again as the weights; made inside
    the reduction that counts them they take none.

    Attributes:
        shape: of the array of keys.
        make: returns it, given an int32 scalar >= 0 that changes in the loop around
            (see :func:`anew`).
    """

    shape: tuple[int, ...]
    make: Callable[[Array], Array]

    @property
    def size(self) -> int:
        """Return the number of keys."""
        return math.prod(self.shape)


class Choice(NamedTuple):
    """What separates kept from dropped entries in each of L leaves.

    Attributes:
        bound: (L,) unsigned keys; an entry above its leaf's bound is kept.
        cut: (L,) int32; an entry equal to the bound is kept if its flat index is
            below the cut.
        kept: (L,) int32 entries kept.
        floored: (L,) bool, True where the floor alone keeps the leaf from emptying.
    """

    bound: Array
    cut: Array
    kept: Array
    floored: Array


def ordered_keys(scores: Array, *, wide: bool = False) -> Array:
    """Map floats to unsigned integers of the same order.

    Args:
        scores: floats of any shape; half precision is widened first.
        wide: True for 64-bit keys (float64 scores), False for 32-bit keys.

    Returns:
        uint32 (or uint64) keys: a < b gives key(a) < key(b); -0.0 and 0.0 share a
        key; every NaN gets the key :data:`NAN`, below that of -inf.
    """
    kind, word = (np.float64, np.uint64) if wide else (np.float32, np.uint32)
    sign = np.asarray(-0.0, kind).view(word)
    infinity = np.asarray(np.inf, kind).view(word)
    # Integer tests only: a float comparison may flush subnormals to zero.
    bits = lax.bitcast_convert_type(scores.astype(kind), word)
    size = bits & ~sign
    # Of two negative floats the one of larger bits is the smaller: all bits turned
    # over. Above them the others, in their order: the sign bit set.
    key = jnp.where(bits >= sign, ~bits, bits | sign)
    key = jnp.where(size == 0, sign, key)
    # Above the bits of inf lie those of NaNs, of either sign and any payload.
    return jnp.where(size > infinity, jnp.asarray(NAN, word), key)


def target_count(density: Any, total: int) -> Array | int:
    """Return round(density * total), with ties to even, as an integer.

    Args:
        density: a Python or NumPy number or a JAX scalar, traced or not.
        total: the number of prunable weights, below 2**31.

    Returns:
        A Python integer for a concrete density (the product in float64, as Python
        computes it); for a traced one an int32 scalar, exact for the density's
        value. A traced density is clipped to [0, 1] and a NaN counts as 1, so that
        a broken schedule prunes nothing.

    Raises:
        ValueError: if a concrete density is outside [0, 1] or NaN, or not a scalar.
    """
    check_number(
        "density", density, "a number in [0, 1]", lambda share: 0 <= share <= 1
    )
    if not isinstance(density, Tracer):
        return round(float(density) * total)
    if not jnp.issubdtype(density.dtype, jnp.floating):
        density = density.astype(jnp.float32)
    # NaN < 1 is False, so that a NaN counts as 1.
    safe = jnp.where(density < 1, jnp.maximum(density, 0), 1).astype(density.dtype)
    if safe.dtype == jnp.float64:
        return jnp.round(safe * total).astype(jnp.int32)
    return _fixed_point_product(safe.astype(jnp.float32), total)


def _fixed_point_product(density: Array, total: int) -> Array:
    """Return round(density * total) for a float32 density in [0, 1], exactly.

    A float32 is m * 2**-s with a 24-bit m, so m * total needs up to 55 bits: float32
    would lose integers from 2**24 on. Here the product is built from 16-bit limbs.
    """
    word = jnp.uint32
    bits = lax.bitcast_convert_type(density, word)
    exponent = bits >> 23
    # A subnormal density, below 2^-126, times 2^31 rounds to 0: so does 0.
    mantissa = jnp.where(exponent > 0, (bits & 0x7FFFFF) | 0x800000, 0).astype(word)
    shift = word(149) - exponent  # one less than s, to keep the half bit: 22 <= shift
    low_n, high_n = word(total & 0xFFFF), word(total >> 16)
    low_m, high_m = mantissa & 0xFFFF, mantissa >> 16
    low, cross_a, cross_b = low_n * low_m, low_n * high_m, high_n * low_m
    middle = (low >> 16) + (cross_a & 0xFFFF) + (cross_b & 0xFFFF)
    lo = (middle << 16) | (low & 0xFFFF)
    hi = high_n * high_m + (cross_a >> 16) + (cross_b >> 16) + (middle >> 16)
    # XLA shifts by the width or more give 0, so one formula serves every shift.
    right, left = lax.shift_right_logical, lax.shift_left
    inner = jnp.minimum(shift, word(32))
    outer = jnp.maximum(shift, word(32)) - word(32)
    small = shift < 32
    doubled = jnp.where(
        small, left(hi, word(32) - inner) | right(lo, inner), right(hi, outer)
    )
    rest = jnp.where(
        small,
        left(right(lo, inner), inner) != lo,
        (lo != 0) | (left(right(hi, outer), outer) != hi),
    )
    half, quotient = doubled & 1, doubled >> 1
    # Half to even, as Python's round: up from a half only if the quotient is odd,
    # or if anything is left below the half.
    up = (half == 1) & (rest | ((quotient & 1) == 1))
    return (quotient + up.astype(word)).astype(jnp.int32)


def flat_index(shape: Sequence[int], turn: Array) -> Array:
    """Return each entry's row-major index, int32, as iotas that XLA can fuse.

    ``turn`` keeps it out of the memory: see :func:`anew`.
    """
    index = jnp.zeros((), jnp.int32)
    for axis, _ in enumerate(shape):
        stride = anew(jnp.int32(math.prod(shape[axis + 1 :])), turn)
        along = lax.broadcasted_iota(jnp.int32, tuple(shape), axis)
        index = along * stride if axis == 0 else index + along * stride
    return index


def anew(values: Array, turn: Array) -> Array:
    """Return ``values``, as something that depends on a number >= 0.

    What does not change in a loop XLA computes once before it, and holds: the keys of
    all weights, say. With a number that changes in the loop it cannot.
    """
    return jnp.where(turn >= 0, values, jnp.zeros_like(values))


def _add(one: tuple[Array, ...], other: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(map(lax.add, one, other))


def totals(*flags: Array) -> tuple[Array, ...]:
    """Count the True entries of two arrays or more, of one shape, in one pass.

    In one reduction of several operands, into which XLA fuses what makes the flags. A
    sum of one operand it cuts in two on a CPU, and writes the flags out in between: 4
    bytes a weight, and five times the time.
    """
    zeros = (jnp.zeros((), jnp.int32),) * len(flags)
    ones = tuple(flag.astype(jnp.int32) for flag in flags)
    return tuple(lax.reduce(ones, zeros, _add, tuple(range(flags[0].ndim))))


def total(flags: Array) -> Array:
    """Count the True entries of one array, as :func:`totals` does."""
    yes, no = totals(flags, ~flags)
    # They are equal, which XLA does not know: it must keep both counts.
    return jnp.maximum(yes, flags.size - no)


def least(flags: Array, values: Array) -> tuple[Array, Array]:
    """Return how many entries are True, and the least float32 value among them."""
    ones = (flags.astype(jnp.int32), jnp.where(flags, values, jnp.inf))
    zeros = (jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, jnp.float32))
    join = lambda one, other: (one[0] + other[0], lax.min(one[1], other[1]))
    return tuple(lax.reduce(ones, zeros, join, tuple(range(flags.ndim))))


def _bounds(
    keys: Sequence[Keys], word: Any, sizes: Array, alone: Array, need: Array
) -> tuple[Array, Array]:
    """Find per leaf the largest key that still lets ``need`` weights through.

    Args:
        keys: of L leaves.
        word: the keys' dtype.
        sizes: (L,) int32 weights per entry.
        alone: (L,) bool; the other leaves are ranked together.
        need: (L,) int32 weights wanted: a leaf's own, or the shared number.

    Returns:
        (L,) keys t with weight(keys >= t) >= need, each the largest such t, or one
        that meets ``need`` exactly; and (L,) the number of keys >= t.
    """
    width = 8 * jnp.dtype(word).itemsize

    def unfinished(carry: tuple[Array, ...]) -> Array:
        step, _, _, exact = carry
        return (step < width) & ~jnp.all(exact)

    def body(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        step, bound, reach, exact = carry
        # Two bits at a time: three candidates are counted in one pass.
        shift = (width - 2 - step).astype(word)
        trials = [
            jnp.where(
                exact, bound, bound | lax.shift_left(jnp.asarray(digit, word), shift)
            )
            for digit in (1, 2, 3)
        ]
        arrays = [key.make(step) for key in keys]
        counts = [
            jnp.stack(totals(*(key >= trial[leaf] for trial in trials)))
            for leaf, key in enumerate(arrays)
        ]
        for trial, count in zip(trials, jnp.stack(counts, axis=1), strict=True):
            # In int32 without overflow: a selection counts at most LIMIT weights.
            weight = count * sizes
            together = jnp.sum(jnp.where(alone, 0, weight), dtype=jnp.int32)
            weight = jnp.where(alone, weight, together)
            enough = weight >= need
            bound = jnp.where(enough, trial, bound)
            reach = jnp.where(enough, count, reach)
            # Met exactly: a higher bound could only let through the same entries.
            exact = exact | (weight == need)
        return step + 2, bound, reach, exact

    everything = jnp.asarray([key.size for key in keys], jnp.int32)
    start = (
        jnp.int32(0),
        jnp.zeros(len(keys), word),
        everything,
        jnp.zeros(len(keys), bool),
    )
    # In shard_map the loop's carry has to vary over the devices as its results do.
    start = vary(start, varying_axes(need))
    _, bound, reach, _ = lax.while_loop(unfinished, body, start)
    return bound, reach


def _quotas(
    above: Array, equal: Array, sizes: Array, alone: Array, need: Array
) -> Array:
    """Return how many of the entries equal to its bound each leaf keeps.

    Whole entries only, in leaf order: the first leaf that cannot keep all of its
    ties ends the shared budget.
    """
    used = above * sizes
    shared = jnp.max(jnp.where(alone, 0, need))
    remainder = shared - jnp.sum(jnp.where(alone, 0, used), dtype=jnp.int32)
    quotas = []
    for leaf in range(above.shape[0]):
        mine = need[leaf] - used[leaf]
        budget = jnp.where(alone[leaf], mine, remainder)
        take = jnp.minimum(equal[leaf], budget // sizes[leaf])
        rest = jnp.where(take < equal[leaf], 0, remainder - take * sizes[leaf])
        remainder = jnp.where(alone[leaf], remainder, rest)
        quotas.append(take)
    return jnp.stack(quotas)


def _cuts(keys: Sequence[Keys], bound: Array, equal: Array, quota: Array) -> Array:
    """Return the flat index below which ``quota`` of a leaf's ties lie.

    By search, four ways at a time. No leaf is touched unless some leaf must keep a
    part of its ties.
    """
    sizes = jnp.asarray([key.size for key in keys], jnp.int32)
    settled = (quota == 0) | (quota == equal)
    low = jnp.where(settled & (quota > 0), sizes, 0)
    high = jnp.where(settled & (quota == 0), 0, sizes)

    def body(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = carry
        quarter = (high - low) // 4
        middles = [low + quarter, low + (high - low) // 2, high - 1 - quarter]
        middles = [jnp.clip(middle, low, high - 1) for middle in middles]
        inside = []
        for leaf, key in enumerate(keys):
            turn = low[leaf]
            tie = key.make(turn) == bound[leaf]
            index = flat_index(key.shape, turn)
            below = [tie & (index < middle[leaf]) for middle in middles]
            inside.append(jnp.stack(totals(*below)))
        open_ = low < high
        for middle, count in zip(middles, jnp.stack(inside, axis=1), strict=True):
            # A settled leaf has low == high and must stay so.
            enough = count >= quota
            low = jnp.where(open_ & ~enough, jnp.maximum(low, middle + 1), low)
            high = jnp.where(open_ & enough, jnp.minimum(high, middle), high)
        return low, high

    def unfinished(carry: tuple[Array, Array]) -> Array:
        return jnp.any(carry[0] < carry[1])

    return lax.while_loop(unfinished, body, (low, high))[0]


def choose(
    keys: Sequence[Keys],
    word: Any,
    sizes: Sequence[int],
    budget: Array,
    *,
    together: bool,
    floor: Array | int,
) -> Choice:
    """Choose the best entries of L leaves within a budget of weights.

    Entries are ordered by key, then leaf, then flat index; the longest prefix whose
    weight fits the budget is kept. A leaf left with fewer than ``floor`` entries gets
    its own best ``floor`` entries instead, at the others' expense.

    Args:
        keys: of L leaves, :data:`EXCLUDED` where an entry may not be kept.
        word: their dtype, uint32 or uint64.
        sizes: weights per entry in each leaf.
        budget: (L,) int32 weights for each leaf, or the shared number L times.
        together: rank all leaves together, or each alone.
        floor: entries each leaf keeps at least, where it has them.

    Returns:
        The choice, for :func:`chosen`.
    """
    weights = jnp.asarray(sizes, jnp.int32)
    allowed = [total(key.make(budget[0]) > EXCLUDED) for key in keys]
    floors = jnp.stack([jnp.minimum(floor, number) for number in allowed])
    if not together:
        floored = budget < floors * weights
        everyone = jnp.ones(len(keys), bool)
        need = jnp.maximum(budget, floors * weights)
        return _settle(keys, word, weights, everyone, need)._replace(floored=floored)

    def body(carry: tuple[Array, Choice]) -> tuple[Array, Choice]:
        _, choice = carry
        alone = choice.floored
        spent = jnp.sum(jnp.where(alone, floors * weights, 0), dtype=jnp.int32)
        shared = jnp.maximum(budget - spent, 0)
        need = jnp.where(alone, floors * weights, shared)
        choice = _settle(keys, word, weights, alone, need)
        short = (choice.kept < floors) & ~alone
        return jnp.any(short), choice._replace(floored=alone | short)

    leaves = len(keys)
    nothing = jnp.zeros(leaves, jnp.int32)
    empty = Choice(jnp.zeros(leaves, word), nothing, nothing, jnp.zeros(leaves, bool))
    start = vary((jnp.array(True), empty), varying_axes(budget))
    # Each pass fixes at least one more leaf at its floor; one pass is the rule.
    return lax.while_loop(lambda carry: carry[0], body, start)[1]


def _settle(
    keys: Sequence[Keys], word: Any, sizes: Array, alone: Array, need: Array
) -> Choice:
    """Solve for given floors: bounds first, then the ties at each bound."""
    bound, reach = _bounds(keys, word, sizes, alone, need)
    over = [key.make(reach[leaf]) > bound[leaf] for leaf, key in enumerate(keys)]
    above = jnp.stack([total(flags) for flags in over])
    equal = reach - above
    quota = _quotas(above, equal, sizes, alone, need)
    # The budget may exceed what is allowed; the excluded are no ties to draw from.
    quota = jnp.where(bound == EXCLUDED, 0, quota)
    cuts = _cuts(keys, bound, equal, quota)
    return Choice(bound, cuts, above + quota, alone)


def chosen(key: Array, bound: Array, cut: Array) -> Array:
    """Return the boolean mask of the kept entries of one leaf."""
    ties = (key == bound) & (flat_index(key.shape, cut) < cut)
    return ((key > bound) | ties) & (key > EXCLUDED)
