"""LeNet-300-100 on MNIST by a schedule: 27.87x and 103x (Table 1 of 1810.11764).

Command: ``python -m pruning.experiments.frontier_lenet300``, with ``--only`` and
``--seeds``; cell by cell, each taken up where it stopped, and the table of what is
recorded at the end. Polynomial masks from one ranking by magnitude, the shrink term
scaled with the learning rate and kept on to the end, a cosine to 0 in tuning, the last
weights. What is asked counts all biases: folded, it is 27.87x or 103x, or more.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._frontier import LECUN, run
from pruning.experiments.frontier_search import BASE, GIVEN

UNSPECIFIC = replace(
    BASE,
    seeds=(0, 1, 2, 3, 4),
    targets=(27.6,),
    dense_epochs=5,
    prune_epochs=85,
    tune_epochs=60,
    begin=0.05,
    end=0.9,
)
RIVAL = replace(UNSPECIFIC, seeds=(0, 1, 2))
FAR_LONG = replace(
    UNSPECIFIC,
    targets=(93.0,),
    dense_epochs=20,
    prune_epochs=240,
    tune_epochs=140,
    begin=0.0,
    allocation="given",
    densities=GIVEN,
)

VARIANTS = {
    "unspecific": UNSPECIFIC,
    # The allocation of the lowest validation loss in the search.
    "unspecific-far": replace(
        UNSPECIFIC, targets=(92.5,), allocation="given", densities=GIVEN
    ),
    "unspecific-long": replace(
        UNSPECIFIC, dense_epochs=20, prune_epochs=180, tune_epochs=100, begin=0.0
    ),
    "unspecific-far-long": FAR_LONG,
    # Three times the initial variance: what the weights start from.
    "unspecific-lecun": replace(UNSPECIFIC, model=LECUN, seeds=(0, 1, 2)),
    # Settings are chosen, so that the examples held out for it may be trained on.
    "unspecific-all": replace(
        UNSPECIFIC,
        dense_epochs=20,
        prune_epochs=140,
        tune_epochs=80,
        begin=0.0,
        validation=100,
    ),
    "unspecific-far-all": replace(FAR_LONG, validation=100),
    # No gate: what plain decay reaches by the same schedule.
    "l2-far-long": replace(FAR_LONG, method="l2"),
    "specific": replace(RIVAL, method="sensitivity-specific"),
    "loss-sensitivity": replace(RIVAL, method="loss-sensitivity"),
    "l2": replace(RIVAL, method="l2"),
    "none": replace(RIVAL, method="none"),
}

if __name__ == "__main__":
    run("frontier_lenet300", VARIANTS, description=__doc__ or "")
