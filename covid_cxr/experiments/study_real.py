"""Two tasks on real radiographs, beside what tells the label without the disease.

Command: ``python -m covid_cxr.experiments.study_real DATA``, DATA holding the folders
``covid_chestxray`` (a subset of the COVID-19 image data collection) and
``nih_pneumonia`` (a sample of NIH ChestX-ray). COVID-19 radiographs against NIH
radiographs, with one source for each class and with the collection's own negatives; and
pneumonia against no finding inside NIH. Then COVID-19 again from trunks pre-trained on
NIH's pneumonia (its test patients left out), and both tasks with nothing but the lungs,
by one U-Net for all radiographs, which saw no patient of a test part. Patients are
split, 3 seeds, a narrow ResNet-18 at 64x64 pixels. About 10 core-minutes. A run that
was stopped is taken up; ``--only NAME`` runs one study; ``--record-only`` records what
is finished.

``--full`` runs the first two studies at 128x128 pixels with a ResNet-18 of full width,
12 epochs, and records them apart, as ``study_real_full``: about an hour of one core. In
both sizes the weights kept are those of the best epoch on validation, as early stopping
would return them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.experiments import RECORDED
from covid_cxr.experiments.segmentation_covid import CONFIG, radiographs_of
from covid_cxr.segmentation import Radiographs, fit, save
from covid_cxr.study import StudyConfig, parse, run
from covid_cxr.study.data import library
from covid_cxr.study.leakage import LEARNT
from covid_cxr.study.report import write
from covid_cxr.study.summaries import Finished, collect
from synaptax import runs

SEEDS = (0, 1, 2)


class Size(NamedTuple):
    """At which size the studies are run.

    Attributes:
        name: of the record.
        flag: of the command that runs it.
        side: of a radiograph, pixels.
        width: of the first stage of ResNet-18; 64 is full.
        epochs: passes over the radiographs.
        only: the studies; None for all.
    """

    name: str
    flag: str
    side: int
    width: int
    epochs: int
    only: tuple[str, ...] | None = None


NARROW = Size("study_real", "", 64, 8, 10)
FULL = Size("study_real_full", " --full", 128, 64, 12, ("covid", "pneumonia"))


def configs(
    data: Path, segmenter: Path | None = None, size: Size = NARROW
) -> dict[str, StudyConfig]:
    """Return the studies of a size; those of lungs alone only with a segmenter."""
    folder = str(data.absolute())
    first = {"set": "nih", "label": "pneumonia", "epochs": size.epochs}
    fields = {
        "covid": covid(folder, size),
        "pneumonia": pneumonia(folder, size),
        "covid, pre-trained": {
            **covid(folder, size),
            "name": "real-covid-pretrained",
            "pretrainings": {"nih-pneumonia": first},
        },
    }
    if segmenter is not None:
        cut = {
            "segmenter": str(segmenter.absolute()),
            "segment": "all",
            "preprocessing": ["lungs-equalised"],
        }
        for name in ("covid", "pneumonia"):
            one = fields[name]
            fields[f"{name}, lungs alone"] = {
                **one,
                **cut,
                "name": f"{one['name']}-lungs",
            }
    names = fields if size.only is None else size.only
    return {name: parse(fields[name]) for name in names}


def segmenter(data: Path, folder: Path) -> Path:
    """Train a lung segmentation on no radiograph that a study tests on, once.

    Its radiographs are those of the collection with a mask, nearly all of COVID-19, of
    the patients in the training and validation parts of the study.

    Args:
        data: as for the command.
        folder: where it is kept.

    Returns:
        The folder.
    """
    if (folder / "segmenter.json").exists():
        return folder
    study = parse(covid(str(data.absolute())))
    parts = library(study).parts["collection"]
    radiographs, index = radiographs_of(data / "covid_chestxray", NARROW.side)
    tested = np.isin(index.patient, parts["test"].patient)
    learnt = ~tested & np.isin(
        index.patient, [p for part in LEARNT for p in parts[part].patient]
    )
    rows = np.flatnonzero(learnt)
    masked = Radiographs(radiographs.image[rows], radiographs.mask[rows])
    save(fit(CONFIG, masked, folder=folder / "run", resume=True), folder)
    return folder


def covid(data: str, size: Size = NARROW) -> dict[str, Any]:
    """Return the study of COVID-19 against the rest."""
    return {
        **_common("real-covid", size),
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


def pneumonia(data: str, size: Size = NARROW) -> dict[str, Any]:
    """Return the study of pneumonia against no finding in one source."""
    return {
        **_common("real-pneumonia", size),
        "label": "pneumonia",
        "sets": {"nih": {"path": f"{data}/nih_pneumonia", "source": "nih"}},
        "mixes": {"nih": {"kind": "target", "target": "nih"}},
        "tests": ["own"],
    }


def _common(name: str, size: Size) -> dict[str, Any]:
    return {
        "name": name,
        "side": size.side,
        "seeds": list(SEEDS),
        "epochs": size.epochs,
        "batch": 16,
        "rate": 0.02,
        "encoders": {"resnet18": {"architecture": "resnet18", "width": size.width}},
    }


def recorded(found: Finished, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a study: no radiograph, no patient, no path."""
    rows = [
        {
            "mix": row.cell.mix,
            "pretraining": row.cell.pretraining,
            "preprocessing": row.cell.preprocessing,
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
    columns = (
        "probes",
        "sweep",
        "transfer",
        "saliency",
        "probed_on",
        "core_s",
        "train",
    )
    columns += ("stage_one",)
    records = {
        key: {name: one[name] for name in columns if name in one}
        for key, one in found.records.items()
    }
    return {
        "sets": sets,
        "rows": rows,
        "records": records,
        "missing": [cell.key for cell in found.missing],
    }


def record(studies: Mapping[str, StudyConfig], folder: Path, size: Size) -> None:
    """Write what is finished to the package's records; studies not in ``folder`` stay.

    Args:
        studies: name to study.
        folder: of the runs.
        size: of the studies.
    """
    target = RECORDED / f"{size.name}.json"
    parts = dict(runs.read_json(target)["studies"]) if target.exists() else {}
    for name, config in studies.items():
        place = folder / place_of(name)
        if (place / "cells").is_dir():
            sets = runs.read_json(place / "sets.json")
            parts[name] = recorded(collect(config, place), sets)
    runs.write_json(
        target,
        {
            "command": f"python -m covid_cxr.experiments.study_real DATA{size.flag}",
            "seeds": list(SEEDS),
            "side": size.side,
            "width": size.width,
            "epochs": size.epochs,
            "studies": parts,
            **runs.environment(),
        },
    )


def place_of(name: str) -> str:
    """Return the folder's name of a study."""
    return name.replace(", ", "-").replace(" ", "-")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the studies, write their reports, and record them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--full", action="store_true", help="128 pixels, full width")
    parser.add_argument("--run-dir", type=Path, help="default: runs/NAME of the record")
    parser.add_argument("--record-only", action="store_true")
    parser.add_argument("--only", nargs="*", help="run these studies alone, by name")
    options = parser.parse_args(arguments)
    size = FULL if options.full else NARROW
    place = options.run_dir or Path("runs") / size.name.replace("_", "-")
    net, lungs = place / "segmenter", None
    segmented = size.only is None and (
        options.only is None or any("lungs" in one for one in options.only)
    )
    if segmented:
        lungs = net if options.record_only else segmenter(options.data, net)
    studies = configs(options.data, lungs, size)
    wrong = sorted(set(options.only or ()) - set(studies))
    if wrong:
        parser.error(f"--only: expected some of {list(studies)}, got {wrong[0]!r}")
    for name in studies if options.only is None else options.only:
        if not options.record_only:
            say = lambda text: print(text, flush=True)
            run(studies[name], place / place_of(name), report=say)
            write(studies[name], place / place_of(name))
            record(studies, place, size)
    record(studies, place, size)


if __name__ == "__main__":
    main()
