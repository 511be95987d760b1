"""Success curves at N = 10001: where free ascent ends, and what annealing adds.

Command: ``python -m binary.experiments.success_n10001 [--only METHOD]``. It goes on
where it was stopped, and writes the record of what is done so far. About 15 minutes of
one core in all. Free ascent is remembered to end near 0.63 (MEM).
"""

from __future__ import annotations

import sys

from binary.experiments.record import Plan, main

PLAN = Plan(
    name="success_n10001",
    size=10001,
    first_seed=1000,
    chunk=3,
    loads={
        "free": ((0.62, 0.64, 0.66, 0.63, 0.6), 12),
        "power-300": ((0.68,), 3),
        "power-3000": ((0.68, 0.7), 6),
        "power-1000": ((0.68,), 6),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
