"""What the post-synaptic-potential penalty adds to a training step.

Run with ``python -m pruning.benchmarks.psp``. Times SGD steps of LeNet-5 whose ReLUs
see the whole feature maps, batch 100, inside one jitted ``lax.scan`` over different
batches, as training runs them: without the penalty, with it in the loss (one pass for
both), in the loss and local, and as a transform (a pass of its own).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax
from jax import lax

import pruning
from synaptax.data.images import Batch
from synaptax.nets import models
from synaptax.reports import harness
from synaptax.training.evaluation import cross_entropy

CLASSES, BATCH, SHAPE = 10, 100, (28, 28, 1)
LR, GAMMA = 0.1, 1e-3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def variants(apply_fn: Callable[[Any, Any], Any]) -> dict[str, tuple[Any, Any]]:
    """Return name -> (loss function with aux, optax chain)."""

    def loss_fn(params: Any, batch: Batch) -> tuple[Any, Any]:
        logits = apply_fn(params, batch.image)
        return cross_entropy(logits, batch.label).mean(), logits

    def with_penalty(local: bool) -> Any:
        pick = lambda aux: aux
        return pruning.with_psp(loss_fn, GAMMA, logits=pick, local=local, has_aux=True)

    added = pruning.psp_regularization(apply_fn, GAMMA)
    return {
        "none": (loss_fn, optax.sgd(LR)),
        "with_psp": (with_penalty(False), optax.sgd(LR)),
        "with_psp, local": (with_penalty(True), optax.sgd(LR)),
        "psp_regularization": (loss_fn, optax.chain(added, optax.sgd(LR))),
    }


def stepper(loss_fn: Any, tx: Any) -> Callable[[Any, Batch], Any]:
    """Return a jitted function that takes one step on each of a stack of batches."""
    tx = optax.with_extra_args_support(tx)

    def one(carry: Any, batch: Batch) -> tuple[Any, Any]:
        params, state = carry
        (loss, _), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, batch)
        updates, state = tx.update(grads, state, params, batch=batch)
        return (optax.apply_updates(params, updates), state), loss

    return jax.jit(
        lambda params, batches: lax.scan(one, (params, tx.init(params)), batches)
    )


def run(repeats: int, steps: int, clock: str) -> list[dict[str, Any]]:
    """Time every variant.

    Args:
        repeats: timed rounds.
        steps: steps in one call.
        clock: one of :data:`CLOCKS`.

    Returns:
        One row per variant: milliseconds a step, ratio to a step without the penalty.
    """
    batches = Batch(
        jax.random.normal(jax.random.key(1), (steps, BATCH, *SHAPE)),
        jax.random.randint(jax.random.key(2), (steps, BATCH), 0, CLASSES),
    )
    init, apply_fn = models.build("lenet5", CLASSES, SHAPE, rectify="full")
    functions = {name: stepper(*one) for name, one in variants(apply_fn).items()}
    params = init(jax.random.key(0))
    times = harness.measure(
        functions, params, batches, repeats=repeats, clock=CLOCKS[clock]
    )
    return [
        {
            "penalty": name,
            "clock": clock,
            "best_ms": 1e3 * time.best / steps,
            "median_ms": 1e3 * time.median / steps,
            "ratio": time.best / times["none"].best,
        }
        for name, time in times.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/psp.json")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = parser.parse_args(arguments)
    rows = run(options.repeats, options.steps, options.clock)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
