"""What the post-synaptic-potential penalty adds to a training step.

Run with ``python -m pruning.benchmarks.psp``. Times SGD steps, batch 100, inside one
jitted ``lax.scan`` over different batches, as training runs them: of LeNet-5 whose
ReLUs see the whole feature maps, without the penalty, with it in the loss (one pass for
both), in the loss and local, and as a transform (a pass of its own); of ResNet-20 in
training mode, its batch-norm and its crops' size as for CIFAR-10, without the penalty
and with it in the loss.
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

CLASSES, BATCH = 10, 100
LR, GAMMA = 0.1, 1e-3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
# Shape of an image, options of the network, steps in a call (of a second or so).
NETWORKS: dict[str, tuple[tuple[int, int, int], dict[str, Any], int]] = {
    "lenet5": ((28, 28, 1), {"rectify": "full"}, 5),
    "resnet20": ((32, 32, 3), {}, 1),
}


def variants(net: models.Network) -> dict[str, tuple[Any, Any]]:
    """Return name -> (loss function with aux, optax chain)."""

    def loss_fn(params: Any, stats: Any, batch: Batch) -> tuple[Any, Any]:
        logits, stats = net.train(params, stats, batch.image, jax.random.key(0))
        return cross_entropy(logits, batch.label).mean(), (logits, stats)

    def with_penalty(local: bool) -> Any:
        pick = lambda aux: aux[0]
        total = pruning.with_psp(loss_fn, GAMMA, logits=pick, local=local, has_aux=True)

        def alike(*args: Any) -> tuple[Any, Any]:
            value, info = total(*args)
            return value, info.aux

        return alike

    rows = {
        "none": (loss_fn, optax.sgd(LR)),
        "with_psp": (with_penalty(False), optax.sgd(LR)),
    }
    if models.keeps_state(net):
        return rows
    added = pruning.psp_regularization(lambda p, x: net.apply(p, {}, x), GAMMA)
    return {
        **rows,
        "with_psp, local": (with_penalty(True), optax.sgd(LR)),
        "psp_regularization": (loss_fn, optax.chain(added, optax.sgd(LR))),
    }


def stepper(loss_fn: Any, tx: Any) -> Callable[[Any, Any, Batch], Any]:
    """Return a jitted function that takes one step on each of a stack of batches."""
    tx = optax.with_extra_args_support(tx)
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)

    def one(carry: Any, batch: Batch) -> tuple[Any, Any]:
        params, stats, state = carry
        (loss, (_, stats)), grads = grad_fn(params, stats, batch)
        updates, state = tx.update(grads, state, params, batch=batch)
        return (optax.apply_updates(params, updates), stats, state), loss

    return jax.jit(
        lambda params, stats, batches: lax.scan(
            one, (params, stats, tx.init(params)), batches
        )
    )


def run(network: str, repeats: int, clock: str) -> list[dict[str, Any]]:
    """Time every variant of one network.

    Args:
        network: one of :data:`NETWORKS`.
        repeats: timed rounds.
        clock: one of :data:`CLOCKS`.

    Returns:
        One row per variant: milliseconds a step, ratio to a step without the penalty.
    """
    shape, options, steps = NETWORKS[network]
    batches = Batch(
        jax.random.normal(jax.random.key(1), (steps, BATCH, *shape)),
        jax.random.randint(jax.random.key(2), (steps, BATCH), 0, CLASSES),
    )
    net = models.network(network, CLASSES, shape, **options)
    functions = {name: stepper(*one) for name, one in variants(net).items()}
    times = harness.measure(
        functions,
        *net.init(jax.random.key(0)),
        batches,
        repeats=repeats,
        clock=CLOCKS[clock],
    )
    return [
        {
            "network": network,
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
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = parser.parse_args(arguments)
    rows = []
    for network in options.networks:
        rows += run(network, options.repeats, options.clock)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
