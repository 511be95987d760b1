"""Two tasks on real films, with what tells the label without the disease beside them.

Command: ``python -m covid_cxr.experiments.study_real DATA``, DATA holding the folders
``covid_chestxray`` (a subset of the COVID-19 image data collection) and
``nih_pneumonia`` (a sample of NIH ChestX-ray). COVID-19 films against NIH films, with
one source for each class and with the collection's own negatives; and pneumonia against
no finding inside NIH. Patients are split, 3 seeds, a narrow ResNet-18 at 64x64 pixels.
A run that was stopped is taken up; ``--record-only`` records what is finished.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.experiments import RECORDED
from covid_cxr.study import StudyConfig, parse, run
from covid_cxr.study.report import write
from covid_cxr.study.summaries import Finished, collect
from pruning.lab import runs

SIDE, WIDTH, EPOCHS, SEEDS = 64, 8, 10, (0, 1, 2)
NAME = "study_real"


def configs(data: Path) -> dict[str, StudyConfig]:
    """Return both studies."""
    return {
        "covid": parse(covid(str(data.absolute()))),
        "pneumonia": parse(pneumonia(str(data.absolute()))),
    }


def covid(data: str) -> dict[str, Any]:
    """Return the study of COVID-19 against the rest."""
    return {
        **_common("real-covid"),
        "sets": {
            "collection": {
                "path": f"{data}/covid_chestxray",
                "source": "covid_chestxray",
            },
            "nih": {"path": f"{data}/nih_pneumonia", "source": "nih"},
        },
        "mixes": {
            "covid-v-nih": {"kind": "versus", "target": "collection", "other": "nih"},
            "collection-and-nih": {
                "kind": "target+negatives",
                "target": "collection",
                "other": "nih",
            },
        },
        "tests": ["own", "collection", "nih"],
    }


def pneumonia(data: str) -> dict[str, Any]:
    """Return the study of pneumonia against no finding in one source."""
    return {
        **_common("real-pneumonia"),
        "label": "pneumonia",
        "sets": {"nih": {"path": f"{data}/nih_pneumonia", "source": "nih"}},
        "mixes": {"nih": {"kind": "target", "target": "nih"}},
        "tests": ["own"],
    }


def _common(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "side": SIDE,
        "seeds": list(SEEDS),
        "epochs": EPOCHS,
        "batch": 16,
        "rate": 0.02,
        "encoders": {"resnet18": {"architecture": "resnet18", "width": WIDTH}},
    }


def recorded(found: Finished) -> dict[str, Any]:
    """Return what is kept of a study: no film, no patient, no path."""
    rows = [
        {
            "mix": row.cell.mix,
            "test": row.test,
            "films": row.report.images,
            "patients": row.report.patients,
            "positives": row.report.positives,
            "auc": row.report.metrics["auc"],
            "balanced_accuracy": row.report.metrics["balanced_accuracy"],
            "specificity": row.report.metrics["specificity"],
            "seeds": np.asarray(row.seeds),
        }
        for row in found.rows
    ]
    kept = ("probes", "sweep", "transfer", "saliency", "probed_on", "core_s", "train")
    records = {
        key: {name: one[name] for name in kept if name in one}
        for key, one in found.records.items()
    }
    return {
        "rows": rows,
        "records": records,
        "missing": [cell.key for cell in found.missing],
    }


def record(studies: Mapping[str, StudyConfig], folder: Path) -> None:
    """Write what is finished of both studies to the package's records."""
    parts = {}
    for name, config in studies.items():
        place = folder / name
        if (place / "cells").is_dir():
            parts[name] = recorded(collect(config, place))
    runs.write_json(
        RECORDED / f"{NAME}.json",
        {
            "command": f"python -m covid_cxr.experiments.{NAME} DATA",
            "seeds": list(SEEDS),
            "side": SIDE,
            "width": WIDTH,
            "epochs": EPOCHS,
            "studies": parts,
            **runs.environment(),
        },
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both studies, write their reports, and record them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/study-real"))
    parser.add_argument("--record-only", action="store_true")
    options = parser.parse_args(arguments)
    studies = configs(options.data)
    for name, config in studies.items():
        place = options.run_dir / name
        if not options.record_only:
            run(config, place, report=lambda text: print(text, flush=True))
            write(config, place)
            record(studies, options.run_dir)
    record(studies, options.run_dir)


if __name__ == "__main__":
    main()
