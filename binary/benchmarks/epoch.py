"""One epoch of full-batch ascent: patterns as bits, int8, bfloat16 or float32.

Command: ``python -m binary.benchmarks.epoch``. Each way computes X m, X sign(m) and the
transposed product of an epoch. The floor is the time to read the patterns' bytes as
often as the way reads them (twice as bits: by rows and by columns; three times dense),
at the rate at which this machine sums a float32 array of 256 MiB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from binary import bits
from synaptax.reports.harness import measure, table, write

RECORDED = Path(__file__).parents[1] / "experiments" / "recorded"
LOAD = 0.6


def dense(patterns: jax.Array, m: jax.Array) -> jax.Array:
    """Return m moved by an epoch's three products with a dense matrix."""
    signs = jnp.where(m >= 0, 1, -1).astype(patterns.dtype)
    wide = jnp.float32
    wrong = jnp.dot(patterns, signs, preferred_element_type=wide) <= 0
    delta = jnp.dot(patterns, m.astype(patterns.dtype), preferred_element_type=wide)
    pull = jnp.where(wrong, 1 - delta, 1).astype(patterns.dtype)
    slope = jnp.dot(pull, patterns, preferred_element_type=wide)
    # So small a step that m, and with it the work of the next epoch, stays alike; but a
    # step, so that no product can be left out.
    return jnp.clip(m + 1e-6 * slope, -1, 1)


def packed(planes: int) -> Callable[[bits.Packed, jax.Array], jax.Array]:
    """Return the same epoch from bits, with products of so many planes."""

    def epoch(patterns: bits.Packed, m: jax.Array) -> jax.Array:
        wrong = bits.sign_product(patterns.rows, m >= 0) <= 0
        delta = bits.product(patterns.rows, m, planes)
        pull = jnp.where(wrong, 1 - delta, 1)
        slope = bits.product(patterns.columns, pull, planes)
        return jnp.clip(m + 1e-6 * slope, -1, 1)

    return epoch


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record.

    Args:
        arguments: the command line; default: this process's.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=(1001, 10001))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RECORDED / "benchmark-epoch.json")
    options = parser.parse_args(arguments)
    # 256 MiB, more than caches hold: the rate at which memory is read.
    stream = jnp.ones(2**26)
    seconds = measure({"sum": jax.jit(jnp.sum)}, stream, repeats=3)["sum"].best
    rate = 4 * stream.size / seconds
    rows = [row for n in options.sizes for row in _ways(n, rate, options.repeats)]
    print(table(rows))
    print(f"written to {write(options.out, rows)}")
    return 0


def _ways(size: int, rate: float, repeats: int) -> list[dict[str, Any]]:
    count = round(LOAD * size)
    epochs = max(1, round(2e8 / (count * size)))
    keys = jax.random.split(jax.random.key(0))
    raw = jax.random.bits(keys[0], (count, size), jnp.uint8) & 1
    matrix = 2 * raw.astype(jnp.int8) - 1
    m = jax.random.uniform(keys[1], (size,), minval=-1)
    ways: dict[str, tuple[Callable[..., Any], Any, float]] = {}
    words = jax.jit(bits.pack)(matrix)
    for planes in (8, 12, 16):
        once = words.rows.nbytes + words.columns.nbytes
        ways[f"bits, {planes} planes"] = (packed(planes), words, once)
    for dtype in (jnp.float32, jnp.bfloat16):
        patterns = matrix.astype(dtype)
        # Three products, each of which reads the dense matrix anew.
        ways[patterns.dtype.name] = (dense, patterns, 3 * patterns.nbytes)
    rows = []
    for name, (epoch, patterns, moved) in ways.items():

        def run(patterns: Any, m: jax.Array, epoch: Any = epoch) -> jax.Array:
            return lax.fori_loop(0, epochs, lambda _, m: epoch(patterns, m), m)

        best = measure({name: jax.jit(run)}, patterns, m, repeats=repeats)[name].best
        floor = moved / rate
        rows.append(
            {
                "size": size,
                "patterns": name,
                "bytes_once": int(sum(x.nbytes for x in jax.tree.leaves(patterns))),
                "us_an_epoch": 1e6 * best / epochs,
                "floor_us": 1e6 * floor,
                "over_floor": best / epochs / floor,
                "stream_gb_s": rate / 1e9,
            }
        )
    for row in rows:
        row["against_float32"] = row["us_an_epoch"] / rows[3]["us_an_epoch"]
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
