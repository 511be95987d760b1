"""``python -m binary``: stochastic binary synapses, solved and explained."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synaptax.cli.program import Command, Program, run

PROGRAM = Program(
    "binary",
    "Stochastic binary synapses, solved and explained.",
    {
        "solve": Command(
            "binary.commands.solve", "one instance; errors and q* against epochs"
        ),
        "success": Command(
            "binary.commands.success",
            "success probability against load, with intervals",
        ),
        "theory": Command(
            "binary.commands.theory",
            "any curve of the replica theory, to CSV and figure",
        ),
        "overlay": Command("binary.commands.overlay", "experiment laid on theory"),
        "mnist": Command(
            "binary.commands.mnist", "a deep network of binary stochastic weights"
        ),
    },
    default="solve",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    return run(PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
