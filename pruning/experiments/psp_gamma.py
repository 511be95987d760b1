"""How the weight of the penalty is chosen: LeNet-5 on MNIST, by validation error.

5,000 of the training examples are held out and looked at after every epoch; the test
set is looked at once, at the end, and plays no part in the choice. 10 epochs, else as
:mod:`pruning.experiments.psp_mnist`.

Command: ``python -m pruning.experiments.psp_gamma``; a cell takes about 2 minutes on
one CPU core.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments import psp_mnist
from pruning.experiments._psp_cells import run

GAMMAS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
VARIANTS = {
    f"{gamma:g}": replace(
        psp_mnist.BASE, gamma=gamma, epochs=10, validation=5000, seeds=(0, 1, 2)
    )
    for gamma in GAMMAS
}

if __name__ == "__main__":
    run("psp_gamma", VARIANTS, description=__doc__ or "")
