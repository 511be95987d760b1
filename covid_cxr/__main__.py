"""``python -m covid_cxr``: a small-data chest X-ray study, shortcuts included."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from covid_cxr import CAUTION
from synaptax.cli.program import Command, Program, run

PROGRAM = Program(
    "covid_cxr",
    f"A small-data chest X-ray study that looks for its own shortcuts.\n\n{CAUTION}",
    {
        "verify": Command(
            "covid_cxr.commands.verify",
            "check a folder of radiographs: name each file that is wrong",
        ),
        "study": Command(
            "covid_cxr.commands.study",
            "the train x test matrix of a config, resumable, to one report",
        ),
        "predict": Command(
            "covid_cxr.commands.predict",
            "score radiographs by a study's networks, with warnings",
        ),
        "demo": Command(
            "covid_cxr.commands.demo",
            "a reduced study on synthetic radiographs, in minutes",
        ),
        "segment": Command(
            "covid_cxr.commands.segment", "train and judge the lung segmentation"
        ),
    },
    extra="cxr",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    return run(PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
