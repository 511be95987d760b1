"""Masks, choices and pruning steps at 1M to 1B weights, against the bytes they move.

Run with ``python -m pruning.benchmarks.scale``. ``fraction`` is of the rate at which
this device adds up a float32 array, measured in the same run. Counted is what must be
moved: each array read or written once, of a choice once in each of its passes (16 for
the bits of the threshold, 3 besides), of a sort or top_k once in and once out.

On a CPU the time is that of all cores, which other work on the machine hardly touches.

``peak`` is of a step that chooses masks, in a process of its own with one matrix of
weights and a donated state: the largest memory in use less that before the weights,
over the bytes of weights, gradients, moments and masks (13 a weight with SGD and
momentum, 17 with Adam). ``peak_xla`` is the same of XLA's analysis of its memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

import pruning
from synaptax.reports import harness

DENSITY, SIDE, PASSES = 0.1, 1000, 19
CHANGING = pruning.polynomial(0, 100, DENSITY)
HELD = {"sgd": 13, "adam": 17}
ONCE = 10**8


def optimizer(name: str) -> optax.GradientTransformation:
    """Return the optimizer whose state :data:`HELD` counts."""
    return optax.adam(1e-3) if name == "adam" else optax.sgd(1e-3, momentum=0.9)


def chain(schedule: Any, name: str = "sgd") -> optax.GradientTransformationExtraArgs:
    """Return an optimizer, and pruning after it."""
    pruner = () if schedule is None else (pruning.prune(schedule),)
    return optax.chain(optimizer(name), *pruner)


def weights(size: int) -> Any:
    """Return a tree of one matrix, uniform in [-1, 1), made without a second array."""
    shape = (size // SIDE, SIDE)
    index = lax.broadcasted_iota(jnp.uint32, shape, 0) * SIDE
    index += lax.broadcasted_iota(jnp.uint32, shape, 1)
    # Multiplication by an odd number permutes the integers below 2^32.
    mixed = lax.bitcast_convert_type(index * jnp.uint32(2654435761), jnp.int32)
    return {"w": mixed.astype(jnp.float32) / jnp.float32(2**31)}


def stepper(schedule: Any, params: Any, grads: Any) -> Callable[[], Any]:
    """Return a function that takes a step each time, in the memory of the last."""
    tx = chain(schedule)

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    carry = [(jax.tree.map(jnp.copy, params), tx.init(params))]
    compiled = _compiled(step, *carry[0], grads, donate_argnums=(0, 1))

    def call() -> Any:
        carry[0] = compiled(*carry[0], grads)
        return carry[0]

    return call


def _compiled(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return jax.jit(function, **options).lower(*args).compile()


Way = tuple[Callable[[], Callable[[], Any]], float]


def ways(tree: Any) -> dict[str, Way]:
    """Return name -> (what compiles it and returns the call, bytes moved a weight)."""
    scores = jax.tree.map(jnp.abs, tree)
    size = tree["w"].size
    count = round(DENSITY * size)
    mask = pruning.threshold_mask(tree, 1 - DENSITY)

    def ready(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        compiled = _compiled(function, *args)
        return lambda: compiled(*args)

    top = lambda s: s["w"] >= lax.top_k(s["w"].ravel(), count)[0][-1]
    sort = lambda s: s["w"] >= jnp.sort(s["w"].ravel())[size - count]
    select = lambda s: pruning.select(s, DENSITY)
    # Bytes a weight. A step of SGD reads weight, gradient and momentum and writes
    # the first and last, 20; a mask adds 1 to read, and if it is chosen 1 to write
    # and in each pass weight, update and mask, 9.
    return {
        "select": (lambda: ready(select, scores), 4 * PASSES + 1),
        "top_k": (lambda: ready(top, scores), 8),
        "sort": (lambda: ready(sort, scores), 8),
        "apply_mask": (lambda: ready(pruning.apply_mask, tree, mask), 9),
        "sgd step": (lambda: stepper(None, tree, tree), 20),
        "the same, masks held": (lambda: stepper(pruning.manual(), tree, tree), 21),
        "the same, masks chosen": (
            lambda: stepper(CHANGING, tree, tree),
            22 + 9 * PASSES,
        ),
    }


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Return the seconds of the shortest of some calls."""
    cpu = jax.default_backend() == "cpu"
    clock = time.process_time if cpu else time.perf_counter
    seconds = []
    for _ in range(repeats):
        start = clock()
        jax.block_until_ready(call())
        seconds.append(clock() - start)
    return min(seconds)


