"""LeNet-5 on MNIST under five regularisers, in the settings of 1907.08544's code.

RegulariserConfig SGD at 0.1, batch 100, 50 epochs, all 60,000 training examples, images
normalised with (0.1307, 0.3081), weights from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
There is no validation split: the authors' logs give the test error of every epoch, and
so do we; what is reported is the last epoch, nothing is chosen. Their logs at epoch 50:
PSP 0.57 +- 0.04 %, L2 0.74 %, none 0.75 %, dropout 0.65 %, L1 0.93 %.

Command: ``python -m pruning.experiments.psp_mnist``; one cell with
``--only psp --seeds 0``. A cell takes about 10 minutes on one CPU core.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._psp_cells import run
from pruning.regularisers.config import RegulariserConfig

BASE = RegulariserConfig(
    model="lenet5",
    dataset="mnist",
    method="psp",
    seeds=tuple(range(10)),
    epochs=50,
    gamma=1e-3,
    l2=1e-4,
    l1=1e-4,
    dropout=0.5,
)
VARIANTS = {
    "psp": BASE,
    "l2": replace(BASE, method="l2"),
    "none": replace(BASE, method="none"),
    "dropout": replace(BASE, method="dropout"),
    "l1": replace(BASE, method="l1"),
}

if __name__ == "__main__":
    run("psp_mnist", VARIANTS, description=__doc__ or "")
