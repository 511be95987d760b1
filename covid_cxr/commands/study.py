"""``python -m covid_cxr study CONFIG``: a matrix of cells, to one report."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from covid_cxr.study import StudyConfig, read, run
from covid_cxr.study.report import alarms, write
from covid_cxr.study.summaries import collect

_DESCRIPTION = """Train and test every combination that a config asks for, once each.

CONFIG is a JSON or TOML file with sets, encoders, pretrainings, mixes, tests and
preprocessing. A study that was stopped goes on where it was: finished cells are never
repeated. The bias probes are part of it. A small one:

    name = "mine"
    label = "covid"
    tests = ["own", "nih"]
    preprocessing = ["none", "lungs-equalised"]
    segmenter = "lungs"    # made by: python -m covid_cxr segment train DATA lungs
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
        out: Folder for cells, figures and reports; default: runs/ and its name.
        report_only: Write the report of the finished cells, train nothing.
        quiet: Show no progress.
    """

    config: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CONFIG")]]
    out: Path | None = None
    report_only: bool = False
    quiet: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run a study and write its report.

    Args:
        arguments: the options.

    Returns:
        The exit code: 0.

    Raises:
        OSError: for a file or folder that cannot be read.
        ValueError: for a study that makes no sense, or parts that overlap.
    """
    options = tyro.cli(
        Options,
        prog="python -m covid_cxr study",
        description=_DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    config = read(options.config)
    out = options.out or Path("runs") / f"study-{config.name}"
    carry_out(config, out, quiet=options.quiet, train=not options.report_only)
    return 0


def carry_out(
    config: StudyConfig, out: Path, *, quiet: bool = False, train: bool = True
) -> None:
    """Run a study, write its report, and say where it is and what fired."""
    say = (lambda text: None) if quiet else _say
    if train:
        run(config, out, report=say, quiet=quiet)
    say("writing the report")
    paths = write(config, out)
    fired = alarms(collect(config, out).records)
    print(f"{len(fired)} bias probes fired" if config.bias else "no bias probe was run")
    for line in fired:
        print(f"  {line}")
    print(f"report: {paths[0]} and {paths[1].name}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
