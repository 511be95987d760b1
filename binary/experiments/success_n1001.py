"""Success curves at N = 1001 on the same instances.

Command: ``python -m binary.experiments.success_n1001 [--only METHOD]``. It goes on
where it was stopped, and writes the record of what is done so far. About 35 minutes of
one core in all. The paper is remembered to put alpha_GD near 0.63 for free ascent, and
0.6 to 0.74 for message-passing heuristics (both MEM).

Options were tuned on instances of other seeds than those reported here.
"""

from __future__ import annotations

import sys

from binary.experiments.record import Plan, main

PLAN = Plan(
    name="success_n1001",
    size=1001,
    first_seed=1000,
    chunk=25,
    loads={
        "free": ((0.5, 0.55, 0.6, 0.62, 0.64, 0.66, 0.68, 0.7), 200),
        "free-minibatch": ((0.6, 0.64, 0.66, 0.68, 0.7), 200),
        "free-detached": ((0.3, 0.4, 0.5, 0.6), 200),
        "linear-1000": ((0.6, 0.65), 200),
        "linear-3000": ((0.65, 0.68, 0.7), 200),
        "power-100": ((0.6, 0.64, 0.66, 0.68, 0.7), 200),
        "power-300": ((0.66, 0.68, 0.7, 0.72, 0.74), 200),
        "power-1000": ((0.68, 0.7, 0.72, 0.74), 200),
        "power-3000": ((0.68, 0.7, 0.74, 0.76), 200),
        "sbpi": ((0.65, 0.68, 0.7, 0.72, 0.74, 0.76), 200),
        "amp": ((0.65, 0.68, 0.7, 0.72, 0.74, 0.76), 200),
        "power-10000": ((0.74, 0.76, 0.78), 200),
        "straight-through": ((0.1, 0.2, 0.3, 0.4), 200),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
