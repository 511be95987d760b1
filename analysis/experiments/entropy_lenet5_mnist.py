"""First-order PSP-entropy of a freshly trained LeNet-5 on MNIST, layer by layer.

The authors' notebook shows about 0.55 to 0.6 bit a class in every hidden layer of a
dense LeNet-5 (an order of magnitude read off its figures). Same recipe: 10 epochs of
plain SGD, rate 0.1, batch 100, no weight decay; entropy over the test set, every
position of a convolution a neuron (``rectify="full"``).

Command: ``python -m analysis.experiments.entropy_lenet5_mnist``; about three minutes
of one free core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis import entropy, summaries
from pruning import preactivations
from synaptax import data, runs
from synaptax.nets import models
from synaptax.reports.tables import markdown
from synaptax.training.evaluation import cross_entropy

RECORDED = Path(__file__).with_name("recorded")
NAME = "entropy_lenet5_mnist"
CLASSES, BATCH, RATE = 10, 100, 0.1


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def epoch(apply_fn: Any, params: Any, train: data.Batch, key: Any) -> Any:
    """Return the parameters after an epoch of plain SGD in a random order."""

    def step(params: Any, index: Any) -> tuple[Any, None]:
        def loss(params: Any) -> Any:
            logits = apply_fn(params, train.image[index])
            return jnp.mean(cross_entropy(logits, train.label[index]))

        grads = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), None

    order = data.epoch_order(key, train.label.shape[0], BATCH)
    return lax.scan(step, params, order)[0]


def trained(dataset: data.Dataset, epochs: int, seed: int) -> Any:
    """Return LeNet-5's parameters after training."""
    init_fn, apply_fn = models.build("lenet5", CLASSES, dataset.train.image.shape[1:])
    start, shuffle = jax.random.split(jax.random.key(seed))
    params, train = jax.jit(init_fn)(start), jax.device_put(dataset.train)
    for key in jax.random.split(shuffle, epochs):
        params = epoch(apply_fn, params, train, key)
    return params


def report(dataset: data.Dataset, params: Any, seed: int) -> dict[str, Any]:
    """Return test error, and entropy with intervals a layer, in bits a class."""
    shape = dataset.train.image.shape[1:]
    apply_fn = models.build("lenet5", CLASSES, shape, rectify="full")[1]
    zs_of = preactivations(apply_fn)
    test, size = dataset.test, 500
    batches = [
        (test.image[i : i + size], test.label[i : i + size])
        for i in range(0, len(test.label), size)
    ]
    first, squares = entropy.measure(zs_of, params, batches, CLASSES)
    on, labels = entropy.states(zs_of, params, batches)
    keys = jax.random.split(jax.random.key(seed), 2)
    neurons = summaries.over_neurons(first, keys[0])
    examples = summaries.over_examples(on, labels, CLASSES, keys[1])
    wrong = [
        np.mean(np.argmax(apply_fn(params, x), axis=1) != label) for x, label in batches
    ]
    layers = {
        name: {
            "neurons": H.size,
            "live": int(first.live[name].sum()),
            "bits_per_class": float(H.mean() / CLASSES),
            "over_neurons": [neurons[name].low / CLASSES, neurons[name].high / CLASSES],
            "over_examples": [
                examples[name].low / CLASSES,
                examples[name].high / CLASSES,
            ],
            "z2": squares[name],
        }
        for name, H in first.per_neuron.items()
    }
    return {"test_error": float(np.mean(wrong)), "layers": layers}


def sections() -> list[str]:
    """Return the recorded figures as Markdown lines; nothing if there are none."""
    path = RECORDED / f"{NAME}.json"
    if not path.exists():
        return []
    record = runs.read_json(path)
    lines = [
        "## PSP-entropy of a freshly trained LeNet-5 on MNIST",
        "",
        "Bits a class over the test set, mean over a layer's neurons, with 95 % basic "
        "bootstrap intervals over neurons and over examples. The authors' notebook: "
        "about 0.55 to 0.6 in every hidden layer (READ off its figures, order of "
        f"magnitude). Test error {100 * record['test_error']:.2f} % after "
        f"{record['epochs']} epochs, seed {record['seed']}; `{record['command']}`, "
        f"{record['wall_s'] / 60:.0f} min.",
        "",
    ]
    rows = [
        [
            name,
            f"{row['neurons']:,}",
            f"{row['live']:,}",
            f"{row['bits_per_class']:.3f}",
            *(
                f"{row[over][0]:.3f} to {row[over][1]:.3f}"
                for over in ("over_neurons", "over_examples")
            ),
            f"{row['z2']:.3g}",
        ]
        for name, row in record["layers"].items()
    ]
    columns = ("layer", "neurons", "live", "bits a class", "over neurons",
               "over examples", "z²")  # fmt: skip
    return [*lines, *markdown(columns, rows), ""]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RECORDED / f"{NAME}.json")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    dataset = data.load("mnist")
    params = trained(dataset, options.epochs, options.seed)
    results = report(dataset, params, options.seed)
    record = {
        "command": f"python -m analysis.experiments.{NAME}",
        "seed": options.seed,
        "epochs": options.epochs,
        "wall_s": time.monotonic() - start,
        **runs.environment(),
        **results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(options.out, record)
    for name, row in results["layers"].items():
        print(f"{name}: {row['bits_per_class']:.3f} bit a class")
    print(f"test error {100 * results['test_error']:.2f} %; written: {options.out}")


if __name__ == "__main__":
    main()
