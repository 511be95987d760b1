"""LeNet-5 on Fashion-MNIST under five regularisers, as 1907.08544's code has it.

As :mod:`pruning.experiments.psp_mnist`, but 150 epochs and images normalised with
(0.5, 0.5). The authors' notebook, mean over epochs 31 to 150 and 10 seeds: PSP 7.88 %,
L2 8.28 %, L1 9.56 %, dropout 8.22 %, none 8.13 %.

Command: ``python -m pruning.experiments.psp_fashion``; one cell with
``--only psp --seeds 0``. A cell takes about 26 minutes on one CPU core; interrupted,
it goes on where it was.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments import psp_mnist
from pruning.experiments._psp_cells import run

VARIANTS = {
    name: replace(
        config,
        dataset="fashion_mnist",
        pixels=(0.5, 0.5),
        epochs=150,
        seeds=tuple(range(5)),
    )
    for name, config in psp_mnist.VARIANTS.items()
}

if __name__ == "__main__":
    run("psp_fashion", VARIANTS, description=__doc__ or "")
