"""Two minima of LeNet-300-100 on MNIST with LOBSTER's settings as released.

Rate 1e-4 a step, batch 100, tolerance 0.05, learning rate 0.1 without momentum, all
parameters prunable, biases too, 27,500 training examples and 5,000 for every choice;
patience 3 where the authors' example has 20, and 60 epochs of pruning where it has up
to 10,000: what a share of one CPU core trains in an hour. G, S by global
magnitude, and T (G's mask from the initial weights) are compared at exactly equal
sparsity, and again at equal training loss where they reach one.

Command: ``python -m analysis.experiments.minima_lenet300_mnist_full``; about half an
hour of one free core, resumable.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = replace(
    defaults("mnist"),
    model="lenet300",
    seeds=(0, 1, 2),
    rate=1e-4,
    patience=3,
    tolerance=0.05,
    dense_epochs=10,
    prune_epochs=60,
    tune_epochs=5,
    rewind=False,
    layerwise=False,
    equal_epochs=10,
    equal_levels=3,
    entropy_examples=5000,
    plane_points=5,
    plane_examples=1000,
    eigenvalue_points=0,
    transfer="none",
)

NOTE = (
    "LOBSTER as released but for patience (3, not 20) and length (60 epochs of "
    "pruning, not up to 10,000); no rewinding."
)

if __name__ == "__main__":
    run("minima_lenet300_mnist_full", CONFIG, description=__doc__ or "", note=NOTE)
