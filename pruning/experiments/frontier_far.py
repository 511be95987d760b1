"""LeNet-300-100 on MNIST by a schedule, from 27.87x on to 103x (1810.11764, Table 1).

Command: ``python -m pruning.experiments.frontier_far``, after
:mod:`pruning.experiments.frontier_lenet300`. A cell goes on from that experiment's
tuned network of the same seed (its run folder must be there). Dead units and pixels are
folded away first, exactly, so that an epoch costs a third; then the same procedure runs
again on what is left: an epoch in which pruned weights of living units may return, the
polynomial schedule, a long cosine. The variants ``again`` end where they began, at
27.87x.

Compression is told of the whole LeNet-300-100: 266,610 over what is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning.experiments import _frontier
from pruning.experiments._fold import fold_dead_units
from pruning.experiments.frontier_lenet300 import UNSPECIFIC
from pruning.gradual.config import Config
from pruning.gradual.outcome import load_points
from synaptax.nets import models

NAMES = _frontier.LAYERS["lenet300"]
WHOLE = {"Dense_0": 784 * 300, "Dense_1": 300 * 100, "Dense_2": 1000}
# Parameters at the end, biases of units that die on the way included.
FAR, NEAR = 2660, 9560
# The shares of the paper's long run, as remembered.
GIVEN = {"Dense_0": 0.0093, "Dense_1": 0.0112, "Dense_2": 0.059}

FURTHER = replace(
    UNSPECIFIC, dense_epochs=1, prune_epochs=70, tune_epochs=100, begin=0.0, end=0.85
)
AGAIN = replace(FURTHER, prune_epochs=50, tune_epochs=60)
VARIANTS = {
    "given": replace(FURTHER, allocation="given", densities=(1.0, 1.0, 1.0)),
    "global": FURTHER,
    "lamp": replace(FURTHER, allocation="lamp"),
    "again": AGAIN,
    "again-2e-4": replace(AGAIN, rate=2e-4),
    "again-4e-4": replace(AGAIN, rate=4e-4),
}


def small_network(params: Any) -> models.Network:
    """Return the network that a sparse LeNet-300 is without dead units and pixels.

    Its ``init`` gives the folded weights, whatever the key.
    """
    chain = fold_dead_units([(params[n]["kernel"], params[n]["bias"]) for n in NAMES])
    lit = np.flatnonzero(chain.layers[0][0].any(1))
    rows = (lit, *(np.flatnonzero(one) for one in chain.alive))
    weights = {
        name: {
            "kernel": np.float32(kernel[np.ix_(rows[i], rows[i + 1])]),
            "bias": np.float32(bias[rows[i + 1]]),
        }
        for i, (name, (kernel, bias)) in enumerate(
            zip(NAMES, chain.layers, strict=True)
        )
    }

    def apply(params: Any, stats: Any, x: Any) -> Any:
        del stats
        h = x.reshape(x.shape[0], -1)[:, lit]
        for name in NAMES:
            h = h @ params[name]["kernel"] + params[name]["bias"].reshape(1, -1)
            h = jax.nn.relu(h) if name != NAMES[-1] else h
        return h

    return models.Network(
        lambda key: (jax.tree.map(jnp.asarray, weights), {}),
        apply,
        lambda params, stats, x, key: (apply(params, stats, x), stats),
    )


def prepared(config: Config, runs_folder: Path, seed: int) -> Config:
    """Register the seed's small network; return the config that trains it."""
    source = runs_folder / "frontier_lenet300" / f"unspecific-{seed}"
    if not (source / "summary.json").exists():
        raise FileNotFoundError(
            f"{source}: expected the finished run of python -m "
            f"pruning.experiments.frontier_lenet300 --only unspecific --seeds {seed}"
        )
    net = small_network(load_points(source)[-1].params)
    name = f"lenet300_folded_{seed}"
    with contextlib.suppress(ValueError):  # by the variant before: the same network
        models.register(name, lambda classes, shape: net)
    params, _ = net.init(jax.random.key(0))
    total = sum(int(leaf.size) for leaf in jax.tree.leaves(params))
    kept = FAR if config.prune_epochs == FURTHER.prune_epochs else NEAR
    config = replace(config, model=name, targets=(total / kept,))
    if config.allocation == "given":
        shares = [GIVEN[n] * WHOLE[n] / params[n]["kernel"].size for n in NAMES]
        config = replace(config, densities=tuple(float(share) for share in shares))
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cells that are not recorded yet, then print the table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments")
    where = parser.parse_known_args(arguments)[0].runs
    _frontier.run(
        "frontier_far",
        VARIANTS,
        description=__doc__ or "",
        arguments=arguments,
        prepare=lambda config, seed: prepared(config, where, seed),
        whole=266_610,
        biases=410,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
