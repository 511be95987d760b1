"""``synaptax PACKAGE COMMAND``: the commands of all four packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from synaptax.cli.program import (
    Program,
    check_own,
    guarded,
    list_commands,
    needs,
    run,
    show_version,
)

_PACKAGES = ("pruning", "analysis", "binary", "covid_cxr")
_DESCRIPTION = """Networks with few, cheap and uncertain synapses.

The same as python -m PACKAGE COMMAND. --help after a command lists its options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of a package; return its exit code.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] and words[0] in _PACKAGES:
        return guarded(
            lambda: run(_program(words[0]), words[1:], f"synaptax {words[0]}")
        )
    return guarded(lambda: _overview(words))


def _program(package: str) -> Program:
    check_own(package)
    return importlib.import_module(f"{package}.__main__").PROGRAM


def _overview(words: Sequence[str]) -> int:
    if words[:1] == ["--version"]:
        return show_version()
    if words and words[0] not in ("-h", "--help"):
        raise ValueError(f"unknown package {words[0]!r}, expected one of {_PACKAGES}")
    needs("tyro")
    texts = {}
    for package in _PACKAGES:
        program = _program(package)
        for name, command in program.commands.items():
            words = package if name == program.default else f"{package} {name}"
            texts[words] = command.text
    list_commands(texts, "synaptax", _DESCRIPTION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
