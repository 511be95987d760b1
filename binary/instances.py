"""Instances of the binary perceptron: what is to be stored or learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from binary._checks import array, check_binary, concrete, number, numbers
from synaptax.checks import (
    check_boolean,
    check_flags,
    check_integer,
    check_key,
    wide_dtype,
)
from synaptax.typing import Array, Bool, Float, Int, Key, Shaped


class Instance(NamedTuple):
    """A set of patterns that a weight vector of +1 and -1 is to classify.

    Stacked instances have a leading axis on every leaf.

    Attributes:
        patterns: (M, N), y * x: int8 of +-1 for binary inputs, floating for real ones.
            A weight vector W is right on pattern mu when W . patterns[mu] is above the
            margin.
        labels: (M,) int8, y, so that the inputs are ``labels * patterns``.
        valid: (M,) boolean; False where a row only pads the instance.
        margin: scalar float32, kappa: W . patterns[mu] > kappa * sqrt(N) is asked for.
        teacher: (N,) int8, the weights that gave the labels; zeros if there are none.

    Example:
        >>> one = binary.storage(jax.random.key(0), 5, 0.6)  # N = 5, M = 3
        >>> one.patterns.shape, one.labels.shape, one.patterns.dtype.name
        ((3, 5), (3,), 'int8')
    """

    patterns: Shaped[Array, "*batch M N"]
    labels: Int[Array, "*batch M"]
    valid: Bool[Array, "*batch M"]
    margin: Float[Array, "*batch"]
    teacher: Int[Array, "*batch N"]


def instance(
    inputs: Any, labels: Any = None, *, margin: float = 0.0, binary: bool | None = None
) -> Instance:
    """Make an instance of given inputs and labels.

    Args:
        inputs: (M, N), of +-1 or real.
        labels: (M,), of +-1; all +1 by default.
        margin: kappa >= 0, in units of sqrt(N).
        binary: whether the inputs are +-1; default: whether their dtype is an integer.

    Returns:
        The instance, with labels folded into the patterns.

    Raises:
        ValueError: naming the argument, for inputs that are not a matrix of at least
            one pattern and one column, are not finite, or are not +-1 where they must
            be; for +-1 inputs with an even number of columns and no margin, where
            W . x may be 0; for labels of another number or kind; for a margin that is
            negative or not finite.

    Example:
        >>> one = binary.instance([[1, -1, 1], [-1, -1, 1]], [1, -1])
        >>> one.patterns.tolist()  # labels folded in
        [[1, -1, 1], [1, 1, -1]]
    """
    inputs, margin = array(inputs, "inputs"), _margin(margin)
    if inputs.ndim != 2:
        raise ValueError(f"inputs: expected a matrix (M, N), got shape {inputs.shape}")
    if 0 in inputs.shape:
        raise ValueError(
            f"inputs: expected at least one pattern and one column, got {inputs.shape}"
        )
    labels = (
        jnp.ones(len(inputs), jnp.int8) if labels is None else array(labels, "labels")
    )
    if labels.shape != inputs.shape[:1]:
        raise ValueError(
            f"labels: expected {len(inputs)}, one a pattern, got shape {labels.shape}"
        )
    check_binary(labels, "labels")
    real = jnp.issubdtype(inputs.dtype, jnp.floating)
    if binary is None:
        binary = not real
    check_flags(binary=binary)
    if binary:
        check_binary(inputs, "inputs")
        check_odd(inputs.shape[1], margin)
        inputs = inputs.astype(jnp.int8)
    else:
        inputs = inputs.astype(
            wide_dtype(inputs.dtype, jnp.float32) if real else jnp.float32
        )
    return _make(inputs, labels.astype(jnp.int8), margin, None)


def storage(
    key: Key[Array, ""], size: int, load: float, *, margin: float = 0.0, real=False
) -> Instance:
    """Draw round(load * size) random patterns with random labels.

    Args:
        key: a typed key; the same key gives the same instance.
        size: N, odd unless the inputs are real or there is a margin.
        load: alpha = M / N > 0.
        margin: kappa >= 0.
        real: standard normal inputs instead of +-1.

    Returns:
        The instance.

    Raises:
        ValueError: for an even size with ties, or a load that leaves no pattern.

    Example:
        >>> one = binary.storage(jax.random.key(0), 101, 0.5)
        >>> one.patterns.shape
        (50, 101)
    """
    count, margin = pattern_count(size, load), _margin(margin)
    check_flags(real=real)
    check_key(key)
    keys = jax.random.split(key)
    if not real:
        check_odd(size, margin)
    inputs = _inputs(keys[0], count, size, real)
    labels = random_signs(keys[1], (count,))
    return _make(inputs, labels, margin, None)


def teacher_student(
    key: Key[Array, ""], size: int, load: float, *, real: bool = False
) -> Instance:
    """Draw round(load * size) random patterns labelled by random binary weights.

    Args:
        key: a typed key.
        size: N, odd unless the inputs are real.
        load: alpha = M / N > 0.
        real: standard normal inputs instead of +-1.

    Returns:
        The instance, with its teacher.

    Raises:
        ValueError: for an even size with ties, or a load that leaves no pattern.

    Example:
        >>> one = binary.teacher_student(jax.random.key(0), 5, 0.6)
        >>> int(binary.errors(one.teacher, one))
        0
    """
    count = pattern_count(size, load)
    check_flags(real=real)
    check_key(key)
    keys = jax.random.split(key)
    if not real:
        check_odd(size, 0.0)
    inputs = _inputs(keys[0], count, size, real)
    teacher = random_signs(keys[1], (size,))
    # int32: a sum of int8 overflows beyond 127 terms.
    wide = inputs.dtype if real else jnp.int32
    labels = jnp.sign(inputs.astype(wide) @ teacher.astype(wide)).astype(jnp.int8)
    return _make(inputs, labels, 0.0, teacher)


def stack(instances: Sequence[Instance]) -> Instance:
    """Stack instances of one size into a batch, padding the shorter ones.

    Args:
        instances: of the same number of columns and the same dtype; their numbers of
            patterns, and so their loads, may differ.

    Returns:
        One instance with a leading axis on every leaf.

    Raises:
        ValueError: if there is none, or they differ in columns or dtype.

    Example:
        >>> few, many = binary.instance([[1] * 5] * 2), binary.instance([[1] * 5] * 4)
        >>> pair = binary.stack([few, many])
        >>> pair.patterns.shape, pair.valid.sum(axis=1).tolist()
        ((2, 4, 5), [2, 4])
    """
    if isinstance(instances, Instance) or not isinstance(instances, Sequence):
        raise ValueError(
            f"instances: expected a list of them, got {type(instances).__name__}"
        )
    if not instances:
        raise ValueError("instances: expected at least one")
    for one in instances:
        check_instance(one, "instances")
    kinds = {(one.patterns.shape[-1], one.patterns.dtype) for one in instances}
    if len(kinds) > 1:
        raise ValueError(f"instances: expected one size and dtype, got {sorted(kinds)}")
    rows = max(len(one.valid) for one in instances)

    def fill(one: Instance) -> Instance:
        short = rows - len(one.valid)
        # Any +-1 will do: rows that are not valid count in no sum.
        return one._replace(
            patterns=jnp.pad(one.patterns, ((0, short), (0, 0)), constant_values=1),
            labels=jnp.pad(one.labels, (0, short), constant_values=1),
            valid=jnp.pad(one.valid, (0, short)),
        )

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(fill, instances))


def _make(inputs: Array, labels: Array, margin: Any, teacher: Array | None) -> Instance:
    count, size = inputs.shape
    return Instance(
        patterns=inputs * labels.astype(inputs.dtype)[:, None],
        labels=labels,
        valid=jnp.ones(count, bool),
        margin=jnp.asarray(margin, jnp.float32),
        teacher=jnp.zeros(size, jnp.int8) if teacher is None else teacher,
    )


def _inputs(key: Array, count: int, size: int, real: bool) -> Array:
    if real:
        return jax.random.normal(key, (count, size))
    return random_signs(key, (count, size))


def random_signs(key: Array, shape: tuple[int, ...]) -> Array:
    """Draw +1 and -1 with equal chances, int8."""
    # A random byte a sign, of which the lowest bit counts.
    bits = jax.random.bits(key, shape, jnp.uint8) & 1
    return 2 * bits.astype(jnp.int8) - 1


def pattern_count(size: Any, load: Any) -> int:
    """Return M = round(load * N), at least 1; else raise."""
    size = check_integer("size", size, 1, expected="at least 1")
    load = number("load", load, "a number", lambda x: True)
    count = round(load * size) if np.isfinite(load) else 0
    if count < 1:
        raise ValueError(f"load: {load} at size {size} leaves no pattern")
    return count


def _margin(margin: Any) -> float:
    """Return kappa as float32 holds it: one that rounds to 0 lets ties be."""
    value = number("margin", margin, "a finite number >= 0", lambda x: 0 <= x < 3e38)
    return float(np.float32(value))


def check_instance(one: Any, name: str = "one", ranks: tuple[int, ...] = (2,)) -> None:
    """Raise unless this is an instance, of parts that fit each other.

    Args:
        one: the instance.
        name: for messages.
        ranks: of its patterns: 2 for a single one, 3 for a batch.
    """
    if not isinstance(one, Instance):
        raise ValueError(
            f"{name}: expected an Instance, such as binary.storage(key, 101, 0.5), got "
            f"{type(one).__name__}"
        )
    patterns = numbers(one.patterns, f"{name}.patterns")
    if patterns.ndim not in ranks:
        expected = "patterns of shape (M, N)" + " or (B, M, N)" * (3 in ranks)
        if patterns.ndim == 3:
            raise ValueError(
                f"{name}: expected a single instance, got a batch {patterns.shape}"
            )
        raise ValueError(f"{name}: expected {expected}, got {patterns.shape}")
    batch = patterns.shape[:-2]
    for part, shape in (("valid", patterns.shape[:-1]), ("margin", batch)):
        actual = numbers(getattr(one, part), f"{name}.{part}").shape
        if actual != shape:
            raise ValueError(f"{name}.{part}: expected shape {shape}, got {actual}")
    check_boolean(one.valid, f"{name}.valid")
    margin = concrete(one.margin)
    if margin is not None and np.any(margin < 0):
        raise ValueError(f"{name}.margin: expected numbers >= 0, got {margin.min()}")
    if not jnp.issubdtype(patterns.dtype, jnp.floating):
        check_binary(patterns, name)


def check_odd(size: int, margin: float) -> None:
    """Raise for an even size without a margin, where W . x may be 0."""
    if size % 2 == 0 and margin == 0:
        raise ValueError(
            f"size: {size} is even, so that W . x may be 0, a tie; expected an odd "
            "size (or real inputs, or a margin)"
        )
