"""Exhaustive answers for tiny binary perceptrons: the oracle of everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from binary._checks import check_binary
from binary.instances import Instance, check_instance

LARGEST = 27


def _halves(one: Instance) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Return valid patterns, all weight vectors of both halves, and the threshold."""
    check_instance(one)
    patterns = np.asarray(one.patterns)[np.asarray(one.valid)]
    if np.issubdtype(patterns.dtype, np.integer):
        patterns = patterns.astype(np.int32)
    size = patterns.shape[1]
    if size > LARGEST:
        raise ValueError(
            f"one: expected at most {LARGEST} weights to enumerate, got {size}"
        )
    # A field is the sum of its halves' fields: 2^(N/2) products of each half, not 2^N.
    parts = []
    for count in (size // 2, size - size // 2):
        # Row c holds the bits of c, the lowest first: (2^n, n) of +-1.
        codes = np.arange(2**count)[:, None] >> np.arange(count)
        parts.append((2 * (codes & 1) - 1).astype(np.int32))
    # float32, as the solvers compare: kappa sqrt(N) may be a whole number to rounding.
    return patterns, parts, float(np.float32(one.margin) * np.float32(size**0.5))


def _blocks(one: Instance) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (left half, right halves, solved) for each left half of the weights."""
    patterns, (left, right), threshold = _halves(one)
    half = left.shape[1]
    fields_left = left @ patterns[:, :half].T
    fields_right = right @ patterns[:, half:].T
    for weights, fields in zip(left, fields_left, strict=True):
        yield weights, right, np.all(fields_right + fields > threshold, axis=1)


def count_solutions(one: Instance) -> int:
    """Count the weight vectors of +-1 that make no error, by trying all of them.

    For +-1 inputs, odd N and no margin the mean over instances is 2^(N - M) exactly.

    Args:
        one: an instance of at most 27 weights.

    Raises:
        ValueError: for a batch, or more weights than can be tried.

    Example:
        >>> one = binary.instance([[1, 1, 1]])  # two or three of three
        >>> binary.count_solutions(one)
        4
    """
    return sum(int(solved.sum()) for _, _, solved in _blocks(one))


def solutions(one: Instance) -> np.ndarray:
    """Return every weight vector that makes no error, shape (n, N), int8.

    Raises:
        ValueError: for a batch, or more weights than can be tried.

    Example:
        >>> one = binary.instance([[1, 1, 1], [1, -1, -1]])
        >>> binary.solutions(one).tolist()
        [[1, 1, -1], [1, -1, 1]]
    """
    blocks = [
        np.concatenate(
            [
                np.broadcast_to(weights, (int(solved.sum()), len(weights))),
                right[solved],
            ],
            axis=1,
        )
        for weights, right, solved in _blocks(one)
    ]
    return np.concatenate(blocks).astype(np.int8)


def distance_counts(one: Instance, centre: Any) -> np.ndarray:
    """Count the solutions at each Hamming distance from a weight vector.

    Args:
        one: an instance of at most 27 weights.
        centre: (N,) of +-1, a solution or not.

    Returns:
        int64, shape (N + 1,): solutions that differ from ``centre`` in k weights.

    Raises:
        ValueError: for a batch, too many weights, or a centre that does not fit.

    Example:
        >>> one = binary.instance([[1, 1, 1]])
        >>> binary.distance_counts(one, [1, 1, 1]).tolist()  # itself, and one flip
        [1, 3, 0, 0]
    """
    check_instance(one)
    check_binary(centre, "centre")
    centre = np.asarray(centre)
    size = np.asarray(one.patterns).shape[-1]
    if centre.shape != (size,):
        raise ValueError(f"centre: expected shape ({size},), got {centre.shape}")
    counts = np.zeros(size + 1, np.int64)
    for weights, right, solved in _blocks(one):
        half = len(weights)
        apart = np.sum(weights != centre[:half])
        distances = apart + np.sum(right[solved] != centre[half:], axis=1)
        counts += np.bincount(distances, minlength=size + 1)
    return counts
