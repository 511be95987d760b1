"""``python -m covid_cxr COMMAND``: a small-data chest X-ray study, shortcuts included.

Each command lives in a module of its own, imported when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from covid_cxr import CAUTION
from synaptax.cli.commands import call, installed

_COMMANDS = {
    "verify": "check a folder of films: name each file that is wrong",
    "study": "the train x test matrix of a config, resumable, to one report",
    "demo": "a reduced study on synthetic films, in minutes",
    "segment": "train and judge the lung segmentation",
}


def commands() -> dict[str, str]:
    """Return the commands that are installed, each with what it does."""
    return installed("covid_cxr", _COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
            The module of the command has ``main(arguments) -> int``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = commands()
    if not given or given[0] in ("-h", "--help"):
        print(_usage(known))
        return 0
    name = given.pop(0)
    return call("covid_cxr", name, given, known, "cxr")


def _usage(known: dict[str, str]) -> str:
    lines = ["usage: python -m covid_cxr COMMAND [OPTIONS], see COMMAND --help", ""]
    lines += [f"  {name:10s}{text}" for name, text in known.items()]
    return "\n".join([*lines, "", CAUTION])


if __name__ == "__main__":
    sys.exit(main())
