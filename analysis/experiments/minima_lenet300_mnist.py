"""Two minima of LeNet-300-100 on MNIST: the claims of arXiv 2004.14765, three seeds.

The paper's own map is of LeNet-5 at 99.57 % pruned (from memory, unverified); this is
the same comparison on the smaller network, which a CPU trains on all of MNIST.

Command: ``python -m analysis.experiments.minima_lenet300_mnist``; about ten minutes
of one free core.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = replace(
    defaults("mnist"),
    model="lenet300",
    limit=None,
    rate=2e-4,
    dense_epochs=6,
    prune_epochs=30,
    tune_epochs=4,
)

if __name__ == "__main__":
    run("minima_lenet300_mnist", CONFIG, description=__doc__ or "")
