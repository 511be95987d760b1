"""Two minima of LeNet-300-100 on digits: the claims of arXiv 2004.14765, five seeds.

The small comparison that ``python -m analysis minima`` runs with no option, with two
seeds more. digits has 1,100 training examples of 8 x 8 pixels and 400 for the test,
of which one is 0.25 points: expect wide intervals.

Command: ``python -m analysis.experiments.minima_lenet300_digits``; five and a half
minutes of one core.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.experiments._minima import run
from analysis.minima.config import defaults

CONFIG = replace(defaults("digits"), seeds=(0, 1, 2, 3, 4))

NOTE = (
    "digits is small: one test example is 0.25 points, and the transfer set is the "
    "same images with rows and columns exchanged."
)

if __name__ == "__main__":
    run("minima_lenet300_digits", CONFIG, description=__doc__ or "", note=NOTE)
