"""Success curves of committee machines at N = 1001, K = 3 to 9.

Command: ``python -m binary.experiments.success_committee_n1001 [--only METHOD]``. It
goes on where it was stopped, chunk by chunk, and with every point recorded it prints
the table of the record and measures nothing. About 20 minutes of one core.

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
    loads={  # 0.5, 0.54, ... patterns a weight
        "committee-3": ((1.5, 1.62, 1.74), 100),
        "committee-5": ((2.1, 2.3, 2.5), 50),
        "committee-7": ((2.8, 3.08, 3.36), 30),
        "committee-9": ((3.24, 3.6, 3.96), 20),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
