"""LeNet-5 on Fashion-MNIST under five regularisers, a fifth of the authors' epochs.

As :mod:`pruning.experiments.psp_fashion`, with the authors' settings but 30 epochs
instead of 150: what two CPU cores can do beside other work. The authors' figures are
means over epochs 31 to 150 and so not comparable with these.

Command: ``python -m pruning.experiments.psp_fashion_short``; one cell with
``--only psp --seeds 0``. A cell takes about six minutes on one CPU core.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments import psp_fashion
from pruning.experiments._psp_cells import run

VARIANTS = {
    name: replace(config, epochs=30, seeds=(0, 1))
    for name, config in psp_fashion.VARIANTS.items()
}

if __name__ == "__main__":
    run("psp_fashion_short", VARIANTS, description=__doc__ or "")
