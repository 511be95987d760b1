"""``python -m covid_cxr study CONFIG``: a matrix of cells, to one report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from covid_cxr.study import StudyConfig, read, run
from covid_cxr.study.report import alarms, write
from covid_cxr.study.summaries import collect
from synaptax.cli.options import Interrupted, parse
from synaptax.cli.terminal import printable

_DESCRIPTION = """Train and test every combination that a config asks for, once each.

CONFIG is a JSON or TOML file with sets, encoders, pretrainings, mixes, tests and
preprocessing. A study that was stopped goes on where it was: finished cells are never
repeated. The bias probes are part of it. A small one:

    name = "mine"
    label = "covid"
    tests = ["own", "nih"]
    preprocessing = ["none", "lungs-equalised"]
    segmenter = "lungs"    # OUT of covid_cxr segment train
    segment = "all"
    [sets.hospital]
    path = "covid-chestxray-dataset"
    [sets.nih]
    path = "nih"
    [encoders.resnet18]
    architecture = "resnet18"
    width = 16
    [pretrainings.none]
    [pretrainings.pneumonia]
    set = "nih"
    label = "pneumonia"
    [mixes.against-nih]
    kind = "versus"
    target = "hospital"
    other = "nih"

All fields are described in covid_cxr/study/config.py.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        config: The study.
        run_dir: Folder for cells, figures and reports; None: runs/study-NAME.
        report_only: Write the report of the finished cells, train nothing.
        quiet: Show no progress.
    """

    config: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CONFIG")]]
    run_dir: Path | None = None
    report_only: bool = False
    quiet: bool = False


def main(given: Sequence[str], prog: str = "python -m covid_cxr study") -> int:
    """Run a study and write its report.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code: 0.

    Raises:
        OSError: for a file or folder that cannot be read.
        ValueError: for a study that makes no sense, or parts that overlap.
    """
    options = parse(Options, given, prog, _DESCRIPTION)
    config = read(options.config)
    folder = options.run_dir or Path("runs") / f"study-{config.name}"
    again = [*prog.split(), str(options.config.absolute())]
    train = not options.report_only
    carry_out(config, folder, again, quiet=options.quiet, train=train)
    return 0


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
