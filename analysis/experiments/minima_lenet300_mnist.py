"""Two minima of LeNet-300-100 on MNIST: the claims of arXiv 2004.14765, three seeds.

The paper's own map is of LeNet-5 at 99.57 % pruned (from memory, unverified); this is
the same comparison on the smaller network and 5,000 training examples, which is what
a share of one busy CPU core allows.

Command: ``python -m analysis.experiments.minima_lenet300_mnist``; about three minutes
of one free core.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = replace(
    defaults("mnist"),
    model="lenet300",
    limit=5000,
    lr=0.05,
    momentum=0.9,
    rate=3e-4,
    patience=3,
    tolerance=0.3,
    dense_epochs=30,
    prune_epochs=80,
    tune_epochs=8,
    rewind=False,
    curvature_examples=1000,
    entropy_examples=5000,
    plane_examples=1000,
    transfer_examples=3000,
)

NOTE = "Reduced: 5,000 of MNIST's training examples, and no rewinding."

if __name__ == "__main__":
    run("minima_lenet300_mnist", CONFIG, description=__doc__ or "", note=NOTE)
