"""Success curves of committee machines at N = 1001, K = 3 to 9.

Command: ``python -m binary.experiments.success_committee_n1001 [--only METHOD]``. It
goes on where it was stopped, chunk by chunk, and with every point recorded it prints
the table of the record and measures nothing. About 10 minutes of one core.

A load is patterns per input, M / N; a committee has K N weights, so that M / (K N) is
what compares with a perceptron. Options and the range of loads were chosen on instances
of seeds 100 to 105, at N = 501 and 1001.
"""

from __future__ import annotations

import sys

from binary.experiments.record import Plan, main

PLAN = Plan(
    name="success_committee_n1001",
    size=1001,
    first_seed=1000,
    chunk=10,
    loads={  # 0.5 to 0.64 patterns a weight at K = 3, 0.44 to 0.52 at K = 9
        "committee-3": ((1.5, 1.62, 1.74, 1.83, 1.92), 40),
        "committee-5": ((2.5, 2.7, 2.9), (20, 10, 10)),
        "committee-7": ((3.22, 3.5, 3.78), 4),
        "committee-9": ((3.96, 4.32, 4.68), 4),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
