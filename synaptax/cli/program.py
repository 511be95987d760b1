"""What every program does: find the command, call it, say in one line what went wrong.

A program is ``python -m PACKAGE``. The console script ``synaptax PACKAGE`` is the same,
and works where the working directory has a folder of the package's name too.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from jax.errors import JaxRuntimeError

import synaptax
from synaptax.cli.options import Interrupted, parse
from synaptax.cli.terminal import printable
from synaptax.runs import processes
from synaptax.training.errors import NonFiniteError

_LAB = ("tyro", "rich", "orbax", "matplotlib")


class Command(NamedTuple):
    """A command.

    Attributes:
        module: holds ``main(arguments, prog) -> exit code``. It is imported when the
            command is called, so that the list needs none of what they import.
        text: what it does, in one line.
    """

    module: str
    text: str


class Program(NamedTuple):
    """The commands of a package.

    Attributes:
        package: its name.
        text: what it is for.
        commands: by name.
        default: the command that runs where none is named.
        extra: what brings a module that is missing, as in ``synaptax[extra]``.
    """

    package: str
    text: str
    commands: Mapping[str, Command]
    default: str | None = None
    extra: str = "lab"


def run(
    program: Program, arguments: Sequence[str] | None = None, prog: str | None = None
) -> int:
    """Run a command of a package.

    Args:
        program: the package's.
        arguments: the command line after the program's name; default: this process's.
        prog: what was typed to get here; default: ``python -m PACKAGE``.

    Returns:
        The exit code: the command's, 2 on an error, 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    prog = f"python -m {program.package}" if prog is None else prog
    return guarded(lambda: _called(program, words, prog), program.extra)


def _called(program: Program, words: list[str], prog: str) -> int:
    if words[:1] == ["--version"]:
        return show_version()
    needs(*_LAB)
    commands, default = program.commands, program.default
    if words[:1] in (["-h"], ["--help"]) or not (words or default):
        texts = {name: command.text for name, command in commands.items()}
        list_commands(texts, prog, program.text, default)
        if not default:
            return 0
        print()
    # Options without a command are the default command's.
    if default and (not words or words[0].startswith("-")):
        words = [default, *words]
    name, *rest = words
    if name not in commands:
        raise ValueError(
            f"unknown command {name!r}, expected one of {', '.join(commands)}; "
            "options begin with --, see --help"
        )
    main = importlib.import_module(commands[name].module).main
    return main(rest, prog if name == default else f"{prog} {name}")


def guarded(work: Callable[[], int], extra: str = "lab") -> int:
    """Return the exit code of a work; errors and interruptions are told in a line.

    Args:
        work: returns an exit code.
        extra: what brings a module that is missing.
    """
    # Of what is not caught below: one of several processes must end with it too.
    code = 1
    try:
        code = _code_of(work, extra)
    finally:
        if code:
            processes.leave(code)
    return code


def _code_of(work: Callable[[], int], extra: str) -> int:
    try:
        with _terminable():
            return work()
    except ModuleNotFoundError as error:
        return _failed(f"{error}: pip install 'synaptax[{extra}]'")
    except (ValueError, OSError, ImportError, ArithmeticError, NonFiniteError) as error:
        return _failed(str(error))
    except JaxRuntimeError as error:
        if not processes.several():
            raise
        return _failed(
            f"{error}: another process of this run may have ended; start all of them "
            "again, with --resume"
        )
    except Interrupted as error:
        again = f"\ninterrupted; what was done is kept. Go on with:\n  {error}"
        print(again, file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
    return 130


def _failed(text: str) -> int:
    print(f"error: {printable(' '.join(text.split()))}", file=sys.stderr)
    return 2


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which schedulers and containers send, do what SIGINT does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set what a signal does
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def needs(*packages: str, extra: str = "lab") -> None:
    """Raise an ImportError for a package that is missing, before minutes of work.

    Args:
        packages: by the names they are imported by.
        extra: what brings them, as in ``synaptax[extra]``.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"this needs {package}: pip install 'synaptax[{extra}]'")


def list_commands(
    texts: Mapping[str, str], prog: str, description: str, default: str | None = None
) -> None:
    """Print a help that lists commands, each with its line.

    Args:
        texts: by command.
        prog: what was typed to get here.
        description: as for :func:`synaptax.cli.options.parse`.
        default: the command that runs where none is named.
    """
    from tyro.conf import Suppress, subcommand

    kinds: Any = Annotated[None, Suppress]  # tyro has no union of one command
    for name, text in texts.items():
        kinds |= Annotated[
            dataclasses.make_dataclass("Command", []),
            subcommand(name, description=text, is_default=name == default),
        ]
    with suppress(SystemExit):
        parse(kinds, ["--help"], prog, description)


def show_version() -> int:
    """Print the version; return the exit code."""
    print(f"synaptax {synaptax.__version__}")
    return 0


def check_own(package: str) -> None:
    """Raise an ImportError if a package of that name is not of this distribution.

    PyPI has distributions with top-level packages ``binary`` and ``analysis``, and a
    working directory may have folders of these names.
    """
    home = Path(synaptax.__file__).resolve().parents[1]
    spec = importlib.util.find_spec(package)
    origin = spec and spec.origin
    if origin and Path(origin).resolve().parents[1] == home:
        return
    names = importlib.metadata.packages_distributions().get(package, [])
    others = ", ".join(sorted(set(names) - {"synaptax"}))
    raise ImportError(
        f"{package}: expected the package of synaptax in {home}, found "
        f"{origin or 'none'}{f' of the distribution {others}' * bool(others)}; "
        "synaptax wants an environment of its own"
    )
