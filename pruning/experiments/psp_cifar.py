"""CIFAR-10 (JPEG copy) with ResNet-18: PSP, weight decay, both, none (1907.08544).

SGD 0.1 with momentum 0.9, divided by 10 after epochs 60, 100 and 140 of 180, batch
100, crop and flip. The penalty is that of the value that enters each ReLU, after
batch-norm and after the shortcut's sum, logits included, averaged within layers. The
authors' own runs are longer (450 epochs, drops at 150, 250, 350) and differ among
themselves; none of their figures is a target here. The images are a JPEG copy of
CIFAR-10, so errors are not comparable with the literature's.

The other variants are the settings of the authors' other scripts, each named by its
evidence in the code below.

Command: ``python -m pruning.experiments.psp_cifar``; one cell with ``--only psp-sum
--seeds 0``. Each cell is a file and goes on after an interruption. Memory (shapes, by
``eval_shape``, batch 100): 89 MB of weights and momentum, 45 MB of gradients, 1.26 GB
kept for the backward pass, 0.74 GB of images; a process on a CPU took 2.1 GB with one
batch. Time: a step took 10.6 s of one core on a busy machine, so a cell (90,000 steps)
would take eleven days of it; by operations (3.3 GFLOP an image, 3e16 a cell) 50 minutes
on a GPU that sustains 10 TFLOP/s, which was not measured.
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
# As the authors' best logs have it: CIFAR10.py's sum over batch, channels and pixels at
# 1e-7, logits left out (test error 5.48 %; with the logits 6.5 %).
SUM = replace(BASE, normalization="sum", gamma=1e-7, logits=False)
VARIANTS = {
    "psp": BASE,
    "l2": replace(BASE, method="l2"),
    "psp+l2": replace(BASE, method="psp+l2"),
    "none": replace(BASE, method="none"),
    "psp-sum": SUM,
    # Their log "local" with weight decay: 5.1 %.
    "psp-sum-local+l2": replace(SUM, method="psp+l2", local=True),
    # CIFAR10_sepopt.py: a second, plain step on the penalty alone.
    "psp-separate": replace(BASE, separate=True),
    # The "local2" models: what leaves a convolution, before batch-norm.
    "psp-before-norm": replace(BASE, values="before-norm"),
    # cifar.py: the squared mean over the batch, its weight over the learning rate; the
    # weight itself is a flag that no log that was read names, 1e-3 is a guess.
    "psp-batch-mean": replace(BASE, normalization="batch-mean", gamma=1e-3 / BASE.lr),
}

if __name__ == "__main__":
    run("psp_cifar", VARIANTS, description=__doc__ or "")
