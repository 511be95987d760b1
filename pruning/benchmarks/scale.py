"""Masks, choices and pruning steps at 1M to 1B weights, against the bytes they move.

Run with ``python -m pruning.benchmarks.scale``. ``fraction`` is of the rate at which
this device adds up a float32 array, measured in the same run. Counted is what must be
moved: each array read or written once, of a choice once in each of its passes (16 for
the bits of the threshold, 3 besides), of a sort or top_k once in and once out.

``peak`` is of a step that chooses masks, in a process of its own with one matrix of
weights, SGD with momentum and its gradient, donated: the largest memory in use less
that before the weights, over 13 bytes a weight (weights, gradients and momentum of 4,
masks of 1).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

import pruning
from synaptax.reports import harness
from synaptax.typing import Array

DENSITY, SIDE, PASSES, HELD = 0.1, 1000, 19, 13
CHANGING = pruning.polynomial(0, 10**6, DENSITY)


def chain(schedule: Any) -> optax.GradientTransformationExtraArgs:
    """Return SGD with momentum, and pruning after it."""
    sgd = optax.sgd(1e-3, momentum=0.9)
    return (
        optax.chain(sgd)
        if schedule is None
        else optax.chain(sgd, pruning.prune(schedule))
    )


def stepper(schedule: Any, params: Any, grads: Any) -> Callable[[], Any]:
    """Return a function that takes a step each time, in the memory of the last."""
    tx = chain(schedule)

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    held = [(jax.tree.map(jnp.copy, params), tx.init(params))]

    def call() -> Any:
        held[0] = compiled(*held[0], grads)
        return held[0]

    return call


def ways(scores: Array) -> dict[str, tuple[Callable[[], Any], float]]:
    """Return name -> (function, bytes moved a weight)."""
    tree = {"w": scores}
    mask = pruning.magnitude_mask(tree, DENSITY)
    kept = round(DENSITY * scores.size)
    apply = jax.jit(pruning.apply_mask)
    select = jax.jit(lambda tree: pruning.select(tree, DENSITY))
    top = jax.jit(lambda s: s >= lax.top_k(s.ravel(), kept)[0][-1])
    sort = jax.jit(lambda s: s >= jnp.sort(s.ravel())[s.size - kept])
    return {
        "select": (lambda: select(tree), 4 * PASSES + 1),
        "top_k": (lambda: top(scores), 8),
        "sort": (lambda: sort(scores), 8),
        "apply_mask": (lambda: apply(tree, mask), 9),
        "sgd step": (stepper(None, tree, tree), 20),
        "the same, masks held": (stepper(pruning.manual(), tree, tree), 21),
        "the same, masks chosen": (stepper(CHANGING, tree, tree), 22 + 9 * PASSES),
    }


def run(sizes: Sequence[int], repeats: int, limit: int) -> list[dict[str, Any]]:
    """Time everything at every size, one after the other: each needs the memory.

    Args:
        sizes: numbers of weights, multiples of 1000.
        repeats: timed calls.
        limit: the largest size that is sorted.

    Returns:
        One row per size and work.
    """
    stream = jnp.ones(2**26)
    times = harness.measure({"sum": jax.jit(jnp.sum)}, stream, repeats=5)
    rate = 4 * stream.size / times["sum"].best
    rows = []
    for size in sizes:
        scores = jnp.abs(jax.random.normal(jax.random.key(0), (size // SIDE, SIDE)))
        base = None
        for name, (call, moved) in ways(scores).items():
            if name in ("top_k", "sort") and size > limit:
                continue
            time = harness.measure({name: call}, repeats=repeats)[name]
            base = base or time.best
            rows.append(
                {
                    "work": name,
                    "weights": size,
                    "best_ms": 1e3 * time.best,
                    "over_select": time.best / base,
                    "gb_s": moved * size / time.best / 1e9,
                    "fraction": moved * size / time.best / rate,
                    "stream_gb_s": rate / 1e9,
                    "peak": "",
                }
            )
        rows[-1]["peak"] = peak_of(size)
    return rows


def peak_of(size: int) -> str:
    """Return the peak memory of a step that chooses masks, measured in a child."""
    command = [sys.executable, "-m", "pruning.benchmarks.scale", "--peak", str(size)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    told = json.loads(out.splitlines()[-1])
    return f"{told['bytes'] / (HELD * size):.3f}"


def peak(size: int) -> None:
    """Take steps that choose masks; print the memory that they took, as JSON."""
    tx = chain(CHANGING)
    x = jnp.ones((1, size // SIDE)) / size

    def step(params: Any, state: Any) -> Any:
        loss = lambda p: jnp.sum(jnp.square(jnp.square(x) @ p["w"]))
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    begin = jax.jit(
        lambda key: {"w": jax.random.uniform(key, (size // SIDE, SIDE)) - 0.5}
    )
    shapes = jax.eval_shape(begin, jax.random.key(0))
    like = (shapes, jax.eval_shape(tx.init, shapes))
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(*like).compile()
    before = _memory()
    params = begin(jax.random.key(0))
    state = tx.init(params)
    for _ in range(2):
        params, state = jax.block_until_ready(compiled(params, state))
    kept = int(jnp.sum(pruning.masks_of(state)["w"]))
    print(json.dumps({"bytes": _memory(largest=True) - before, "kept": kept}))


def _memory(*, largest: bool = False) -> int:
    """Return the bytes in use, by the device where it tells, else by the process."""
    stats = jax.devices()[0].memory_stats()
    if stats:
        return stats["peak_bytes_in_use" if largest else "bytes_in_use"]
    if largest:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    cpu = jax.default_backend() == "cpu"
    sizes = [10**6, 10**7, 10**8] + ([] if cpu else [10**9])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/scale.json")
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sort-limit", type=int, default=10**8, help="largest sorted")
    parser.add_argument("--peak", type=int, help="print the memory of one step alone")
    options = parser.parse_args(arguments)
    if options.peak:
        peak(options.peak)
        return
    rows = run(options.sizes, options.repeats, options.sort_limit)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
