"""Predictors of a distribution over binary weights, and what they get wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from binary._checks import array, check_binary, concrete, magnetisations
from binary._signs import sign
from binary.instances import (
    Instance,
    check_instance,
    instance,
    stack,
    storage,
    teacher_student,
)
from binary.likelihood import is_binary, threshold
from synaptax.checks import check_key, wide_dtype
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
    """Return sign(m), the most likely binary weights, as int8; 0 counts as +1.

    Example:
        >>> binary.mode(jnp.array([0.2, -0.9, 0.0])).tolist()
        [1, -1, 1]
    """
    return sign(array(m, "m"), jnp.int8)


def draw(key: Key[Array, ""], m: Float[Array, " N"]) -> Int[Array, " N"]:
    """Draw binary weights W ~ Q_m, as int8.

    Args:
        key: a typed key.
        m: magnetisations in [-1, 1].

    Raises:
        ValueError: if m leaves [-1, 1].

    Example:
        >>> binary.draw(jax.random.key(0), jnp.array([1.0, -1.0, 1.0])).tolist()
        [1, -1, 1]
    """
    check_key(key)
    m = magnetisations(m)
    # Uniform numbers of 16 bits are too coarse.
    m = m.astype(wide_dtype(m.dtype, jnp.float32))
    # Uniform on [0, 1), so that m = 1 is +1 and m = -1 is -1 with certainty.
    up = jax.random.uniform(key, m.shape, m.dtype) < (1 + m) / 2
    return jnp.where(up, 1, -1).astype(jnp.int8)


def predict(weights: Int[Array, " N *K"], inputs: Shaped[Array, "M N"]) -> Array:
    """Return the labels sign(W . x) of inputs, as int8; a tie is +1.

    Args:
        weights: (N,) of +-1; (N, K) of a committee, whose majority is the label.
        inputs: of any real dtype; sums of integers are exact.

    Raises:
        ValueError: for weights that are not +-1, inputs that are not finite or of
            another size, or whose sums overflow int32.

    Example:
        >>> x = jnp.array([[1, 1, -1], [-1, -1, 1]], jnp.int8)
        >>> binary.predict(jnp.ones(3, jnp.int8), x).tolist()
        [1, -1]
    """
    weights, inputs = _signs(weights), array(inputs, "inputs")
    _check_size(inputs, len(weights))
    fields = _fields(weights, inputs)
    return sign(majority(fields) if weights.ndim == 2 else fields, jnp.int8)


def majority(fields: Array, axis: int = -1) -> Array:
    """Return the sum of the signs of K fields, the majority's sign, int32.

    Raises:
        ValueError: if K is even, so that the signs could tie.
    """
    if fields.shape[axis] % 2 == 0:
        raise ValueError(
            f"weights: expected an odd number of units, got {fields.shape[axis]}"
        )
    return jnp.sum(sign(fields, jnp.int32), axis=axis, dtype=jnp.int32)


def mean_predict(m: Float[Array, " N"], inputs: Shaped[Array, "M N"]) -> Array:
    """Return the labels sign(m . x) of the averaged predictor, as int8; a tie is +1.

    Raises:
        ValueError: for m outside [-1, 1], or inputs not finite or of another size.

    Example:
        >>> x = jnp.array([[1, 1, -1], [-1, -1, 1]], jnp.int8)
        >>> binary.mean_predict(jnp.array([0.1, 0.1, 0.9]), x).tolist()
        [-1, 1]
    """
    m, inputs = magnetisations(m), array(inputs, "inputs")
    if m.ndim != 1:
        raise ValueError(f"m: expected shape (N,), got {m.shape}")
    _check_size(inputs, len(m))
    dtype = wide_dtype(m.dtype, jnp.float32)
    return sign(inputs.astype(dtype) @ m.astype(dtype), jnp.int8)


def errors(weights: Int[Array, " N *K"], one: Instance) -> Int[Array, ""]:
    """Return how many patterns binary weights get wrong, as int32.

    Integer arithmetic for +-1 inputs. A pattern at the margin or on a tie is wrong.

    Args:
        weights: (N,) of +-1, or (N, K) of a committee.
        one: the instance.

    Raises:
        ValueError: for weights that are not +-1 or do not fit, a batch of instances,
            or a committee asked for a margin.

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, -1]])
        >>> int(binary.errors(jnp.array([1, 1, 1], jnp.int8), one))
        1
    """
    check_instance(one)
    weights = _signs(weights)
    if len(weights) != one.patterns.shape[-1]:
        raise ValueError(
            f"weights: expected {one.patterns.shape[-1]} entries, got {weights.shape}"
        )
    margin = concrete(one.margin)
    if weights.ndim == 2 and margin is not None and margin != 0:
        raise ValueError(f"one: expected no margin for a committee, got {margin}")
    if is_binary(one):
        fields = _integer_fields(weights, one.patterns).astype(jnp.float32)
    else:
        fields = one.patterns @ weights.astype(one.patterns.dtype)
    if fields.ndim == 2:
        fields = majority(fields).astype(jnp.float32)
    wrong = fields <= threshold(one, fields.dtype)
    return jnp.sum(wrong & one.valid, dtype=jnp.int32)


def verify(weights: Any, one: Instance) -> Verdict:
    """Count the errors of binary weights again, by NumPy, in integers.

    It shares no code with the solvers.

    Args:
        weights: (N,) of +-1, or (N, K) of a committee.
        one: an instance with +-1 inputs; without a margin for a committee.

    Raises:
        ValueError: if the weights are not +-1 or do not fit, or the inputs are real.

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, -1]])
        >>> binary.verify([1, 1, 1], one).errors
        1
    """
    check_instance(one)
    if not is_binary(one):
        raise ValueError("one: expected an instance with +-1 inputs, got real ones")
    check_binary(weights, "weights")
    patterns = np.asarray(one.patterns)
    size, weights = patterns.shape[-1], np.asarray(weights)
    if weights.shape[:1] != (size,) or weights.ndim > 2 or not weights.size:
        raise ValueError(f"weights: expected {size} entries, got shape {weights.shape}")
    rows = np.packbits(patterns[np.asarray(one.valid)] > 0, axis=-1)
    columns = weights.reshape(size, -1).T > 0
    # W . xi = N - 2 |W xor xi|; the bits that packbits pads with are 0 in both.
    differ = [
        np.bitwise_count(rows ^ np.packbits(up)).sum(-1, dtype=np.int64)
        for up in columns
    ]
    fields = size - 2 * np.stack(differ)
    if weights.ndim == 2:
        if one.margin != 0 or size % 2 == 0 or weights.shape[1] % 2 == 0:
            raise ValueError(
                "weights: expected a committee of odd N and K without a margin, got "
                f"{weights.shape} and margin {float(one.margin)}"
            )
        fields = np.sign(fields).sum(axis=0)
    # float32, as the solvers compare: kappa sqrt(N) may be a whole number to rounding.
    bound = np.float32(one.margin) * np.float32(np.sqrt(size))
    wrong = int(np.sum(fields <= bound))
    return Verdict(wrong == 0, wrong, len(rows))


def _signs(weights: Any) -> Array:
    """Return weights of +-1, (N,) or (N, K); else raise."""
    check_binary(weights, "weights")
    weights = jnp.asarray(weights)
    if weights.ndim not in (1, 2):
        raise ValueError(f"weights: expected (N,) or (N, K), got shape {weights.shape}")
    return weights


def _check_size(inputs: Array, size: int) -> None:
    if inputs.ndim == 0 or inputs.shape[-1] != size:
        raise ValueError(f"inputs: expected {size} columns, got shape {inputs.shape}")


def _fields(weights: Array, inputs: Array) -> Array:
    """Return W . x: exact for integers, else in at least float32."""
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        dtype = wide_dtype(inputs.dtype, jnp.float32)
        return inputs.astype(dtype) @ weights.astype(dtype)
    if inputs.dtype == jnp.int8:
        return _integer_fields(weights, inputs)
    values = concrete(inputs)
    if values is not None and values.size:
        largest = max(int(values.max()), -int(values.min()))
        # |W . x| <= N max |x|
        if largest * inputs.shape[-1] >= 2**31:
            raise ValueError(f"inputs: up to {largest}, so that sums overflow int32")
    return inputs.astype(jnp.int32) @ weights.astype(jnp.int32)


def _integer_fields(weights: Array, inputs: Array) -> Array:
    wide = jnp.int32
    return lax.dot_general(
        inputs.astype(jnp.int8),
        weights.astype(jnp.int8),
        (((inputs.ndim - 1,), (0,)), ((), ())),
        preferred_element_type=wide,
    )
