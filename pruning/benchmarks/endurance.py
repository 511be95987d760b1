"""10^5 steps in one process: memory, compilations and masks must stay as they are.

A small network shrinks by a sensitivity that is refreshed and is pruned gradually,
with a line of metrics for every hundred steps. Each tenth of the steps is a row.

Command: ``python -m pruning.benchmarks.endurance``.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pruning
from synaptax import runs
from synaptax.reports import harness

RECORDED = Path(__file__).parents[1] / "experiments" / "recorded"
EVERY = 100  # steps of one call, and to a line of metrics


def apply_fn(params: Any, x: jax.Array) -> jax.Array:
    """Return the logits of a network of one hidden layer."""
    return jax.nn.relu(x @ params["first"] + params["bias"]) @ params["second"]


def resident() -> float:
    """Return the memory of this process, in MiB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


class Compilations(logging.Handler):
    """Counts the programs that JAX compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a message of a compilation."""
        self.count += record.getMessage().startswith("Compiling")


def measured(steps: int) -> list[dict[str, Any]]:
    """Train and return a row for each tenth of the steps."""
    key = jax.random.key(0)
    x = jax.random.normal(jax.random.fold_in(key, 0), (64, 16))
    label = jnp.argmax(x @ jax.random.normal(jax.random.fold_in(key, 1), (16, 4)), 1)
    params = {
        "first": 0.3 * jax.random.normal(jax.random.fold_in(key, 2), (16, 32)),
        "bias": jnp.zeros(32),
        "second": 0.3 * jax.random.normal(jax.random.fold_in(key, 3), (32, 4)),
    }
    sensitivity = lambda params, batch: pruning.sensitivity(
        apply_fn, params, batch[0], pruning.specific(batch[1], 4)
    )
    tx = optax.chain(
        optax.adam(1e-3),
        pruning.sensitivity_decay(1e-6, sensitivity_fn=sensitivity, refresh=10),
        pruning.prune(pruning.polynomial(0, steps // 2, 0.1, every=EVERY)),
    )

    def loss(params: Any) -> jax.Array:
        logits = apply_fn(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, batch=(x, label))
        return (optax.apply_updates(params, updates), state), value

    calls = jax.jit(lambda carry: jax.lax.scan(step, carry, None, EVERY))
    carry, counter, rows = (params, tx.init(params)), Compilations(), []
    jax.config.update("jax_log_compiles", True)
    logging.getLogger("jax").addHandler(counter)
    logging.getLogger("jax").propagate = False
    before = pruning.masks_of(carry[1])
    with tempfile.TemporaryDirectory() as place:
        folder = runs.RunFolder(Path(place))
        start = time.monotonic()
        for tenth in range(10):
            revived = astray = 0
            for call in range(steps // 10 // EVERY):
                carry, losses = calls(carry)
                done = tenth * (steps // 10) + (call + 1) * EVERY
                record = {"epoch": done // EVERY, "loss": losses[-1]}
                runs.append_metrics(folder, record)
                after = jax.device_get(pruning.masks_of(carry[1]))
                leaves = [jax.tree.leaves(tree) for tree in (before, after, carry[0])]
                for old, new, weight in zip(*leaves, strict=True):
                    revived += int(np.sum(~np.asarray(old) & new))
                    astray += int(np.count_nonzero(np.asarray(weight)[~new]))
                before = after
            rows.append(
                {
                    "steps": (tenth + 1) * (steps // 10),
                    "memory_mib": round(resident(), 1),
                    "compilations": counter.count,
                    "density": round(float(pruning.density(after)), 6),
                    "revived": revived,
                    "nonzero_pruned": astray,
                    "loss": float(losses[-1]),
                    "lines": len(runs.read_metrics(folder)),
                    "seconds": round(time.monotonic() - start, 1),
                }
            )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument(
        "--out", type=Path, default=RECORDED / "benchmark-endurance.json"
    )
    options = parser.parse_args(arguments)
    rows = measured(options.steps)
    print(harness.table(rows))
    growth = [b["memory_mib"] - a["memory_mib"] for a, b in itertools.pairwise(rows)]
    print(f"memory after the first tenth: {sum(growth):+.1f} MiB")
    print(f"written: {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
