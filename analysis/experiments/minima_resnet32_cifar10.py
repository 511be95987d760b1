"""Two minima of ResNet-32 on CIFAR-10: the claims of arXiv 2004.14765, three seeds.

The images are CIFAR-10 recompressed as JPEG (``cifar10_jpeg75``), so errors are not
those of the original set. The dense network is trained by SGD at 0.1, momentum
0.9, weight decay 5e-5, crops and flips, as in a later paper of one of the authors;
epochs and learning-rate drops are ours, so it is not their recipe. Batch-norm's
scales and shifts are never cut; on the way between two solutions its statistics are
interpolated.

Command: ``python -m analysis.experiments.minima_resnet32_cifar10``; hours on a GPU,
days on a CPU, resumable after every epoch.
:mod:`analysis.experiments.minima_resnet32_cifar10_reduced` is for a CPU.
"""

from __future__ import annotations

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = defaults("cifar10_jpeg75")

if __name__ == "__main__":
    run("minima_resnet32_cifar10", CONFIG, description=__doc__ or "")
