"""LeNet-5 on MNIST: error against compression (Table 2 of 1810.11764).

Paper: "Learning sparse neural networks via sensitivity-driven regularization". Its
table could not be read; the figures that RESULTS.md sets beside ours are from memory
and marked so.

Command: ``python -m pruning.experiments.lenet5_mnist``. Two networks (seeds 0 and
1), the sensitivity refreshed every 20 steps; about 40 minutes on one CPU core.
"""

from __future__ import annotations

from pruning.experiments._variants import run
from pruning.gradual.config import Config

UNSPECIFIC = Config(
    model="lenet5",
    dataset="mnist",
    method="sensitivity-unspecific",
    seeds=(0, 1),
    rate=1e-4,
    refresh=20,
    patience=1,
    tolerance=0.5,
    dense_epochs=6,
    prune_epochs=44,
    tune_epochs=5,
    tune_lr=0.02,
    targets=(50.0, 100.0),
    checkpoint_every=1,
)

VARIANTS = {"unspecific": UNSPECIFIC}

if __name__ == "__main__":
    run("lenet5_mnist", VARIANTS, description=__doc__ or "")
