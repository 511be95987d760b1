"""``python -m covid_cxr predict MODEL FILES``: scores, and what speaks against them."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from covid_cxr import CAUTION
from covid_cxr.commands.segment import cell, listed
from covid_cxr.index import VIEWS
from covid_cxr.study.model import Kept, load
from covid_cxr.study.prediction import Prediction, predictions
from synaptax.cli.options import parse
from synaptax.cli.terminal import printable
from synaptax.reports.tables import markdown
from synaptax.runs.files import replacing

_DESCRIPTION = f"""Score radiographs by the networks that a study has kept.

{CAUTION} A score says how alike a radiograph is to the positives that were trained on,
shortcuts included; see the study's report for what its probes found.

MODEL is a folder below models/ of a study, or the study's if it has a single one.
"""
_HEAD = ("file", "score", "of single networks", "calibrated", "threshold", "warnings")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to score.

    Attributes:
        model: The kept networks.
        files: PNG, JPEG, GIF or DICOM files, or folders of them.
        view: PA, AP or AP_SUPINE, if it is that of all and no header says so.
        source: Where all come from, by the name that was trained on.
        csv: Also write the table to this file.
    """

    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]]
    files: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILES")]
    ]
    view: str = ""
    source: str = ""
    csv: Path | None = None


def main(given: Sequence[str], prog: str = "python -m covid_cxr predict") -> int:
    """Score files and print a table, the caution first.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code: 0.

    Raises:
        OSError: for networks or files that are not there.
        ValueError: for options that make no sense.
    """
    options = parse(Options, given, prog, _DESCRIPTION)
    if options.view and options.view not in VIEWS:
        expected = ", ".join(VIEWS)
        raise ValueError(f"view: expected one of {expected}, got {options.view!r}")
    networks, files = load(options.model), _files(options.files)
    results = predictions(networks, files, view=options.view, source=options.source)
    rows = [_row(one) for one in results]
    print(f"{CAUTION}\n\n{_about(networks)}\n")
    print("\n".join(markdown(_HEAD, rows)))
    if options.csv is not None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow((*_HEAD, "caution"))
        writer.writerows((*row, CAUTION) for row in rows)
        with replacing(options.csv) as file:
            file.write(text.getvalue().encode())
    return 0


def _files(given: Sequence[Path]) -> list[Path]:
    """Return the files, those of folders in their place, or raise for none."""
    files = []
    for path in given:
        path = path.expanduser()
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        files += listed(path) if path.is_dir() else [path]
    if not files:
        raise ValueError("FILES: expected an image, or a folder that holds one")
    return files


def _about(kept: Kept) -> str:
    card, training = kept.card, kept.card["seen"]
    share = card["validation_share"]
    return (
        f"{len(card['seeds'])} networks of the study {card['study']!r}, trained to "
        f"tell {card['label']!r} on {training['images']} radiographs of "
        f"{training['patients']} patients. Calibrated: at temperature "
        f"{card['temperature']:.2f}, as likely as among its validation radiographs, of "
        f"which {share:.0%} are positive; elsewhere it is another share, and another "
        f"probability. Threshold: {card['threshold']['value']:.3f} "
        f"({card['threshold']['rule']}, on these). A radiograph that they were made "
        "of is told by its picture; another one of the same patient is not."
    )


def _row(one: Prediction) -> list[str]:
    name = cell(str(one.file))
    warnings = printable("; ".join(one.warnings)) or "none"
    if math.isnan(one.score):
        return [name, "none", "", "", "", warnings]
    return [
        name,
        f"{one.score:.3f}",
        f"{one.low:.3f} to {one.high:.3f}",
        f"{one.probability:.2f}",
        "above" if one.above else "below",
        warnings,
    ]
