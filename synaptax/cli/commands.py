"""What the command lines share: find a command's module, call it, say what went wrong.

A command ``NAME`` of a package is the module ``PACKAGE.commands.NAME`` with a function
``main(arguments) -> exit code``; it is imported when it is called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence


def installed(package: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return those commands whose modules exist, each with what it does.

    Args:
        package: the package's name.
        texts: command to one line on it.
    """
    found = importlib.util.find_spec
    return {
        name: text
        for name, text in texts.items()
        if found(f"{package}.commands.{name}") is not None
    }


def call(
    package: str, name: str, given: Sequence[str], known: Mapping[str, str], extra: str
) -> int:
    """Call a command; return its exit code, 2 on an error, 130 if interrupted.

    Args:
        package: the package's name.
        name: the command.
        given: its arguments.
        known: the commands that exist, as :func:`installed` gives them.
        extra: what brings a module that is missing, as in ``synaptax[extra]``.
    """
    try:
        if name not in known:
            raise ValueError(
                f"unknown command {name!r}, expected one of {', '.join(known)}; "
                "options begin with --, see --help"
            )
        return importlib.import_module(f"{package}.commands.{name}").main(given)
    except ModuleNotFoundError as error:
        print(f"error: {error}: pip install 'synaptax[{extra}]'", file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError, ArithmeticError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def option(given: Sequence[str], name: str) -> str | None:
    """Return the last value of an option, before the options are parsed in full.

    Args:
        given: the command line.
        name: the option as ``--name``, dashes within.
    """
    found = None
    for index, word in enumerate(given):
        key, equals, value = word.partition("=")
        if key.replace("_", "-") == name:
            found = value if equals else "".join(given[index + 1 : index + 2])
    return found
