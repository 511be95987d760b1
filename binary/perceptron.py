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
from synaptax.typing import Array, Float, Int, Key, Shaped

__all__ = [
    "Instance",
    "Verdict",
    "draw",
    "errors",
    "instance",
    "mean_predict",
    "mode",
    "predict",
    "stack",
    "storage",
    "teacher_student",
    "verify",
]


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


def verify(weights: Any, one: Instance) -> Verdict:
    """Count the errors of binary weights again, by NumPy, in integers.

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
    up = np.packbits(np.asarray(weights) > 0)
    differ = np.bitwise_count(np.packbits(kept > 0, axis=-1) ^ up)
    fields = patterns.shape[-1] - 2 * differ.sum(-1, dtype=np.int64)
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
