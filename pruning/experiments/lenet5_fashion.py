"""LeNet-5 on Fashion-MNIST: error against compression (Table 3 of 1810.11764).

Paper: "Learning sparse neural networks via sensitivity-driven regularization". Its
table could not be read; the figures that RESULTS.md sets beside ours are from memory
and marked so.

Command: ``python -m pruning.experiments.lenet5_fashion``. Two networks (seeds 0 and
1), the sensitivity refreshed every 50 steps; about 20 minutes on one CPU core.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._variants import run
from pruning.experiments.lenet5_mnist import UNSPECIFIC

VARIANTS = {
    "unspecific": replace(
        UNSPECIFIC,
        dataset="fashion_mnist",
        refresh=50,
        tolerance=0.3,
        dense_epochs=6,
        prune_epochs=18,
        tune_epochs=4,
        targets=(11.0,),
    )
}

if __name__ == "__main__":
    run("lenet5_fashion", VARIANTS, description=__doc__ or "")
