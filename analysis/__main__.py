"""``python -m analysis``: what kind of minimum a pruned network sits in.

A first argument names a command; ``minima`` is the only one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

COMMANDS = {"minima": "analysis.minima.command"}
_NEEDS = ("tyro", "rich", "orbax", "matplotlib", "matfree", "scipy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(
            f"usage: python -m analysis COMMAND ...\n\ncommands: {', '.join(COMMANDS)}"
        )
        return 0
    name = given.pop(0)
    try:
        if name not in COMMANDS:
            raise ValueError(
                f"unknown command {name!r}, expected one of {', '.join(COMMANDS)}"
            )
        for package in _NEEDS:  # before minutes of training, not after
            if importlib.util.find_spec(package) is None:
                raise ImportError(
                    f"this needs {package}: pip install 'synaptax[analysis]'"
                )
        return importlib.import_module(COMMANDS[name]).run(given)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
