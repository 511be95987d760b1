"""``python -m pruning``: what a weight is worth, and how to take it away."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synaptax.cli.program import Command, Program, run

PROGRAM = Program(
    "pruning",
    "What a weight is worth, and how to take it away.",
    {
        "prune": Command(
            "pruning.gradual.command", "train, prune gradually, fine-tune, report"
        ),
        "psp": Command(
            "pruning.regularisers.command",
            "one network under several regularisers, side by side",
        ),
        "compare": Command(
            "pruning.comparison.command",
            "methods x compressions x seeds under one budget: a table, a figure",
        ),
    },
    default="prune",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    return run(PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
