"""LeNet-300-100 on MNIST: error against compression (Table 1 of 1810.11764).

Paper: "Learning sparse neural networks via sensitivity-driven regularization". Its
table could not be read; the figures that RESULTS.md sets beside ours are from memory
and marked so.

Command: ``python -m pruning.experiments.lenet300_mnist``. The methods of the table
train five networks each (seeds 0 to 4), about ten minutes a method on one CPU core;
the ablations (``abs-mean``, ``softmax``, ``refresh-1``, ``refresh-100``) two. All
gradual variants share learning rate, budget, trigger and tolerance. Images are
scaled but not centred: a pixel that is black in every image then has no influence,
and its weights fade.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._variants import run
from pruning.gradual.config import Config

UNSPECIFIC = Config(
    model="lenet300",
    dataset="mnist",
    method="sensitivity-unspecific",
    seeds=(0, 1, 2, 3, 4),
    rate=1.5e-4,
    refresh=10,
    patience=2,
    tolerance=0.3,
    dense_epochs=8,
    prune_epochs=130,
    tune_epochs=20,
    tune_lr=0.03,
    targets=(27.0, 60.0, 100.0),
    center=False,
    prunable="weights",
    checkpoint_every=10,
)
ONE_SHOT = replace(UNSPECIFIC, method="one-shot", tune_epochs=60)
ABLATION = replace(UNSPECIFIC, seeds=(0, 1))

VARIANTS = {
    "unspecific": UNSPECIFIC,
    "specific": replace(UNSPECIFIC, method="sensitivity-specific"),
    "loss-sensitivity": replace(UNSPECIFIC, method="loss-sensitivity"),
    "l2": replace(UNSPECIFIC, method="l2"),
    "one-shot": ONE_SHOT,
    "one-shot-rewind": replace(ONE_SHOT, method="one-shot-rewind"),
    "abs-mean": replace(ABLATION, reduction="abs_mean"),
    "softmax": replace(ABLATION, output="softmax"),
    "refresh-1": replace(ABLATION, refresh=1),
    "refresh-100": replace(ABLATION, refresh=100),
}

if __name__ == "__main__":
    run("lenet300_mnist", VARIANTS, description=__doc__ or "")
