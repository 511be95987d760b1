"""Studies as an experiment runs and records them: no radiograph, patient or path."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from covid_cxr.experiments import RECORDED
from covid_cxr.index import Index
from covid_cxr.metrics import Estimate, Report, evaluate
from covid_cxr.study import StudyConfig, predictions, run
from covid_cxr.study.data import built_of
from covid_cxr.study.summaries import Row, collect
from synaptax import runs

RATES = ("auc", "sensitivity", "specificity", "f_score", "balanced_accuracy", "dor")
Studies = Mapping[str, StudyConfig]
_COMMON = ("data", "run_dir", "only", "record_only")
_COLUMNS = ("image", "patient", "view", "age", "sex")


def own_set(file: Path, index: Index, **labels: Any) -> dict[str, Any]:
    """Write a table of one's own of some rows of a public set, and return its fields.

    Args:
        file: where it goes.
        index: the rows, all in one folder.
        **labels: name to a value of 1, 0 or -1 for each.
    """
    columns = (index.path, index.patient, index.view, index.age, index.sex)
    columns = (*columns, *labels.values())
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow((*_COLUMNS, *labels))
        table.writerows(zip(*(list(column) for column in columns), strict=True))
    spelt = {name: {"column": name} for name in labels}
    (root,) = index.roots.values()
    return {"path": root, "table": str(file.absolute()), "labels": spelt}


def figures(report: Report) -> dict[str, Any]:
    """Return what is recorded of a test set."""
    hit = report.metrics["sensitivity"]
    miss = Estimate(1 - hit.value, 1 - hit.high, 1 - hit.low, note=hit.note)
    return {
        "radiographs": report.images,
        "patients": report.patients,
        "positives": report.positives,
        "threshold": report.threshold.value,
        **{name: report.metrics[name] for name in RATES},
        "miss_rate": miss,
    }


def recorded(config: StudyConfig, folder: Path) -> dict[str, Any]:
    """Return what is kept of a study's finished cells.

    Args:
        config: the study.
        folder: its run folder.
    """
    results = collect(config, folder)
    rows: list[dict[str, Any]] = []
    for row in results.rows:
        mix = config.mixes[row.cell.mix]
        if row.test in (mix.target, mix.other) and _same(row, rows):
            continue  # its own test part once more
        one = {**row.cell._asdict(), "test": row.test, "seeds": row.seeds}
        rows.append(one | figures(row.report))
        ordinary = _ordinary(config, folder, row)
        if ordinary is not None:
            name = f"{row.test}: pneumonia taken for it"
            rows.append(one | {"test": name, "seeds": []} | figures(ordinary))
    fields = ("core_s", "wall_s", "train", "stage_one", "epoch", "overlaps_let_pass")
    return {
        "config": {"epochs": config.epochs, "seeds": config.seeds, "side": config.side},
        "rows": rows,
        "records": {
            key: {name: one[name] for name in fields}
            for key, one in results.records.items()
            if "stage" in one
        },
        "missing": [cell.key for cell in results.missing],
    }


def _same(row: Row, rows: list[dict[str, Any]]) -> bool:
    """Say whether the same radiographs stand there as the mix's own test part."""
    own = {**row.cell._asdict(), "test": "own", "radiographs": row.report.images}
    alike = [one for one in rows if all(one[name] == own[name] for name in own)]
    return any(one["positives"] == row.report.positives for one in alike)


def _ordinary(config: StudyConfig, folder: Path, row: Row) -> Report | None:
    """Return the paper's probe of bias: pneumonia without COVID-19 as the positive.

    None where the set has COVID-19, or not both kinds.
    """
    if row.label.any() or row.test not in config.sets:
        return None
    index = built_of(config, row.test).index
    index = index.select(index.label(config.label) >= 0)
    label = index.label("pneumonia")[row.radiograph]
    if set(np.unique(label).tolist()) != {0, 1}:
        return None
    score = predictions(folder, row.cell.key)[row.test]["score"].mean(axis=0)
    return evaluate(
        label,
        score,
        key=jax.random.key(0),
        patient=row.patient,
        threshold=row.report.threshold,
        replicates=config.replicates,
    )


def _other(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return the options that are not the defaults, as they are given."""
    texts = []
    for key, value in own.items():
        if value != defaults[key]:
            listed = value if isinstance(value, list) else [value]
            words = ["FOLDER"] if isinstance(value, Path) else map(str, listed)
            words = [] if value is True else words
            texts.append(" ".join((f" --{key.replace('_', '-')}", *words)))
    return "".join(texts)


def main(
    name: str,
    doc: str | None,
    studies: Callable[[argparse.Namespace], Studies],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> None:
    """Run an experiment's studies one after the other, and record each at once.

    Args:
        name: of the experiment.
        doc: its module's.
        studies: of the options.
        parser: with the experiment's own options, which the record has.
        arguments: of the command.
    """
    defaults = {key: parser.get_default(key) for key in vars(parser.parse_args([]))}
    parser.description = (doc or "").splitlines()[0]
    parser.add_argument("data", type=Path, metavar="DATA", help="has the two sets")
    parser.add_argument("--run-dir", type=Path, default=Path("runs") / name)
    parser.add_argument("--only", nargs="*", help="run these studies alone, by name")
    parser.add_argument("--record-only", action="store_true")
    options = parser.parse_args(arguments)
    options.run_dir = options.run_dir.absolute()
    configs = studies(options)
    wrong = sorted(set(options.only or ()) - set(configs))
    if wrong:
        parser.error(f"--only: expected some of {list(configs)}, got {wrong[0]!r}")
    target = RECORDED / f"{name}.json"
    own = {key: value for key, value in vars(options).items() if key not in _COMMON}
    parts = dict(runs.read_json(target)["studies"]) if target.exists() else {}
    for one in configs if options.only is None else options.only:
        place = options.run_dir / one.replace(" ", "-")
        wall, core = time.monotonic(), time.process_time()
        if not options.record_only:
            run(configs[one], place, report=lambda text: print(text, flush=True))
        if not (place / "cells").is_dir():
            continue
        spent = parts.get(one, {}).get("core_s", 0)
        parts[one] = recorded(configs[one], place) | {
            "wall_s": round(time.monotonic() - wall, 1),
            "core_s": round(spent + time.process_time() - core, 1),
        }
        command = f"python -m covid_cxr.experiments.{name} DATA"
        record = {
            "command": command + _other(defaults, own),
            **{key: value for key, value in own.items() if key != "segmenter"},
            "studies": {one: parts[one] for one in configs if one in parts},
            **runs.environment(),
        }
        runs.write_json(target, record)
