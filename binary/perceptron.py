"""Predictors of a distribution over binary weights, and what they get wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from binary._checks import check_binary, check_magnetisations
from binary.instances import Instance, instance, stack, storage, teacher_student
from binary.likelihood import is_binary, threshold
from pruning._typing import Array, Float, Int, Key, Shaped

__all__ = [
    "Instance",
    "Packed",
    "Verdict",
    "draw",
    "errors",
    "instance",
    "mean_predict",
    "mode",
    "pack",
    "packed_errors",
    "predict",
    "stack",
    "storage",
    "teacher_student",
    "verify",
]


class Packed(NamedTuple):
    """The +-1 patterns of an instance as bits, 32 a word.

    Attributes:
        words: (M, ceil(N / 32)) uint32; a bit is set where the entry is +1, and in no
            padding.
    """

    words: Int[Array, "*batch M words"]


class Verdict(NamedTuple):
    """What integer arithmetic says of a weight vector.

    Attributes:
        solved: no pattern is wrong.
        errors: number of patterns that are wrong.
        patterns: number of patterns asked.
    """

    solved: bool
    errors: int
    patterns: int


def mode(m: Float[Array, "*batch N"]) -> Int[Array, "*batch N"]:
    """Return sign(m), the most likely binary weights, as int8; 0 counts as +1."""
    return jnp.where(m >= 0, 1, -1).astype(jnp.int8)


def draw(key: Key[Array, ""], m: Float[Array, " N"]) -> Int[Array, " N"]:
    """Draw binary weights W ~ Q_m, as int8.

    Args:
        key: a typed key.
        m: magnetisations in [-1, 1].

    Raises:
        ValueError: if m leaves [-1, 1].
    """
    check_magnetisations(m)
    up = jax.random.uniform(key, m.shape, m.dtype) < (1 + m) / 2
    return jnp.where(up, 1, -1).astype(jnp.int8)


def predict(weights: Int[Array, " N"], inputs: Shaped[Array, "M N"]) -> Array:
    """Return the labels sign(W . x) of inputs, as int8."""
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        return jnp.sign(inputs @ weights.astype(inputs.dtype)).astype(jnp.int8)
    return jnp.sign(_integer_fields(weights, inputs)).astype(jnp.int8)


def mean_predict(m: Float[Array, " N"], inputs: Shaped[Array, "M N"]) -> Array:
    """Return the labels sign(m . x) of the averaged predictor, as int8."""
    return jnp.sign(inputs.astype(m.dtype) @ m).astype(jnp.int8)


def errors(weights: Int[Array, " N"], one: Instance) -> Int[Array, ""]:
    """Return how many patterns binary weights get wrong, as int32.

    Integer arithmetic for +-1 inputs. A pattern at the margin or on a tie is wrong.
    """
    if is_binary(one):
        fields = _integer_fields(weights, one.patterns).astype(jnp.float32)
    else:
        fields = one.patterns @ weights.astype(one.patterns.dtype)
    wrong = fields <= threshold(one, fields.dtype)
    return jnp.sum(wrong & one.valid, dtype=jnp.int32)


def pack(patterns: Int[Array, "*batch M N"]) -> Packed:
    """Return +-1 patterns as bits, 32 a word, an eighth of their int8 bytes."""
    return Packed(_words(patterns > 0))


def packed_errors(
    weights: Shaped[Array, " N"], packed: Packed, one: Instance
) -> Int[Array, ""]:
    """Return the errors of sign(weights) by exclusive-or and population count.

    Args:
        weights: binary weights, or magnetisations, of which the mode counts.
        packed: the bits of ``one.patterns``.
        one: the instance, with +-1 inputs.
    """
    differ = lax.population_count(packed.words ^ _words(weights >= 0)[None])
    apart = jnp.sum(differ.astype(jnp.int32), axis=-1)
    fields = (weights.size - 2 * apart).astype(jnp.float32)
    wrong = fields <= threshold(one, jnp.float32)
    return jnp.sum(wrong & one.valid, dtype=jnp.int32)


def verify(weights: Any, one: Instance) -> Verdict:
    """Count the errors of binary weights again, in NumPy's 64-bit integers.

    It shares no code with the solvers.

    Args:
        weights: (N,) of +-1.
        one: an instance with +-1 inputs.

    Raises:
        ValueError: if the weights are not +-1 or do not fit, or the inputs are real.
    """
    if not is_binary(one):
        raise ValueError("one: expected an instance with +-1 inputs, got real ones")
    check_binary(weights, "weights")
    patterns = np.asarray(one.patterns)
    if weights.shape != patterns.shape[-1:]:
        raise ValueError(
            f"weights: expected {patterns.shape[-1]} entries, got shape {weights.shape}"
        )
    kept = patterns[np.asarray(one.valid)]
    fields = np.where(kept > 0, np.asarray(weights, np.int64), 0).sum(1)
    fields = 2 * fields - np.asarray(weights, np.int64).sum()
    bound = float(one.margin) * float(np.sqrt(patterns.shape[-1]))
    wrong = int(np.sum(fields <= bound))
    return Verdict(wrong == 0, wrong, len(kept))


def _integer_fields(weights: Array, inputs: Array) -> Array:
    wide = jnp.int32
    return lax.dot_general(
        inputs.astype(jnp.int8),
        weights.astype(jnp.int8),
        (((inputs.ndim - 1,), (0,)), ((), ())),
        preferred_element_type=wide,
    )


def _words(bits: Array) -> Array:
    short = -bits.shape[-1] % 32
    padded = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, short)])
    grouped = padded.reshape(*bits.shape[:-1], -1, 32).astype(jnp.uint32)
    places = jnp.arange(32, dtype=jnp.uint32)
    powers = jnp.left_shift(jnp.ones(32, jnp.uint32), places)
    shaped = powers.reshape((1,) * (grouped.ndim - 1) + (32,))
    return jnp.sum(grouped * shaped, axis=-1, dtype=jnp.uint32)
