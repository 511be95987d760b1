"""CIFAR-10 (JPEG copy) with ResNet-18: PSP, weight decay, both, none (1907.08544).

SGD 0.1 with momentum 0.9, divided by 10 after epochs 60, 100 and 140 of 180, batch
100, crop and flip. The penalty is that of the value that enters each ReLU, after
batch-norm and after the shortcut's sum, logits included, averaged within layers. The
authors' own runs are longer (450 epochs, drops at 150, 250, 350) and differ among
themselves; none of their figures is a target here. The images are a JPEG copy of
CIFAR-10, so errors are not comparable with the literature's.

Command: ``python -m pruning.experiments.psp_cifar``. Made for a GPU; on a CPU an
epoch takes about half an hour.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._psp_cells import run
from pruning.regularisers.config import RegulariserConfig

BASE = RegulariserConfig(
    model="resnet18",
    dataset="cifar10_jpeg75",
    method="psp",
    seeds=(0, 1, 2),
    epochs=180,
    momentum=0.9,
    drops=(60, 100, 140),
    gamma=1e-3,
    l2=5e-4,
    augment=True,
    seed_axis="map",
)
VARIANTS = {
    "psp": BASE,
    "l2": replace(BASE, method="l2"),
    "psp+l2": replace(BASE, method="psp+l2"),
    "none": replace(BASE, method="none"),
}

if __name__ == "__main__":
    run("psp_cifar", VARIANTS, description=__doc__ or "")
