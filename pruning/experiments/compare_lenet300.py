"""LeNet-300-100 on MNIST: ten methods, six compressions, one budget.

Each cell is one network, trained for 40 epochs at batch 1000 (55,000 examples, 2,200
updates); see :class:`pruning.comparison.config.Comparison`. Rates are the same for all
and were not tuned, on no data. Cells are recorded as they are finished, seed by seed
and compression by compression, and are never trained again.

Command: ``python -m pruning.experiments.compare_lenet300``.
"""

from __future__ import annotations

from pathlib import Path

from pruning.comparison import command
from pruning.comparison.config import Comparison

CONFIG = Comparison(
    dataset="mnist",
    model="lenet300",
    methods=(
        "magnitude",
        "one-shot",
        "l2",
        "sensitivity",
        "straight-through",
        "ac-dc",
        "snip",
        "synflow",
        "static",
        "rigl",
    ),
    # Hard ones first: what a short run leaves out is where all methods agree.
    compressions=(50.0, 200.0, 10.0, 100.0, 20.0, 2.0),
    seeds=(0, 1, 2, 3, 4),
    budget=40,
    batch=1000,
    lr=0.1,
    rate=5e-4,
)

if __name__ == "__main__":
    import sys

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/compare_lenet300")
    command.compare(CONFIG, folder, resume=folder.exists())
