"""Slow and obvious references, in float64 NumPy."""

import numpy as np
from scipy.special import log_ndtr


def log_likelihood(m, patterns, margin=0.0):
    """Return the sum of log Phi(Delta), a pattern at a time."""
    total = 0.0
    for row in patterns:
        spread = sum((1 - a * a) * x * x for a, x in zip(m, row, strict=True))
        field = sum(a * x for a, x in zip(m, row, strict=True))
        total += log_ndtr((field - margin * np.sqrt(len(m))) / np.sqrt(spread))
    return total


def probability(m, row):
    """Return P(W . x > 0) for W ~ Q_m: the exact distribution, weight by weight."""
    size = len(m)
    chance = np.zeros(2 * size + 1)  # of a field of -size .. size
    chance[size] = 1.0
    for a, x in zip(m, row, strict=True):
        up = (1 + a * x) / 2
        chance = up * np.roll(chance, 1) + (1 - up) * np.roll(chance, -1)
    return chance[size + 1 :].sum()


def errors(weights, patterns):
    """Return how many patterns are not strictly on the right side."""
    return sum(
        int(np.dot(weights.astype(int), row.astype(int))) <= 0 for row in patterns
    )
