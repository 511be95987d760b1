"""The options of commands: read by tyro, the same ones the same everywhere.

A command that trains has options of the form ``Job(config, ..., run)``: ``config`` is
the frozen dataclass that is saved with the run, and ``run`` a :class:`Run`.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synaptax.cli.terminal import help_page
from synaptax.runs import RunFolder, config_of, fresh_path

MAY_DIFFER = ("data_dir", "checkpoint_every")  # between a run and its resumption
_ROOT = Path("runs")


@dataclasses.dataclass(frozen=True)
class Run:
    """Where the run is kept.

    Attributes:
        run_dir: Folder of the run; None: a new one under runs/.
        resume: Take up an interrupted run, to the same bits: the one in --run-dir,
            with the options it was begun with, or else the newest unfinished one
            under runs/ that was begun with these options.
        quiet: Show no progress.
    """

    run_dir: Path | None = None
    resume: bool = False
    quiet: bool = False


NEW = Run()  # the default of a command's ``run``


class Interrupted(KeyboardInterrupt):
    """An interruption; its text is the command that goes on with what was done."""


def option(given: Sequence[str], name: str) -> str | None:
    """Return the last value of an option, before the options are parsed in full.

    Args:
        given: the command line.
        name: the option as ``--name``, dashes within.
    """
    last = None
    for index, word in enumerate(given):
        key, equals, value = word.partition("=")
        if key.replace("_", "-") == name:
            last = value if equals else "".join(given[index + 1 : index + 2])
    return last


def parse(
    kind: Any,
    given: Sequence[str],
    prog: str,
    description: str,
    default: Any = None,
    pairs: bool = False,
) -> Any:
    """Return the options as a dataclass; leave with the help or a usage error.

    Args:
        kind: the dataclass, or a union of them as tyro's subcommands.
        given: the options.
        prog: what was typed to get here.
        description: a line, and paragraphs or lists whose items begin with a dash.
        default: an instance that the options change; default: that of ``kind``.
        pairs: whether a flag may be given as it is by default too: ``--flag`` of one
            that is on already, which has ``--no-flag`` alone else.
    """
    import tyro

    with help_page():
        return tyro.cli(
            kind,
            prog=prog,
            description=re.sub(r"\n  (?=\S)", " ", description),  # items on one line
            args=list(given),
            **({} if default is None else {"default": default}),
            config=(
                tyro.conf.OmitArgPrefixes,
                *(() if pairs else (tyro.conf.FlagCreatePairsOff,)),
            ),
        )


@contextmanager
def run_of(
    kind: Callable[[Any], Any],
    given: Sequence[str],
    prog: str,
    description: str,
    *,
    defaults: Callable[[str], Any],
    stem: Callable[[Any], str],
    check: Callable[[Any], None] = lambda config: None,
    of: str = "run",
    last: Callable[[Any], str] = lambda config: "summary.json",
    may_differ: Collection[str] = MAY_DIFFER,
) -> Iterator[tuple[Any, Path]]:
    """Read the options of a run and choose its folder; within, the run.

    If it is interrupted, the command that goes on with it is told.

    Args:
        kind: the dataclass of the options, ``Job(config, ..., run)``.
        given: the options.
        prog: what was typed to get here.
        description: for the help.
        defaults: value of --dataset, or "" without one, to the config that the options
            change; a run that is taken up by name has its own.
        stem: config to the name of a new folder under runs/, before its number.
        check: raises a ValueError for a field of the config that is out of range, if
            what is called within does not.
        of: what it is, for the messages.
        last: config to the file in the folder that is written last.
        may_differ: fields of the config that need not be the same to go on.

    Yields:
        The options, and the folder, absolute.

    Raises:
        ValueError: if there is no such run to take up, or the folder's config is not
            of this kind of run; names the folder or the file.
        Interrupted: instead of the KeyboardInterrupt of a run that can go on.
    """
    taken_up = option(given, "--run-dir") if "--resume" in given else None
    if taken_up is not None:
        config = _config_in(Path(taken_up).expanduser(), type(defaults("")), of)
    else:
        config = defaults(option(given, "--dataset") or "")
    # A line that is repeated with --resume, as a scheduler does, names flags that the
    # folder's config has on already.
    pairs = taken_up is not None
    job = parse(kind, given, prog, description, default=kind(config), pairs=pairs)
    check(job.config)
    if job.run.run_dir is not None:
        path = job.run.run_dir.expanduser()
    elif job.run.resume:
        path = newest_unfinished(job.config, of, last(job.config), may_differ)
    else:
        path = fresh_path(_ROOT, stem(job.config))
    path = path.absolute()
    print(f"run folder: {path}", file=sys.stderr, flush=True)
    try:
        yield job, path
    except KeyboardInterrupt as error:
        if not RunFolder(path).config.exists():
            raise
        words = [*prog.split(), "--resume", "--run-dir", str(path)]
        raise Interrupted(shlex.join(words)) from error
    finally:
        if job.run.run_dir is None:
            with suppress(OSError):  # it is not empty once a run was begun in it
                path.rmdir()


def _config_in(path: Path, kind: Any, of: str) -> Any:
    """Return the config of the run in a folder, which must be there."""
    folder = RunFolder(path)
    if not folder.config.exists():
        raise ValueError(f"{path}: no {of} to go on with: it holds no config.json")
    return config_of(folder.config, kind, lambda config: None, of=f"a {of}")


def newest_unfinished(
    config: Any,
    of: str = "run",
    last: str = "summary.json",
    may_differ: Collection[str] = MAY_DIFFER,
) -> Path:
    """Return the newest folder under runs/ that holds a config and no last file.

    Args:
        config: of the run.
        of: what it is, for the message.
        last: the file in the folder that is written last.
        may_differ: fields of the config that need not be the same.

    Raises:
        ValueError: if there is none.
    """

    def asked(one: Any) -> dict[str, Any]:
        fields = dataclasses.asdict(one).items()
        return {name: value for name, value in fields if name not in may_differ}

    unfinished = []
    for path in _ROOT.glob("*/config.json"):
        folder = RunFolder(path.parent)
        try:
            other = config_of(path, type(config), lambda config: None, of=of)
        except ValueError:
            continue  # some other program's folder
        if asked(other) == asked(config) and not (folder.path / last).exists():
            # Metrics are appended while the run goes; its config is written once.
            newest = folder.metrics if folder.metrics.exists() else path
            unfinished.append((newest.stat().st_mtime_ns, folder.path))
    if not unfinished:
        raise ValueError(
            f"resume: name the folder of the {of} with --run-dir: no unfinished {of} "
            f"with these options under {_ROOT}"
        )
    return max(unfinished)[1]