def run(sizes: Sequence[int], repeats: int, limit: int) -> list[dict[str, Any]]:
    """Time everything at every size, one after the other: each needs the memory.

    Args:
        sizes: numbers of weights, multiples of 1000.
        repeats: timed calls; of a sort of :data:`ONCE` weights or more, one.
        limit: the largest size that is sorted; ``top_k`` to a tenth of it.

    Returns:
        One row per size and work, and one per optimizer at the largest size.
    """
    stream = jnp.ones(2**26)
    total = _compiled(jnp.sum, stream)
    rate = 4 * stream.size / timed(lambda: total(stream), 5)
    rows = []
    for size in sizes:
        limits = {"sort": limit, "top_k": limit // 10}
        base = None
        for name, (make, traffic) in ways(
            jax.jit(weights, static_argnums=0)(size)
        ).items():
            if size > limits.get(name, size):
                continue
            best = timed(make(), 1 if name in limits and size >= ONCE else repeats)
            base = base or best
            rows.append(
                {
                    "work": name,
                    "weights": size,
                    "best_ms": 1e3 * best,
                    "over_select": best / base,
                    "gb_s": traffic * size / best / 1e9,
                    "fraction": traffic * size / best / rate,
                    "stream_gb_s": rate / 1e9,
                    "peak": "",
                    "peak_xla": "",
                }
            )
            print(harness.table(rows[-1:]), flush=True)
    blank = dict.fromkeys(rows[0], "")
    return rows + [blank | peak_of(max(sizes), name) for name in HELD]


def peak_of(size: int, name: str) -> dict[str, Any]:
    """Return the peak memory of a step that chooses masks, measured in a child."""
    command = [sys.executable, "-m", "pruning.benchmarks.scale"]
    command += ["--peak", str(size), "--optimizer", name]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(out.splitlines()[-1], flush=True)
    return json.loads(out.splitlines()[-1])


def peak(size: int, name: str) -> None:
    """Take steps that choose masks; print the memory that they took, as JSON."""
    tx = chain(CHANGING, name)
    x = jnp.ones((1, size // SIDE)) / size

    # An argument: of a constant XLA makes the gradient wherever it is used.
    def step(params: Any, state: Any, x: Any) -> Any:
        loss = lambda p: jnp.sum(jnp.square(jnp.square(x) @ p["w"]))
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    def start() -> Any:
        params = weights(size)
        return params, tx.init(params)

    begin = _compiled(start)
    compiled = _compiled(step, *jax.eval_shape(start), x, donate_argnums=(0, 1))
    analysis = compiled.memory_analysis()
    xla_bytes = analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
    xla_bytes += analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    before = _memory()
    params, state = begin()
    for _ in range(2):
        params, state = jax.block_until_ready(compiled(params, state, x))
    peak_bytes = _memory(largest=True) - before
    if not 0 < int(jnp.sum(pruning.masks_of(state)["w"])) < size:
        raise RuntimeError("the step chose no masks")
    tree_bytes = HELD[name] * size
    row = {"work": f"peak of a step, {name}", "weights": size}
    print(
        json.dumps(
            row | {"peak": peak_bytes / tree_bytes, "peak_xla": xla_bytes / tree_bytes}
        )
    )


def _memory(*, largest: bool = False) -> int:
    """Return the bytes in use, by the device where it tells, else by the process.

    The largest of a process is that since its use was last read.
    """
    stats = jax.devices()[0].memory_stats()
    if stats:
        return stats["peak_bytes_in_use" if largest else "bytes_in_use"]
    if not largest:
        Path("/proc/self/clear_refs").write_text("5")
    line = "VmHWM:" if largest else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(one.split()[1]) for one in lines if one.startswith(line))


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
    parser.add_argument("--optimizer", choices=sorted(HELD), default="sgd")
    options = parser.parse_args(arguments)
    if options.peak:
        peak(options.peak, options.optimizer)
        return
    rows = run(options.sizes, options.repeats, options.sort_limit)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
