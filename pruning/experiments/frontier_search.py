"""LeNet-300-100 on MNIST by a schedule: the small search, read on validation alone.

Command: ``python -m pruning.experiments.frontier_search``. One seed that the frontier
does not use, short runs to about 100x: which allocation, which decay. What stands here
under "test" was not looked at before the settings of
:mod:`pruning.experiments.frontier_lenet300` were fixed.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._frontier import run
from pruning.gradual.config import Config

BASE = Config(
    model="lenet300",
    dataset="mnist",
    method="sensitivity-unspecific",
    seeds=(100,),
    rate=1e-4,
    refresh=10,
    dense_epochs=5,
    prune_epochs=40,
    tune_epochs=25,
    schedule="polynomial",
    begin=0.1,
    end=0.9,
    targets=(100.0,),
    tune_lr=0.1,
    tune_shape="cosine",
    tune_hold=0.1,
    tune_shrink=True,
    shrink_scaled=True,
    tune_last=True,
    center=False,
    prunable="weights",
    checkpoint_every=20,
)

# The shares of the paper's long run, as remembered (LeNet-300, 103x).
GIVEN = (0.0093, 0.0112, 0.059)
NEAR = replace(
    BASE,
    targets=(27.6,),
    dense_epochs=20,
    prune_epochs=140,
    tune_epochs=80,
    begin=0.0,
    end=0.9,
)
FAR = replace(
    NEAR,
    targets=(93.5,),
    prune_epochs=200,
    tune_epochs=120,
    allocation="given",
    densities=GIVEN,
)
VARIANTS = {
    "global": BASE,
    "lamp": replace(BASE, allocation="lamp"),
    "output": replace(BASE, allocation="output"),
    "given": replace(BASE, allocation="given", densities=GIVEN),
    "scale": replace(BASE, allocation="scale"),
    "erk": replace(BASE, allocation="erk"),
    "lamp-2e-4": replace(BASE, allocation="lamp", rate=2e-4),
    "given-2e-4": replace(BASE, allocation="given", densities=GIVEN, rate=2e-4),
    # At the length of the long cells: which decay.
    "near-5e-5": replace(NEAR, rate=5e-5),
    "near-1e-4": NEAR,
    "near-2e-4": replace(NEAR, rate=2e-4),
    "far-5e-5": replace(FAR, rate=5e-5),
    "far-1e-4": FAR,
    "far-2e-4": replace(FAR, rate=2e-4),
}

if __name__ == "__main__":
    run("frontier_search", VARIANTS, description=__doc__ or "")
