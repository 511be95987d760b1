"""A training step with and without each transform.

Run with ``python -m pruning.benchmarks.step``. Times plain SGD and SGD followed by
each transform, inside one jitted ``lax.scan`` over steps, as training runs them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax
from jax import lax

import pruning
from synaptax.nets import lenets, models
from synaptax.reports import harness
from synaptax.training.evaluation import cross_entropy

CLASSES, BATCH, SHAPE = 10, 100, (28, 28, 1)
LR, RATE = 0.1, 1e-4


class Batch(NamedTuple):
    """The examples of a step, and a key for what it draws."""

    image: Any
    label: Any
    key: Any


def chains(apply_fn: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Return name -> optax chain; ``apply_fn`` is what sensitivities are taken of."""
    sgd = lambda: optax.sgd(LR)

    def every(params: Any, batch: Batch) -> Any:
        alpha = pruning.unspecific(CLASSES)
        return pruning.sensitivity(apply_fn, params, batch.image, alpha)

    def own(params: Any, batch: Batch) -> Any:
        alpha = pruning.specific(batch.label, CLASSES)
        return pruning.sensitivity(apply_fn, params, batch.image, alpha, support=1)

    def drawn(params: Any, batch: Batch) -> Any:
        alpha = pruning.sampled(batch.key, BATCH, CLASSES)
        return pruning.sensitivity(apply_fn, params, batch.image, alpha, support=1)

    def decay(function: Any, refresh: int = 1) -> Any:
        return pruning.sensitivity_decay(RATE, sensitivity_fn=function, refresh=refresh)

    gradual = pruning.polynomial(0, 10**6, 0.05, every=100)
    return {
        "sgd": sgd(),
        "sensitivity_decay, unspecific": optax.chain(sgd(), decay(every)),
        "the same, refresh=10": optax.chain(sgd(), decay(every, 10)),
        "sensitivity_decay, sampled": optax.chain(sgd(), decay(drawn)),
        "sensitivity_decay, specific": optax.chain(sgd(), decay(own)),
        "loss_sensitivity_decay": optax.chain(
            sgd(), pruning.loss_sensitivity_decay(RATE)
        ),
        "prune, masks held": optax.chain(sgd(), pruning.prune(pruning.manual())),
        "prune, polynomial every 100": optax.chain(sgd(), pruning.prune(gradual)),
        "pruned(sgd), polynomial every 100": pruning.pruned(sgd(), gradual),
    }


def stepper(
    apply_fn: Callable[[Any, Any], Any], tx: Any, steps: int
) -> Callable[[Any, Batch], Any]:
    """Return a jitted function that takes ``steps`` training steps."""
    tx = optax.with_extra_args_support(tx)

    def one(carry: Any, key: Any, batch: Batch) -> Any:
        params, state = carry
        batch = batch._replace(key=key)
        loss_of = lambda p: cross_entropy(apply_fn(p, batch.image), batch.label).mean()
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(
            grads, state, params, batch=batch, grads=grads, value=loss
        )
        return (optax.apply_updates(params, updates), state), loss

    def run(params: Any, batch: Batch) -> Any:
        body = lambda carry, key: one(carry, key, batch)
        keys = jax.random.split(batch.key, steps)
        return lax.scan(body, (params, tx.init(params)), keys)[0][0]

    return jax.jit(run)


def run(repeats: int, steps: int) -> list[dict[str, Any]]:
    """Time every chain on both networks.

    Args:
        repeats: timed rounds.
        steps: steps in one call.

    Returns:
        One row per network and chain: milliseconds a step, ratio to plain SGD.
    """
    rows = []
    batch = Batch(
        jax.random.normal(jax.random.key(1), (BATCH, *SHAPE)),
        jax.random.randint(jax.random.key(2), (BATCH,), 0, CLASSES),
        jax.random.key(3),
    )
    for name in ("lenet300", "lenet5"):
        init, apply_fn = models.build(name, CLASSES, SHAPE)
        # The plain step in its fastest form, sensitivities in theirs.
        fastest = {"conv": lenets.fastest()} if name == "lenet5" else {}
        _, plain = models.build(name, CLASSES, SHAPE, **fastest)
        params = init(jax.random.key(0))
        functions = {
            label: stepper(plain, tx, steps) for label, tx in chains(apply_fn).items()
        }
        times = harness.measure(functions, params, batch, repeats=repeats)
        for label, time in times.items():
            rows.append(
                {
                    "network": name,
                    "chain": label,
                    "best_ms": 1e3 * time.best / steps,
                    "median_ms": 1e3 * time.median / steps,
                    "ratio": time.best / times["sgd"].best,
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/step.json")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    rows = run(options.repeats, options.steps)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
