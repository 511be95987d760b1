"""What removing units buys: dense, masked and compacted networks, side by side.

Run with ``python -m pruning.benchmarks.compaction``. LeNet-5 without three quarters of
the filters and neurons of every hidden layer; the character transformer without half
its heads and half the hidden units of its perceptrons. Weights are random, for what a
product costs does not depend on them; LeNet-5 is convolved in the ways there are, and
the ratio is to the dense network in its fastest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import pruning
from synaptax.nets import lenets, transformer
from synaptax.reports import harness
from synaptax.typing import PyTree

BATCHES = (1, 128)
CONVOLUTIONS = ("patches", "winograd", "lax")


def lenet5() -> tuple[Any, PyTree, PyTree, Any]:
    """Return LeNet-5, its weights, a mask of a quarter of its units, images."""
    module = lenets.LeNet5(10)
    x = jax.random.uniform(jax.random.key(1), (max(BATCHES), 28, 28, 1))
    params = jax.jit(module.init)(jax.random.key(0), x[:1])["params"]
    hidden = lambda path, leaf: path.endswith("kernel") and "Dense_1" not in path
    mask = pruning.magnitude_mask(
        params, 0.25, scope="layer", structure=pruning.neuron(), prunable=hidden
    )
    return module, params, mask, x


def characters() -> tuple[Any, PyTree, PyTree, Any]:
    """Return the transformer, its weights, a mask of half its units, texts."""
    module = transformer.CharTransformer(96)
    shape = (max(BATCHES), module.context)
    x = jax.random.randint(jax.random.key(1), shape, 0, module.vocabulary)
    params = jax.jit(module.init)(jax.random.key(0), x[:1])["params"]
    parts = {
        "value/kernel": pruning.along(-2),  # heads
        "Dense_0/kernel": pruning.neuron(),
    }
    part = lambda path: "/".join(path.split("/")[-2:])
    mask = pruning.magnitude_mask(
        params,
        0.5,
        scope="layer",
        structure=lambda path, shape: parts[part(path)],
        prunable=lambda path, leaf: part(path) in parts,
    )
    return module, params, mask, x


def forms(
    module: Any, params: PyTree, mask: PyTree, x: Any
) -> dict[str, tuple[Any, PyTree]]:
    """Return name -> (module, parameters) of the dense, masked, compacted network."""
    masked = pruning.apply_mask(params, mask)
    small = pruning.compact(module, masked, x[:2])
    return {
        "dense": (module, params),
        "with zeros": (module, masked),
        "compacted": (small.module, small.params),
    }


def ways(name: str, module: Any) -> dict[str, Any]:
    """Return in which ways a network is computed."""
    if name != "lenet5":
        return {"-": module}
    return {way: module.clone(conv=way) for way in CONVOLUTIONS}


def run(repeats: int, batches: Sequence[int] = BATCHES) -> list[dict[str, Any]]:
    """Time all forms in turn.

    Args:
        repeats: timed rounds.
        batches: inputs a call.

    Returns:
        One row per network, batch, form and way.
    """
    rows = []
    for name, make in (("lenet5", lenet5), ("transformer", characters)):
        module, params, mask, x = make()
        networks = forms(module, params, mask, x)
        for batch in batches:
            functions, part = {}, jnp.asarray(x[:batch])
            for form, (one, weights) in networks.items():
                for way, net in ways(name, one).items():
                    apply = jax.jit(lambda p, x, net=net: net.apply({"params": p}, x))
                    functions[form, way] = partial(apply, weights)
            times = harness.measure(functions, part, repeats=repeats)
            dense = min(t.best for (form, _), t in times.items() if form == "dense")
            for (form, way), time in times.items():
                weights = networks[form][1]
                rows.append(
                    {
                        "network": name,
                        "batch": batch,
                        "form": form,
                        "convolution": way,
                        "parameters": sum(w.size for w in jax.tree.leaves(weights)),
                        "best_ms": 1e3 * time.best,
                        "median_ms": 1e3 * time.median,
                        "times_as_fast": dense / time.best,
                    }
                )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/compaction.json")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args(arguments)
    rows = run(options.repeats)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()
