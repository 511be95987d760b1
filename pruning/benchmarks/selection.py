"""Exact-k selection by bisection against the sorts that would do the same.

Run with ``python -m pruning.benchmarks.selection``. Keeps the largest 10 % of the
magnitudes of n normal float32 weights, and checks first that all ways agree: the same
threshold, and where ties are broken by index the same mask with exactly k kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pruning.masks import select
from synaptax.reports import harness
from synaptax.typing import Array

DENSITY = 0.1


def by_bisection(scores: Array) -> Array:
    """Return the mask that :func:`pruning.masks.select` gives."""
    return select({"scores": scores}, DENSITY, min_per_leaf=0)["scores"]


def by_sort(scores: Array) -> Array:
    """Return the mask of a threshold read off a full sort (ties all kept)."""
    flat = scores.ravel()
    count = round(DENSITY * flat.size)
    return scores >= jnp.sort(flat)[flat.size - count]


def by_argsort(scores: Array) -> Array:
    """Return the mask of a stable argsort, ties by index."""
    flat = scores.ravel()
    order = jnp.argsort(flat, descending=True)[: round(DENSITY * flat.size)]
    return jnp.zeros(flat.size, bool).at[order].set(True).reshape(scores.shape)


def by_top_k(scores: Array) -> Array:
    """Return the mask of a threshold found by :func:`jax.lax.top_k`."""
    flat = scores.ravel()
    return scores >= lax.top_k(flat, round(DENSITY * flat.size))[0][-1]


WAYS: dict[str, Callable[[Array], Array]] = {
    "bisection": by_bisection,
    "sort": by_sort,
    "argsort": by_argsort,
    "top_k": by_top_k,
}
BARE = ("sort", "top_k")


def _check(ways: dict[str, Callable[[Array], Array]], scores: Array) -> None:
    """Raise unless all ways agree on these scores."""
    masks = {name: np.asarray(way(scores)) for name, way in ways.items()}
    values = np.asarray(scores)
    count = round(DENSITY * values.size)
    exact = masks["bisection"]
    for name, mask in masks.items():
        # A bare threshold keeps every tie, so it may keep more than k.
        expected = values >= values[exact].min() if name in BARE else exact
        if exact.sum() != count or not np.array_equal(mask, expected):
            raise RuntimeError(f"{name} keeps other weights than bisection")


def run(sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """Time every way at every size.

    Args:
        sizes: numbers of scores, multiples of 1000.
        repeats: timed rounds.

    Returns:
        One row per size and way: seconds and the ratio to bisection.

    Raises:
        RuntimeError: if the ways disagree.
    """
    rows = []
    ways = {name: jax.jit(way) for name, way in WAYS.items()}
    for size in sizes:
        weights = np.random.default_rng(0).standard_normal(size, np.float32)
        scores = jnp.abs(jnp.asarray(weights).reshape(-1, 1000))
        _check(ways, scores)
        times = harness.measure(ways, scores, repeats=repeats)
        base = times["bisection"].best
        for name, time in times.items():
            rows.append(
                {
                    "way": name,
                    "scores": size,
                    "best_ms": 1e3 * time.best,
                    "median_ms": 1e3 * time.median,
                    "ratio": time.best / base,
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/selection.json")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    rows = run(options.sizes, options.repeats)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
