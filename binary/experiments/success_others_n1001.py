"""Success curves of the solvers that success_n1001 leaves out, on its instances.

Command: ``python -m binary.experiments.success_others_n1001 [--only METHOD]``. It goes
on where it was stopped, chunk by chunk, and with every point recorded it prints the
table of the record and measures nothing. About two minutes of one core.

Ascent on h = atanh m and simulated annealing at easy loads; focusing and replicated
ascent at the hard ones, as success_hard_n1001 has AMP in attempts. Few instances each:
intervals are wide, and 200 would take an hour.
"""

from __future__ import annotations

import sys

from binary.experiments.record import Plan, main

_HARD = (0.7, 0.72, 0.74, 0.76, 0.78)

PLAN = Plan(
    name="success_others_n1001",
    size=1001,
    first_seed=1000,
    chunk=10,
    loads={
        "free-h": ((0.6, 0.62, 0.64, 0.66, 0.68), 10),
        "focusing": (_HARD, 10),
        "replicated": (_HARD, 10),
        "annealing": ((0.2, 0.3), 10),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
