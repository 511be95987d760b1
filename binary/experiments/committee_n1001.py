"""Success curves of committee machines at N = 1001 inputs.

Command: ``python -m binary.experiments.committee_n1001 [--only METHOD]``. It goes on
where it was stopped; with every point recorded it prints the table of the record and
measures nothing. A load is patterns per input, so that a weight has 1 / K of it.
"""

from __future__ import annotations

import sys

from binary.experiments.record import Plan, main

PLAN = Plan(
    name="committee_n1001",
    size=1001,
    first_seed=1000,
    chunk=5,
    loads={
        "committee-3": ((1.4, 1.7, 2.0), 10),
        "committee-5": ((2.0, 2.5), 10),
    },
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
