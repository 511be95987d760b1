"""``python -m covid_cxr demo``: a reduced study on synthetic data, in minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from covid_cxr import study
from covid_cxr.commands.study import carry_out
from synaptax.cli.options import parse

_DESCRIPTION = """A reduced study on synthetic radiographs: no data, no patient.

Two trainings differ in one thing: in the radiographs of one, a dark border goes with
the disease. Both are tested on radiographs like their own and on another hospital's,
where the border means nothing. See what the scores say, and what the probes say.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        run_dir: Folder for cells, figures and reports; one that was begun is taken up.
        patients: Synthetic patients of each set.
        epochs: Passes over the radiographs.
        side: Pixels a side.
        quiet: Show no progress.
    """

    run_dir: Path = Path("runs/demo")
    patients: int = 240
    epochs: int = 6
    side: int = 64
    quiet: bool = False


def main(given: Sequence[str], prog: str = "python -m covid_cxr demo") -> int:
    """Run the demonstration.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code: 0.

    Raises:
        ValueError: for options that make no sense.
    """
    options = parse(Options, given, prog, _DESCRIPTION)
    sizes = {name: getattr(options, name) for name in ("patients", "epochs", "side")}
    again = [*prog.split()]
    for name, value in sizes.items():
        again += [f"--{name}", str(value)]
    carry_out(config(**sizes), options.run_dir, again, quiet=options.quiet)
    return 0


def config(patients: int, epochs: int, side: int) -> study.StudyConfig:
    """Return the demonstration as a study."""

    def phantom(seed: int, name: str, **cohort: Any) -> dict[str, Any]:
        fields = {"patients": patients, "contrast": 0.35, "hospitals": [{"name": name}]}
        return {"phantom": {**fields, **cohort}, "seed": seed}

    ordinary = [{"name": "pneumonia_clinic", "covid": 0.0, "pneumonia": 0.5}]
    return study.parse(
        {
            "name": "demo",
            "side": side,
            "epochs": epochs,
            "batch": 8,
            "rate": 0.03,
            "seeds": [0, 1],
            "sets": {
                "clean": phantom(1, "clean_hospital"),
                "bordered": phantom(2, "bordered_hospital", shortcuts={"border": 0.9}),
                "elsewhere": phantom(3, "elsewhere", shortcuts={"border": 0.0}),
                "pneumonia": phantom(4, "", hospitals=ordinary),
            },
            "encoders": {"resnet10": {"architecture": "resnet10", "width": 8}},
            "mixes": {
                "clean": {"kind": "target", "target": "clean"},
                "bordered": {"kind": "target", "target": "bordered"},
            },
            "tests": ["own", "elsewhere", "pneumonia"],
        }
    )
