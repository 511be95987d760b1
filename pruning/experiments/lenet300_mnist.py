"""LeNet-300-100 on MNIST: error against compression (Table 1 of 1810.11764).

Paper: "Learning sparse neural networks via sensitivity-driven regularization". Its
table could not be read; the figures that RESULTS.md sets beside ours are from memory
and marked so.

Command: ``python -m pruning.experiments.lenet300_mnist``. Each variant trains five
networks (seeds 0 to 4). Wall time and device are in the recorded files.
"""

from __future__ import annotations

from dataclasses import replace

from pruning.experiments._variants import run
from pruning.lab.config import Config
