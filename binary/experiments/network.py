"""Deep binary networks on MNIST and Fashion-MNIST, against straight-through.

Paper: "On the role of synaptic stochasticity in training low-precision neural
networks" (arXiv 1710.09825) reports a deep extension on MNIST with three hidden layers;
its architecture and settings were not seen.

Command: ``python -m binary.experiments.network``; ``--only NAME`` for some variants,
``--seeds`` for some seeds. Every variant is a run of its own for each seed, resumable,
recorded when it ends; what is recorded already is not run again. A network of
three hidden layers of 801 takes about ten minutes on one idle CPU core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from binary.network.config import Config
from binary.network.train import train
from synaptax import runs

RECORDED = Path(__file__).parent / "recorded"

MNIST = Config(dataset="mnist", epochs=30)
FASHION = replace(MNIST, dataset="fashion_mnist")
STRAIGHT = {"method": "straight-through", "lr": 0.003}

VARIANTS = {
    "mnist-propagate": MNIST,
    "mnist-straight-through": replace(MNIST, **STRAIGHT),
    "mnist-pull": replace(MNIST, certainty="pull"),
    "fashion-propagate": FASHION,
    "fashion-straight-through": replace(FASHION, **STRAIGHT),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the variants that are not recorded yet, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs") / "network")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        for name in options.only or list(VARIANTS):
            record = options.recorded / f"network_{name}-{seed}.json"
            if record.exists():
                print(f"{name}, seed {seed}: recorded already", flush=True)
                continue
            folder = options.runs / f"{name}-{seed}"
            print(f"{name}, seed {seed}: {folder}", flush=True)
            train(replace(VARIANTS[name], seeds=(seed,)), folder, resume=True)
            summary = runs.read_json(folder / "summary.json")
            command = f"python -m binary.experiments.network --only {name}"
            summary |= {"variant": name, "command": f"{command} --seeds {seed}"}
            options.recorded.mkdir(parents=True, exist_ok=True)
            runs.write_json(record, summary)


if __name__ == "__main__":
    main()
