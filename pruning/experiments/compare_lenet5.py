"""LeNet-5 on MNIST: five methods, two compressions, one budget.

As :mod:`pruning.experiments.compare_lenet300`, 20 epochs at batch 500 (2,200 updates);
rates are the same, tuned on no data.

Command: ``python -m pruning.experiments.compare_lenet5``; with ``--record`` what a run
has so far is recorded, and nothing trained.
"""

from __future__ import annotations

from pruning.comparison.config import Comparison
from pruning.experiments._compare import Experiment

EXPERIMENT = Experiment(
    "compare_lenet5",
    "LeNet-5 on MNIST",
    Comparison(
        dataset="mnist",
        model="lenet5",
        methods=("magnitude", "l2", "snip", "rigl", "straight-through"),
        compressions=(200.0, 50.0),
        seeds=(0, 1, 2),
        budget=20,
        batch=500,
        lr=0.05,
        rate=2.5e-4,
    ),
)

if __name__ == "__main__":
    EXPERIMENT.main()
