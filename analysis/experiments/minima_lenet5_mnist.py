"""Two minima of LeNet-5 on MNIST: the claims of arXiv 2004.14765, three seeds.

Reduced to what a CPU core trains in an hour: 10,000 training examples and a strong
shrink term. Its sparsest accepted points are at 8 to 23x, for the term lifts the
validation error before tuning; :mod:`analysis.experiments.minima_lenet5_mnist_sparse`
accepts more and gets near the paper's 99.57 % (from memory, unverified).

Command: ``python -m analysis.experiments.minima_lenet5_mnist``; about an hour of one
free core, resumable after every epoch.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = replace(
    defaults("mnist"),
    limit=10000,
    batch=50,
    rate=1e-3,
    tolerance=1.0,
    dense_epochs=5,
    prune_epochs=40,
    tune_epochs=4,
    rewind=False,
    curvature_examples=300,
    lanczos_steps=10,
    probes=2,
    entropy_examples=1000,
    plane_points=5,
    plane_examples=500,
    eigenvalue_points=0,
    transfer_examples=1500,
)

NOTE = (
    "Reduced: 10,000 training examples and no rewinding, which is what an hour of one "
    "CPU core allows."
)

if __name__ == "__main__":
    run("minima_lenet5_mnist", CONFIG, description=__doc__ or "", note=NOTE)
