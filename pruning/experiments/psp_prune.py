"""Does a network trained with the PSP penalty prune better than one with L2?

LeNet-300-100 on MNIST, each chain at the same budget: 20 epochs of SGD 0.1, batch
100; from epoch 5 to 15 gradual magnitude pruning (:func:`pruning.prune` with a cubic
schedule, every 50 steps) down to a density; 5,000 training examples held out, the test
set looked at once, at the end. The chains differ in what stands around SGD:

``none``             sgd, prune
``l2``               weight decay 1e-4, sgd, prune
``psp``              psp_regularization 1e-3, sgd, prune
``psp+sensitivity``  psp_regularization 1e-3, sgd, sensitivity_decay 1e-4, prune
``l2+sensitivity``   weight decay 1e-4, sgd, sensitivity_decay 1e-4, prune

Command: ``python -m pruning.experiments.psp_prune``; one cell with
``--only psp --densities 0.02``. A cell of three seeds takes about 2 minutes on one
CPU core; recorded cells are not run again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

import pruning
from pruning._roles import weights_only
from pruning.experiments._variants import RECORDED
from pruning.gradual import loop
from pruning.masks import full_mask
from synaptax import runs, training
from synaptax.data.images import Dataset, load
from synaptax.nets import models
from synaptax.training import evaluation

SEEDS, DENSITIES = (0, 1, 2), (0.1, 0.05, 0.02, 0.01)
EPOCHS, BEGIN, END, BATCH, LR = 20, 5, 15, 100, 0.1
L2, GAMMA, RATE, REFRESH = 1e-4, 1e-3, 1e-4, 10
CHAINS = ("none", "l2", "psp", "l2+sensitivity", "psp+sensitivity")


def chain(name: str, density: float, apply_fn: Any, classes: int, steps: int) -> Any:
    """Return the optax chain of a name.

    Args:
        name: one of :data:`CHAINS`.
        density: of the weights, at the end.
        apply_fn: the network.
        classes: its outputs.
        steps: steps of one epoch.
    """

    def sensitivity(params: Any, batch: Any) -> Any:
        alpha = pruning.unspecific(classes)
        return pruning.sensitivity(apply_fn, params, batch.image, alpha)

    before = {
        "l2": [optax.add_decayed_weights(L2)],
        "psp": [pruning.psp_regularization(apply_fn, GAMMA)],
    }
    first, _, second = name.partition("+")
    decay = pruning.sensitivity_decay(RATE, sensitivity_fn=sensitivity, refresh=REFRESH)
    schedule = pruning.polynomial(BEGIN * steps, END * steps, density, every=50)
    # L2 and PSP act on the gradient, before the learning rate; the decay after it.
    return optax.chain(
        *before.get(first, []),
        optax.sgd(LR),
        *([decay] if second else []),
        pruning.prune(schedule),
    )


def cell(
    name: str, density: float, data: Dataset, seeds: Sequence[int], epochs: int
) -> dict[str, Any]:
    """Train, prune and test one chain; return what is recorded.

    Args:
        name: one of :data:`CHAINS`.
        density: of the weights, at the end.
        data: the data set.
        seeds: a network each.
        epochs: how many.
    """
    started = time.monotonic()
    init_fn, apply_fn = models.build(
        "lenet300", data.classes, data.train.image.shape[1:]
    )
    steps = len(data.train.label) // BATCH
    tx = chain(name, density, apply_fn, data.classes, steps)
    rules = loop.Rules(False, 1, 0.0, 0.0, weights_only)
    keys = training.keys_of(seeds)

    def begin(key: Any) -> Any:
        params = init_fn(jax.random.fold_in(key, 0))
        return loop.start(
            params, jax.random.fold_in(key, 1), tx, full_mask(params), rules
        )

    stage = training.Stage(
        name,
        epochs,
        start=lambda previous: jax.jit(jax.vmap(begin))(keys),
        epoch=partial(loop.epoch, apply_fn=apply_fn, tx=tx, rules=rules, batch=BATCH),
        data=(data.train, data.validation),
        finite=lambda info: [info.losses],
        record=lambda info: {"validation_error": info.error},
    )
    outcome = training.run([stage])
    state, test = outcome.state, jax.device_put(data.test)
    evaluate = jax.jit(
        lambda state: jax.lax.map(
            lambda replica: evaluation.evaluate(apply_fn, replica.params, test), state
        )
    )
    loss, error = evaluate(state)
    # Of the first seed: the schedule keeps as many weights in each.
    masks = jax.tree.map(lambda leaf: leaf[0], pruning.masks_of(state.opt_state))
    counted = pruning.count(masks)
    return {
        "chain": name,
        "density": density,
        "kept": counted.kept,
        "total": counted.total,
        "seeds": list(seeds),
        "epochs": epochs,
        "test_errors": error,
        "test_losses": loss,
        "validation_errors": outcome.records[-1]["validation_error"],
        "wall_s": round(time.monotonic() - started, 1),
        **runs.environment(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cells that are not recorded yet, from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CHAINS, default=CHAINS)
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    options = parser.parse_args(arguments)
    data = load("mnist", validation=5000)
    for density in options.densities:
        for name in options.only:
            path = options.recorded / f"psp_prune-{name}-{density:g}.json"
            if path.exists():
                continue
            record = cell(name, density, data, SEEDS, EPOCHS)
            command = f"--only {name} --densities {density:g}"
            record["command"] = f"python -m pruning.experiments.psp_prune {command}"
            runs.write_json(path, record)
            errors = ", ".join(f"{100 * float(e):.2f}" for e in record["test_errors"])
            print(f"{name} at {1 / density:g}x: test error {errors} %", flush=True)


if __name__ == "__main__":
    main()
