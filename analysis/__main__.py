"""``python -m analysis``: what kind of minimum a pruned network sits in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synaptax.cli.program import Command, Program, run

PROGRAM = Program(
    "analysis",
    "What kind of minimum a pruned network sits in.",
    {
        "minima": Command(
            "analysis.minima.command",
            "a gradual and a one-shot solution, measured and judged claim by claim",
        ),
    },
    extra="analysis",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    return run(PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
