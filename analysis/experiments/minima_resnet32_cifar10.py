"""Two minima of ResNet-32 on CIFAR-10: the claims of arXiv 2004.14765, three seeds.

The images are CIFAR-10 recompressed as JPEG (``cifar10_jpeg75``), so errors are not
those of the original set. The recipe of the dense network follows the paper's authors'
later one (SGD at 0.1, momentum 0.9, weight decay 5e-5, crops and flips). Batch-norm's
scales and shifts are never cut; on the way between two solutions its statistics are
interpolated.

Command: ``python -m analysis.experiments.minima_resnet32_cifar10``; hours on a GPU,
days on a CPU, resumable after every epoch. ``--reduced`` runs a
hundredth of it, in an hour and a half of one core.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = defaults("cifar10_jpeg75")

REDUCED = replace(
    CONFIG,
    seeds=(0, 1, 2),
    rewind=False,
    validation=400,
    limit=1500,
    dense_epochs=20,
    prune_epochs=20,
    tune_epochs=4,
    patience=1,
    tolerance=0.2,
    rate=3e-4,
    accept=0.1,
    curvature_examples=100,
    entropy_examples=200,
    plane_points=3,
    plane_examples=200,
    eigenvalue_points=0,
    lanczos_steps=6,
    probes=2,
)

if __name__ == "__main__":
    given = sys.argv[1:]
    if "--reduced" in given:
        given.remove("--reduced")
        run(
            "minima_resnet32_cifar10_reduced",
            REDUCED,
            description=__doc__ or "",
            note="Much reduced: 1,500 training examples and 44 epochs, no rewound "
            "solution.",
            arguments=given,
        )
    else:
        run("minima_resnet32_cifar10", CONFIG, description=__doc__ or "")
