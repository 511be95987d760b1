"""``python -m covid_cxr study CONFIG``: a matrix of cells, to one report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from covid_cxr.commands.verify import show, shown
from covid_cxr.index import POSITIVE, UNKNOWN, Index
from covid_cxr.sources import by_name, has_mask, own
from covid_cxr.study import StudyConfig, read, run
from covid_cxr.study.data import built_of
from covid_cxr.study.example import TEXT
from covid_cxr.study.report import alarms, write
from covid_cxr.study.summaries import collect
from covid_cxr.verify import examined
from synaptax.cli.options import Interrupted, parse
from synaptax.cli.terminal import printable

_DESCRIPTION = """Train and test every combination that a config asks for, once each.

CONFIG is a JSON or TOML file: which sets of radiographs, what is trained on which, and
what it is tested on. A set is your own folder with a table, or a folder a class, or a
public set in its own layout, or synthetic. To begin:

    python -m covid_cxr study --example > study.toml

prints one with every option, commented. Change the lines under [sets.mine], then

    python -m covid_cxr study study.toml --check

says what is missing or not understood, and without --check the study runs. One that was
stopped goes on where it was: finished cells are never repeated. The bias probes are
part of it.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        config: The study.
        example: Print a study with every option, commented, and end.
        check: Look at the sets, say what is wrong with them, and end; the exit code is
            1 if something is.
        notes: With --check, also list what was left out on purpose, row by row.
        run_dir: Folder for cells, figures and reports; None: runs/study-NAME.
        report_only: Write the report of the finished cells, train nothing.
        quiet: Show no progress.
    """

    config: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="CONFIG")]
    ] = None
    example: bool = False
    check: bool = False
    notes: bool = False
    run_dir: Path | None = None
    report_only: bool = False
    quiet: bool = False


def main(given: Sequence[str], prog: str = "python -m covid_cxr study") -> int:
    """Run a study and write its report.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code: 0, or 1 if a check has found something.

    Raises:
        OSError: for a file or folder that cannot be read.
        ValueError: for a study that makes no sense, or parts that overlap.
    """
    options = parse(Options, given, prog, _DESCRIPTION)
    if options.example:
        print(TEXT, end="")
        return 0
    if options.config is None:
        raise ValueError("CONFIG: expected a file; --example prints one to begin with")
    config = read(options.config)
    if options.check:
        return check_sets(config, quiet=options.quiet, notes=options.notes)
    folder = options.run_dir or Path("runs") / f"study-{config.name}"
    again = [*prog.split(), str(options.config.absolute())]
    train = not options.report_only
    carry_out(config, folder, again, quiet=options.quiet, train=train)
    return 0


def check_sets(config: StudyConfig, *, quiet: bool = False, notes: bool = False) -> int:
    """Print what is wrong with the sets of a study; return 1 if something is, or 0."""
    wrong = 0
    for name, one in config.sets.items():
        if one.path:
            built, progress = built_of(config, name), iter if quiet else shown
            source = own.SOURCE if one.own else by_name(str(built.index.source[0]))
            report = examined(source, built, progress=progress)
            wrong |= show(report._replace(source=name), notes=notes)
            print(f"  known of them: {known(report.index, config.label)}")
    return wrong


def known(index: Index, label: str) -> str:
    """Return how many rows of a table have a label, view, age and the like, as text."""
    lungs = [has_mask(index, row) for row in range(len(index))]
    counts = {
        label: index.label(label) != UNKNOWN,
        "of them positive": index.label(label) == POSITIVE,
        "view": index.view != "UNKNOWN",
        "sex": index.sex != "",
        "age": ~np.isnan(index.age),
        "date": ~np.isnan(index.date),
        "lungs": np.array(lungs, bool),
    }
    return ", ".join(f"{name} {int(one.sum())}" for name, one in counts.items())


def carry_out(
    config: StudyConfig,
    folder: Path,
    again: Sequence[str],
    *,
    quiet: bool = False,
    train: bool = True,
) -> None:
    """Run a study, write its report, and say where it is and what fired.

    Args:
        config: of the study.
        folder: for cells, figures and reports.
        again: the command that goes on with it, but for its folder.
        quiet: show no progress.
        train: also do the cells that are missing.
    """
    folder = folder.expanduser().absolute()
    say = (lambda text: None) if quiet else _say
    try:
        if train:
            run(config, folder, report=say, quiet=quiet)
        say("writing the report")
        paths = write(config, folder)
    except KeyboardInterrupt as error:
        words = shlex.join([*again, "--run-dir", str(folder)])
        raise Interrupted(words) from error
    fired = alarms(collect(config, folder).records)
    print(f"{len(fired)} bias probes fired" if config.bias else "no bias probe was run")
    for line in fired:
        print(f"  {printable(line)}")
    print(f"report: {paths[0]} and {paths[1].name}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
