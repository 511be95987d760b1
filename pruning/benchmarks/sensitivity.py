"""The price of an exact sensitivity, in gradients.

Run with ``python -m pruning.benchmarks.sensitivity``. For LeNet-300-100 and LeNet-5
at batch 100, ten outputs, times side by side: a plain gradient of the loss; the exact
per-example sensitivity by taps, unspecific and specific; one backward pass for each
output with the absolute value after the batch mean; and the definition, by
``vmap(jacrev)``. Checks first that the exact ways agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pruning._output_weights import specific, unspecific
from pruning._sensitivity import sensitivity
from synaptax.nets import models
from synaptax.reports import harness
from synaptax.training.evaluation import cross_entropy

CLASSES, BATCH, SHAPE = 10, 100, (28, 28, 1)
TOLERANCE = 1e-5


def ways(apply_fn: Callable[[Any, Any], Any], label: Any) -> dict[str, Any]:
    """Return name -> jitted function of (params, x)."""
    every, own = unspecific(CLASSES), specific(label, CLASSES)

    def gradient(params: Any, x: Any) -> Any:
        loss = lambda p: cross_entropy(apply_fn(p, x), label).mean()
        return jax.grad(loss)(params)

    def way(alpha: Any, **options: Any) -> Callable[[Any, Any], Any]:
        return lambda params, x: sensitivity(apply_fn, params, x, alpha, **options)

    plain = {
        "gradient": gradient,
        "taps": way(every, method="taps"),
        "taps, specific": way(own, method="taps", support=1),
        "C backward passes": way(every, reduction="abs_mean"),
        "reference": way(every, method="reference"),
    }
    return {name: jax.jit(function) for name, function in plain.items()}


def disagreement(found: Any, wanted: Any) -> float:
    """Return the largest difference of a leaf over its largest value."""
    worst = jax.tree.map(lambda f, w: jnp.abs(f - w).max() / w.max(), found, wanted)
    return float(max(jax.tree.leaves(worst)))


def run(repeats: int, slow_repeats: int) -> list[dict[str, Any]]:
    """Time every way on both networks.

    Args:
        repeats: timed rounds.
        slow_repeats: timed rounds that include the reference.

    Returns:
        One row per network and way: milliseconds and the ratio to a gradient.

    Raises:
        RuntimeError: if taps and the reference differ by more than 1e-5.
    """
    rows = []
    x = jax.random.normal(jax.random.key(1), (BATCH, *SHAPE))
    label = jax.random.randint(jax.random.key(2), (BATCH,), 0, CLASSES)
    for name in ("lenet300", "lenet5"):
        init, apply_fn = models.build(name, CLASSES, SHAPE)
        params = init(jax.random.key(0))
        functions = ways(apply_fn, label)
        error = disagreement(
            functions["taps"](params, x), functions["reference"](params, x)
        )
        if error > TOLERANCE:
            raise RuntimeError(f"{name}: taps and reference differ by {error:.1e}")
        slow = {key: functions[key] for key in ("gradient", "reference")}
        fast = {key: f for key, f in functions.items() if key != "reference"}
        times = harness.measure(fast, params, x, repeats=repeats)
        times["reference"] = harness.measure(slow, params, x, repeats=slow_repeats)[
            "reference"
        ]
        base = times["gradient"]
        for way, time in times.items():
            rows.append(
                {
                    "network": name,
                    "way": way,
                    "best_ms": 1e3 * time.best,
                    "median_ms": 1e3 * time.median,
                    "ratio": time.best / base.best,
                    "ratio_of_medians": time.median / base.median,
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/sensitivity.json")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--slow-repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    rows = run(options.repeats, options.slow_repeats)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
