"""``python -m binary``: stochastic binary synapses, solved and explained.

With no argument this solves one instance. A first argument that is no option names a
command; each lives in a module of its own, imported when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synaptax.cli.commands import call, installed

_COMMANDS = {
    "solve": "solve one instance; errors and q* against epochs",
    "success": "success probability against load, with intervals; resumable",
    "theory": "any curve of the replica theory, to CSV and figure",
    "overlay": "experiment on theory",
    "mnist": "a deep network of binary stochastic weights",
}


def commands() -> dict[str, str]:
    """Return the commands that are installed, each with what it does."""
    return installed("binary", _COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
            The module of the command has ``main(arguments)``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given and not given[0].startswith("-") else "solve"
    return call("binary", name, given, commands(), "lab")


if __name__ == "__main__":
    sys.exit(main())
