"""The report of a study, as Markdown and HTML, with the caution first."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr import CAUTION
from covid_cxr.metrics import FIXED, Estimate, Recalibration
from covid_cxr.study import bias_blocks, checklist, figures
from covid_cxr.study.blocks import (
    Block,
    Bullets,
    Figure,
    Heading,
    Table,
    Text,
    as_html,
    as_markdown,
)
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.differences import differences
from covid_cxr.study.matrix import CONTACT, cells
from covid_cxr.study.summaries import Finished, collect, estimate, subgroups
from synaptax.runs import read_json
from synaptax.runs.files import replacing

_METRICS = ("auc", "sensitivity", "specificity", "balanced_accuracy")
_AXES = ("encoder", "pre-training", "mix", "preparation")
_CURVES = 6
_LEAK = (
    "Radiographs called masked were equalised whole before their lungs were cut out, "
    "as published. That carries what is outside the lungs, such as a border, into "
    "their contrast, where networks find it and no probe here does; with "
    "lungs-equalised it does not."
)


def write(config: StudyConfig, folder: Path) -> tuple[Path, Path]:
    """Write report.md, report.html, results.csv and the figures of a study.

    Args:
        config: the study.
        folder: its folder, with at least one finished cell.

    Returns:
        The paths of the two reports. No patient's name, id or path of a radiograph is
        in any of the files: radiographs are called by their row in the set's table.

    Raises:
        ValueError: if no cell is finished.
    """
    results = collect(config, folder)
    if not results.rows:
        raise ValueError(f"{folder}: no finished cell to report")
    blocks = _blocks(config, folder, results, read_json(folder / "sets.json"))
    paths = folder / "report.md", folder / "report.html"
    texts = as_markdown(blocks, folder), as_html(blocks, f"Study {config.name}")
    for path, text in zip(paths, texts, strict=True):
        with replacing(path) as file:
            file.write(text.encode())
    with replacing(folder / "results.csv") as file:
        file.write(_csv(results).encode())
    return paths


def alarms(found: Mapping[str, Any]) -> list[str]:
    """Return what fired in the records of cells and mixes, one line each."""
    return [
        f"{key.replace('~', ', ')}: {one['name']} {estimate(one['found']).text(2)}"
        for key, record in found.items()
        for one in record.get("probes", ())
        if one["fires"]
    ]


def _blocks(
    config: StudyConfig, folder: Path, found: Finished, sets: Mapping[str, Any]
) -> list[Block]:
    total = len(cells(config))
    count = total - len(found.missing)
    blocks: list[Block] = [
        Heading(1, f"Study {config.name}"),
        Text(CAUTION, caution=True),
        Text(
            f"Label: {config.label}. {count} of {total} cells are finished. Intervals "
            "are 95 %, by a bootstrap over patients; the score of a radiograph is the "
            f"mean over the seeds {', '.join(map(str, config.seeds))}. With this few "
            "patients most differences between cells cannot be told from chance."
        ),
        Heading(2, "What may be believed"),
        *_belief(config, found),
        Heading(2, "Radiographs"),
        *_radiographs(sets),
        *_contact(folder),
        Heading(2, "Results"),
        *_results(config, folder, found),
        *_calibrated(found),
        *_groups(config, found),
        *_compared(config, found),
        *_first_stage(config, found),
    ]
    if config.bias:
        blocks += [Heading(2, "Bias probes"), *bias_blocks.of_probes(found)]
        blocks += bias_blocks.of_panels(folder, found)
    pairs = checklist.items(config, found, sets)
    blocks += [
        Heading(2, "Reporting checklist"),
        Text("Items of CLAIM and TRIPOD+AI in our own words."),
        Table(("item", "answer"), [list(pair) for pair in pairs]),
    ]
    return blocks


def _radiographs(sets: Mapping[str, Any]) -> list[Block]:
    """Say what radiographs there are, what was left out, and whose the lungs are."""
    head = ["set", "radiographs", "patients", "positives", "sources", "left out"]
    rows = [
        [
            name,
            one["images"],
            one["patients"],
            one["positives"],
            ", ".join(one["sources"]),
            checklist.listed(one["left_out"]) or "none",
        ]
        for name, one in sets.items()
    ]
    by_network = {name: one for name, one in sets.items() if "segmented" in one}
    if not by_network:
        return [Table(head, rows)]
    bullets = [
        f"{name}: the lungs of {one['segmented']} radiographs are a network's; it "
        f"abstained on {one['abstained']}"
        for name, one in by_network.items()
    ]
    return [Table(head, rows), Bullets(bullets)]


def _compared(config: StudyConfig, found: Finished) -> list[Block]:
    """Say which of two cells that differ in one thing is better, if any is."""
    rows = [
        [
            ", ".join(one.second),
            ", ".join(one.first),
            one.test,
            one.found.text(2),
            f"{one.adjusted:.3f}",
        ]
        for one in differences(found.rows, config.replicates)
    ]
    if not rows:
        return []
    head = ("cell", "against", "test", "difference of AUC", "p, adjusted by Holm")
    return [Heading(3, "Cells that differ in one thing"), Table(head, rows)]


def _first_stage(config: StudyConfig, found: Finished) -> list[Block]:
    """Say what stage 1 learnt, once for each network that it made."""
    rows: dict[tuple[str, ...], list[Any]] = {}
    for cell in cells(config):
        one = found.records.get(cell.key, {}).get("stage_one")
        if one:
            key = (cell.encoder, cell.pretraining, cell.preprocessing)
            areas = ", ".join(f"{float(area):.2f}" for area in one["validation_auc"])
            size = (one["train"]["images"], one["validation"]["images"])
            rows[key] = [*key, one["label"], *size, areas]
    if not rows:
        return []
    head = ("encoder", "pre-training", "preparation", "label", "trained on")
    return [
        Heading(3, "Stage 1"),
        Table(
            (*head, "validated on", "validation AUC of single seeds"),
            list(rows.values()),
        ),
    ]


def _belief(config: StudyConfig, found: Finished) -> list[Block]:
    """Say in words what the probes leave of the scores."""
    if not config.bias:
        return [Text("No probe was run: no score here may be taken for the disease.")]
    fired = alarms(found.records)
    leak: list[Block] = []
    if "masked" in config.preprocessing:
        leak = [Text(_LEAK)]
    if not fired:
        return [
            *leak,
            Text(
                "No probe fired. That is no proof: the probes know some shortcuts, on "
                "these radiographs. Only other hospitals' radiographs can tell."
            ),
        ]
    return [
        *leak,
        Text(
            f"{len(fired)} probes fired: label or source can be told without the "
            "disease. As long as that is so, a score on radiographs of the same origin "
            "says how well origins can be told, and no score below may be believed "
            "beyond what the fired probes reach by themselves."
        ),
        Bullets(fired[:12] + ([f"and {len(fired) - 12} more"] * (len(fired) > 12))),
    ]


def _results(config: StudyConfig, folder: Path, found: Finished) -> list[Block]:
    rows = [
        [
            *row.cell,
            row.test,
            row.report.images,
            row.report.positives,
            f"{row.report.threshold.value:.3f}",
            *(row.report.metrics[name].text(2) for name in _METRICS),
            row.report.dor_analytic.text(1),
            _spread(row.seeds),
        ]
        for row in found.rows
    ]
    how = "Youden's, chosen on the validation part"
    if any(row.report.threshold.rule == FIXED.rule for row in found.rows):
        how = "one half, as published,"
    head = [*_AXES, "test", "radiographs", "positives", "threshold"]
    head += ["AUC", "sensitivity", "specificity", "balanced accuracy"]
    head += ["odds ratio", "AUC of single seeds"]
    blocks: list[Block] = [
        Table(head, rows),
        Text(
            f"A radiograph is called positive from the threshold up: {how} and the "
            "same for all test sets of a cell."
        ),
    ]
    tests = list(dict.fromkeys(row.test for row in found.rows))
    names = list(dict.fromkeys(row.cell for row in found.rows))
    areas = np.full((len(names), len(tests)), np.nan)
    for row in found.rows:
        value = row.report.metrics["auc"].value
        areas[names.index(row.cell), tests.index(row.test)] = value
    path = folder / "figures" / "matrix.png"
    figures.matrix(path, [", ".join(one) for one in names], tests, areas)
    blocks.append(Figure(path, "Area under the ROC curve, trained as v tested on"))
    for test in tests:
        rows = [
            row
            for row in found.rows
            if row.test == test and 0 < row.report.positives < row.report.images
        ][:_CURVES]
        if not rows:
            continue
        for kind, draw in (
            ("roc", lambda p, r, t: figures.roc(p, r, t, config.replicates)),
            ("reliability", figures.calibration),
        ):
            path = folder / "figures" / f"{kind}-{test}.png"
            draw(path, rows, f"test set: {test}")
            blocks.append(Figure(path, f"{kind}, test set {test}"))
    return blocks


def _calibrated(found: Finished) -> list[Block]:
    """Say how far scores may be taken for probabilities."""
    rows = [
        [
            *row.cell,
            row.test,
            *(row.report.metrics[n].text(2) for n in ("brier", "ece")),
            *_line(row.report.recalibration),
            "" if np.isnan(row.temperature) else f"{row.temperature:.2f}",
        ]
        for row in found.rows
        if "brier" in row.report.metrics
    ]
    head = (*_AXES, "test", "Brier score", "calibration error", "calibration slope")
    note = (
        "Slope 1 and intercept 0 are calibrated; a slope below 1 is too extreme. The "
        "temperature divides the scores' log-odds so that the validation part is "
        "calibrated best; the figures are without it."
    )
    return [
        Heading(3, "Calibration"),
        Table((*head, "intercept", "temperature"), rows),
        Text(note),
    ]


def _groups(config: StudyConfig, found: Finished) -> list[Block]:
    """Say how a cell does on parts of its test sets."""
    rows = [
        [
            ", ".join(row.cell),
            row.test,
            one.kind,
            one.name,
            f"{one.report.images} ({one.report.positives})",
            *(one.report.metrics[name].text(2) for name in _METRICS[:3]),
        ]
        for row in found.rows
        for one in subgroups(row, config.replicates)
    ]
    if not rows:
        nothing = "No group of ten radiographs has both classes, or nothing is known."
        return [Heading(3, "Subgroups"), Text(nothing)]
    head = ("cell", "test", "by", "group", "radiographs (positive)")
    return [
        Heading(3, "Subgroups"),
        Table((*head, "AUC", "sensitivity", "specificity"), rows),
    ]


def _contact(folder: Path) -> list[Block]:
    """Show some radiographs of each set and class, as networks get them unprocessed."""
    if not (folder / CONTACT).is_file():
        return []
    path = folder / "figures" / "contact.png"
    with np.load(folder / CONTACT) as archive:
        figures.contact(path, {name: archive[name] for name in archive.files})
    return [Figure(path, "Radiographs of each set, by class, by row of its table")]


def _csv(found: Finished) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    head = ["encoder", "pretraining", "mix", "preprocessing", "test", "metric"]
    writer.writerow([*head, "value", "low", "high", "radiographs", "patients"])
    for row in found.rows:
        estimates = {**row.report.metrics, "dor": row.report.dor_analytic}
        line = row.report.recalibration
        if line is not None:
            estimates["calibration_slope"] = Estimate(line.slope, note=line.note)
            estimates["calibration_intercept"] = Estimate(
                line.intercept, note=line.note
            )
        for name, one in estimates.items():
            numbers = (one.value, one.low, one.high)
            size = (row.report.images, row.report.patients)
            writer.writerow([*row.cell, row.test, name, *numbers, *size])
    return text.getvalue()


def _line(line: Recalibration | None) -> tuple[str, str]:
    """Return slope and intercept of the calibration line, or why there are none."""
    if line is None:
        return "no probabilities", ""
    one = lambda x: f"{x:.2f}" if np.isfinite(x) else line.note
    return one(line.slope), one(line.intercept)


def _spread(areas: np.ndarray) -> str:
    if np.isnan(areas).any():
        return Estimate(float("nan")).text()
    text = f"mean {areas.mean():.2f}"
    return text + (f", SD {areas.std(ddof=1):.2f}" if areas.size > 1 else "")
