"""The figures of finished cells, from their predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.metrics import (
    Estimate,
    Report,
    Threshold,
    auc,
    bootstrap,
    evaluate,
)
from covid_cxr.metrics.roc import roc_curve
from covid_cxr.study.config import Cell, StudyConfig
from covid_cxr.study.matrix import cells, finished, path_of, predictions
from synaptax.runs import read_json
from synaptax.typing import Array

GRID = 51  # points of a band
GROUPS = ("view", "sex", "age", "source")
_LEAST = 10  # radiographs of a group


class Row(NamedTuple):
    """A cell on a test set.

    Attributes:
        cell: which.
        test: which.
        report: of the mean of the seeds' scores, at the threshold of the cell.
        seeds: the area of each seed's scores; NaN if a class is absent.
        label: (n,).
        score: (n,), the mean of the seeds'.
        patient: (n,) numbers.
        radiograph: (n,) the radiographs' rows in their sets' tables.
        groups: "view", "sex", "age" and "source" to (n,) text; empty in old records.
        temperature: at which the validation scores are calibrated best; NaN likewise.
    """

    cell: Cell
    test: str
    report: Report
    seeds: np.ndarray
    label: np.ndarray
    score: np.ndarray
    patient: np.ndarray
    radiograph: np.ndarray
    groups: Mapping[str, np.ndarray] = {}
    temperature: float = float("nan")


class Group(NamedTuple):
    """Some of a row's radiographs, such as those of one sex.

    Attributes:
        kind: "view", "sex", "age" or "source".
        name: which.
        report: of these alone, at the cell's threshold.
    """

    kind: str
    name: str
    report: Report


class Finished(NamedTuple):
    """What is finished of a study.

    Attributes:
        records: key to the record, cells and probes of mixes alike.
        rows: the cells on their test sets.
        panels: key to the arrays of its saliency panel.
        missing: cells that are not finished.
    """

    records: dict[str, dict[str, Any]]
    rows: list[Row]
    panels: dict[str, Mapping[str, np.ndarray]]
    missing: list[Cell]


def collect(config: StudyConfig, place: Path) -> Finished:
    """Read the finished cells of a study and measure them.

    Args:
        config: the study.
        place: its folder.
    """
    records, rows, panels, missing = {}, [], {}, []
    for cell in cells(config):
        if not finished(place, cell.key):
            missing.append(cell)
            continue
        record = records[cell.key] = read_json(path_of(place, cell.key))
        arrays = predictions(place, cell.key)
        if "panel" in arrays:
            panels[cell.key] = arrays["panel"]
        for test in record["tests"]:
            one = arrays[test]
            rows.append(_row(config, cell, test, one, record))
    for path in sorted((place / "cells").glob("data~*.json")):
        records[path.stem] = read_json(path)
    return Finished(records, rows, panels, missing)


def roc_band(row: Row, replicates: int) -> dict[str, np.ndarray]:
    """Return a curve on a grid of false positive rates, with a pointwise band.

    Args:
        row: of both classes.
        replicates: resamples of patients.

    Returns:
        "x", "y", "low", "high", each (GRID,).
    """
    grid = np.linspace(0, 1, GRID)
    curve = roc_curve(row.label, row.score)
    order = np.argsort(-row.score, kind="stable")
    data = {
        "label": row.label[order] == 1,
        "last": np.append(np.diff(row.score[order]) != 0, True),
    }
    resamples = bootstrap(
        _sensitivities,
        data,
        row.patient[order],
        key=jax.random.key(0),
        replicates=replicates,
        stratum=row.label[order],
    )
    draws = np.stack([resamples.draws[f"{i:02d}"] for i in range(GRID)])
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=1)
    y = np.interp(grid, curve.false_positive_rate, curve.sensitivity)
    # Percentiles may leave the curve itself out; its band does not.
    return {"x": grid, "y": y, "low": np.minimum(low, y), "high": np.maximum(high, y)}


def _sensitivities(data: Any, weight: Array) -> dict[str, Array]:
    """Return the sensitivity at each false positive rate of the grid."""
    hits = jnp.cumsum(weight * data["label"])
    alarms = jnp.cumsum(weight * (1 - data["label"]))
    # Inside a run of tied scores the curve is a straight line; only its ends count.
    end = data["last"] > 0
    x = jnp.where(end, alarms / jnp.maximum(alarms[-1], 1), 0)
    y = jnp.where(end, hits / jnp.maximum(hits[-1], 1), 0)
    # Both rise with the threshold's fall, so a running maximum fills the gaps.
    x, y = jax.lax.cummax(x), jax.lax.cummax(y)
    at = jnp.linspace(0, 1, GRID, dtype=jnp.float32)
    values = jnp.interp(at, x, y)
    return {f"{i:02d}": values[i] for i in range(GRID)}


def estimate(given: Mapping[str, Any]) -> Estimate:
    """Return a recorded estimate."""
    numbers = (float(given[name]) for name in ("value", "low", "high"))
    return Estimate(*numbers, note=given["note"])


def _row(
    config: StudyConfig,
    cell: Cell,
    test: str,
    found: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> Row:
    label, patient, scores = found["label"], found["patient"], found["score"]
    threshold = record["threshold"]
    point = Threshold(
        float(threshold["value"]),
        threshold["rule"],
        int(threshold["chosen_on"]),
        float(threshold["sensitivity"]),
        float(threshold["specificity"]),
    )
    score = scores.mean(axis=0)
    report = evaluate(
        label,
        score,
        key=jax.random.key(0),
        patient=patient,
        threshold=point,
        replicates=config.replicates,
    )
    seeds = np.array([auc(label, one) for one in scores])
    kinds = {kind: found[kind] for kind in GROUPS if kind in found}
    heat = float(record.get("temperature", "nan"))
    row = found["row"]
    return Row(cell, test, report, seeds, label, score, patient, row, kinds, heat)


def subgroups(row: Row, replicates: int) -> list[Group]:
    """Measure a cell on parts of a test set, where a kind has several of them.

    Args:
        row: on the whole set.
        replicates: resamples of the patient bootstrap.

    Returns:
        The groups of both classes and at least 10 radiographs, at the row's threshold.
    """
    out = []
    for kind, column in row.groups.items():
        names = np.unique(column)
        for name in names if names.size > 1 else ():
            own = column == name
            if own.sum() < _LEAST or np.unique(row.label[own]).size < 2:
                continue
            report = evaluate(
                row.label[own],
                row.score[own],
                key=jax.random.key(0),
                patient=row.patient[own],
                threshold=row.report.threshold,
                replicates=replicates,
            )
            out.append(Group(kind, str(name), report))
    return out
