"""``python -m covid_cxr verify DIR``: name every file that is wrong, and count."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import tyro

from covid_cxr import verify
from covid_cxr.problems import ADVICE, KINDS
from synaptax.cli.options import parse
from synaptax.runs import write_json

_DESCRIPTION = """Check a folder of chest X-rays: a public set's, or your own.

Names each file that is missing, corrupt, ambiguous or there twice. Images of your own
need --source folders; `study --check` looks at your table and labels too. The exit
code is 0 if nothing is wrong, 1 if something is, 2 if the folder could not be checked.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to check.

    Attributes:
        dir: The folder.
        source: The public set's name, "auto" to tell by the layout, or "folders".
        tables_only: Look at tables and file names alone; decode nothing.
        json: Also write the problems to this file.
        notes: Also list what was left out on purpose, row by row.
        quiet: Show no progress.
    """

    dir: tyro.conf.Positional[Path]
    source: str = "auto"
    tables_only: bool = False
    json: Path | None = None
    notes: bool = False
    quiet: bool = False


def main(given: Sequence[str], prog: str = "python -m covid_cxr verify") -> int:
    """Check a folder and print what is wrong.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        0 if nothing is wrong, 1 if something is.

    Raises:
        OSError: for an absent folder or table.
        ValueError: for a layout that is not clear, or a table that cannot be read.
    """
    options = parse(Options, given, prog, _DESCRIPTION)
    report = verify.verify(
        options.dir,
        options.source,
        decode=not options.tables_only,
        progress=iter if options.quiet else shown,
    )
    wrong = show(report, notes=options.notes)
    if options.json is not None:
        content = {
            "source": report.source,
            "images": len(report.index),
            "digest": report.index.digest(),
            "counts": report.problems.counts(),
            "problems": [problem._asdict() for problem in report.problems],
        }
        write_json(options.json, content)
    return wrong


def show(report: verify.Report, *, notes: bool = False) -> int:
    """Print what is wrong and a summary; return 1 if something is, or 0."""
    faults = report.problems.faults()
    for problem in report.problems if notes else faults:
        print(problem)
    print(_summary(report))
    if len(faults) < len(report.problems) and not notes:
        print("  --notes names those that are not counted as wrong")
    return 1 if faults else 0


def _summary(report: verify.Report) -> str:
    index = report.index
    people = len(set(index.patient.tolist()))
    lines = [
        f"{report.source}: {len(index)} usable images of {people} patients, "
        f"{report.looked} images decoded"
    ]
    for kind, count in report.problems.counts().items():
        lines.append(f"  {count:6d} {kind}: {KINDS[kind]}")
        lines.append(f"         -> {ADVICE[kind]}")
    if not report.problems:
        lines.append("  nothing is wrong")
    return "\n".join(lines)


def shown(rows: Iterable[int]) -> Iterable[int]:
    """Show how far it is, on a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return rows
    from rich.console import Console
    from rich.progress import track

    return track(list(rows), description="images", console=Console(stderr=True))
