"""Instances solved per second: one call for many, many calls, and a NumPy loop.

Command: ``python -m binary.benchmarks.throughput``. The same instances (N = 1001, free
ascent, eta = 0.3) are solved in one batched call, in one call each, and by a plain
NumPy loop in float64 and in float32; then batched at other loads and batch sizes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_ndtr

from binary.instances import Instance
from binary.solvers import free, solve
from binary.success import drawn
from synaptax.reports.harness import table, write

RECORDED = Path(__file__).parents[1] / "experiments" / "recorded"
SIZE, EPOCHS = 1001, 300


def numpy_loop(patterns: np.ndarray, m: np.ndarray, rate: float) -> tuple[bool, int]:
    """Solve one instance as one would write it in NumPy; return (solved, epochs)."""
    floor = 1e-5 * m.size
    for epoch in range(EPOCHS + 1):
        if np.all(patterns @ np.where(m >= 0, 1, -1).astype(m.dtype) > 0):
            return True, epoch
        spread = max(np.sum((1 - m) * (1 + m)), floor)
        delta = patterns @ m / np.sqrt(spread)
        pull = np.exp(-(delta**2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(delta))
        slope = pull @ patterns / np.sqrt(spread) + m * (pull @ delta) / spread
        m = np.clip(m + rate * slope, -1, 1).astype(m.dtype)
    return False, EPOCHS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record.

    Args:
        arguments: the command line; default: this process's.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=256)
    parser.add_argument("--sample", type=int, default=64, help="of the slower ways")
    parser.add_argument("--out", type=Path, default=RECORDED / "benchmark-solvers.json")
    options = parser.parse_args(arguments)
    rows = _ways(options.instances, options.sample)
    for load in (0.4, 0.6, 0.66):
        for count in (16, options.instances):
            rows.append(_batched(count, load))
    for row in rows:
        row["against_batched"] = row["core_ms_each"] / rows[0]["core_ms_each"]
    print(table(rows))
    print(f"written to {write(options.out, rows)}")
    return 0


def _ways(count: int, sample: int) -> list[dict[str, Any]]:
    batch, keys = _instances(count, 0.6)
    ones = [jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in range(sample)]
    dense = [np.asarray(one.patterns, float) for one in ones]
    starts = [
        np.random.default_rng(i).normal(0, SIZE**-0.5, SIZE).clip(-1, 1)
        for i in range(sample)
    ]

    def single() -> int:
        results = [solve(free(), ones[i], keys[i]) for i in range(sample)]
        return sum(bool(one.solved) for one in results)

    def loop(dtype: Any) -> Callable[[], int]:
        own = [patterns.astype(dtype) for patterns in dense]
        return lambda: sum(
            numpy_loop(own[i], starts[i].astype(dtype), 0.3)[0] for i in range(sample)
        )

    return [
        _batched(count, 0.6),
        _row("one call each", 0.6, sample, single),
        _row("NumPy loop, float64", 0.6, sample, loop(np.float64)),
        _row("NumPy loop, float32", 0.6, sample, loop(np.float32)),
    ]


def _batched(count: int, load: float) -> dict[str, Any]:
    batch, keys = _instances(count, load)
    return _row(
        "one call for all", load, count, lambda: int(_solved(batch, keys).sum())
    )


def _solved(batch: Instance, keys: jax.Array) -> np.ndarray:
    return np.asarray(solve(free(), batch, keys, epochs=EPOCHS).solved)


def _instances(count: int, load: float) -> tuple[Instance, jax.Array]:
    rows = round(load * SIZE)
    return drawn(5000 + jnp.arange(count), SIZE, rows, jnp.int32(rows))


def _row(
    name: str, load: float, count: int, function: Callable[[], int]
) -> dict[str, Any]:
    """Time the second call; core time is what other work on the machine spares."""
    function()
    wall, core = time.perf_counter(), time.process_time()
    solved = function()
    wall, core = time.perf_counter() - wall, time.process_time() - core
    return {
        "way": name,
        "load": load,
        "instances": count,
        "solved": solved,
        "core_ms_each": 1e3 * core / count,
        "wall_ms_each": 1e3 * wall / count,
        "solved_per_core_s": solved / core,
    }


if __name__ == "__main__":
    raise SystemExit(main())
