"""Two minima of ResNet-32 on a thirtieth of CIFAR-10, small enough for one CPU core.

As :mod:`analysis.experiments.minima_resnet32_cifar10`, on 1,500 training images and
with a quarter of the epochs. A network that knows so little has a loss not far below
that of a blind guess (ln 10 = 2.30), so a cut may raise it by no more than a fifth.

Command: ``python -m analysis.experiments.minima_resnet32_cifar10_reduced``; about an
hour and a half on one core, resumable after every epoch.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.experiments.minima_resnet32_cifar10 import CONFIG

REDUCED = replace(
    CONFIG,
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
    run(
        "minima_resnet32_cifar10_reduced",
        REDUCED,
        description=__doc__ or "",
        note="Much reduced: 1,500 training images, 44 epochs, no rewound solution.",
    )
