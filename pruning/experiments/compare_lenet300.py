"""LeNet-300-100 on MNIST: eleven methods, six compressions, one budget.

Each cell is one network, trained for 40 epochs at batch 1000 (55,000 examples, 2,200
updates); see :class:`pruning.comparison.config.Comparison`. Rates are the same for all
and were tuned on no data. Cells go seed by seed and compression by compression, so that
what is recorded is whole columns; recorded cells are never trained again, and with the
record alone a comparison begun on one machine goes on on another.

Command: ``python -m pruning.experiments.compare_lenet300``; with ``--record`` what a
run has so far is recorded, and nothing trained.
"""

from __future__ import annotations

from pruning.comparison.config import Comparison
from pruning.experiments._compare import Experiment

EXPERIMENT = Experiment(
    "compare_lenet300",
    "LeNet-300-100 on MNIST",
    Comparison(
        dataset="mnist",
        model="lenet300",
        methods=(
            "magnitude",
            "one-shot",
            "l2",
            "sensitivity",
            "ac-dc",
            "grasp",
            "snip",
            "synflow",
            "static",
            "rigl",
            "straight-through",
        ),
        # Hard ones first: what a short run leaves out is where all methods agree.
        compressions=(50.0, 200.0, 10.0, 100.0, 20.0, 2.0),
        seeds=(0, 1, 2, 3, 4),
        budget=40,
        batch=1000,
        lr=0.1,
        rate=5e-4,
    ),
)

if __name__ == "__main__":
    EXPERIMENT.main()
