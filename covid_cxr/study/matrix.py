"""The cells of a study: each trained and scored once, and never again.

A cell is finished when its JSON file is there; that is written last, after the
predictions. A study that is killed and started again goes on with the first unfinished
cell, inside it with the last checkpoint of its training.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from covid_cxr.index import concatenate
from covid_cxr.metrics import youden
from covid_cxr.models import Network, convert, network
from covid_cxr.study import probes
from covid_cxr.study.apart import let_pass
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.data import (
    Films,
    Library,
    library,
    mixed,
    preprocessed,
    tests_of,
)
from covid_cxr.study.stages import finetuning, pretraining, stage_one
from covid_cxr.train import Trained, fit, predict
from synaptax import runs
from synaptax.data.images import Batch
from synaptax.runs.files import replacing


class Cell(NamedTuple):
    """One combination of the axes of training; its test sets are its rows.

    Attributes:
        encoder: name of a network.
        pretraining: name of a stage 1.
        mix: name of a mix.
        preprocessing: what is done to films.
    """

    encoder: str
    pretraining: str
    mix: str
    preprocessing: str

    @property
    def key(self) -> str:
        """Return the name of its files."""
        return "~".join(self)


def cells(config: StudyConfig) -> list[Cell]:
    """Return the cells of a study, in the order in which they are run."""
    axes = (config.encoders, config.pretrainings, config.mixes, config.preprocessing)
    return [Cell(*names) for names in itertools.product(*axes)]


def run(
    config: StudyConfig,
    folder: str | os.PathLike[str],
    *,
    report: Callable[[str], None] = lambda text: None,
    quiet: bool = True,
) -> Path:
    """Run every cell of a study that is not finished.

    Args:
        config: the study.
        folder: where its files are; a study that was begun there is taken up.
        report: told what is being done.
        quiet: show no progress of the training.

    Returns:
        The folder.

    Raises:
        ValueError: if the folder holds another study, or two parts overlap.
    """
    place = runs.create(folder, config, resume=True).path
    wanted = [cell for cell in cells(config) if not finished(place, cell.key)]
    asked = list(itertools.product(config.mixes, config.preprocessing))
    data = [f"data~{mix}~{kind}" for mix, kind in asked] if config.bias else []
    if not wanted and all(finished(place, key) for key in data):
        report("every cell is finished")
        return place
    report("loading films")
    held = library(config)
    (place / "cells").mkdir(exist_ok=True)
    runs.write_json(place / "sets.json", _described(held))
    if config.bias:
        for key, (mix, kind) in zip(data, asked, strict=True):
            if not finished(place, key):
                report(f"probes of {mix}, {kind}")
                parts = mixed(config.mixes[mix], held, config.split_seed)
                films = preprocessed(_joined(held, parts), kind)
                runs.write_json(path_of(place, key), probes.of_mix(films))
    passed = {  # before anything is trained
        (mix, before): let_pass(config, mix, before, held)
        for mix, before in dict.fromkeys((c.mix, c.pretraining) for c in wanted)
    }
    for number, cell in enumerate(wanted, start=1):
        report(f"cell {number} of {len(wanted)} to do: {', '.join(cell)}")
        overlaps = passed[cell.mix, cell.pretraining]
        _run_cell(config, place, cell, held, overlaps, quiet)
    return place


def path_of(place: Path, key: str) -> Path:
    """Return the file that says that a cell is finished."""
    return place / "cells" / f"{key}.json"


def finished(place: Path, key: str) -> bool:
    """Say whether a cell is finished."""
    return path_of(place, key).exists()


def _run_cell(
    config: StudyConfig,
    place: Path,
    cell: Cell,
    held: Library,
    overlaps: dict[str, list[str]],
    quiet: bool,
) -> None:
    """Train and score a cell, and write its files, the JSON last."""
    wall, core = time.monotonic(), time.process_time()
    net = network(config.encoders[cell.encoder])
    index = mixed(config.mixes[cell.mix], held, config.split_seed)
    tests = tests_of(config, held, index["test"])
    process = lambda films: preprocessed(films, cell.preprocessing)
    train, validation = (
        process(held.films(index[part])) for part in ("train", "validation")
    )
    work = place / "training" / cell.key
    start, before = _pretrained(config, place, cell, held, net, quiet)
    stage = finetuning(config, train, start is not None)
    trained = fit(
        net,
        stage,
        _batch(train),
        _batch(validation),
        start=start,
        folder=work,
        resume=True,
        quiet=quiet,
    )
    scores = {"validation": _scored(net, trained, validation)}
    scores |= {
        name: _scored(net, trained, process(films)) for name, films in tests.items()
    }
    threshold = youden(validation.label, scores["validation"]["score"].mean(axis=0))
    record = {
        **cell._asdict(),
        "train": summary(train),
        "validation": summary(validation),
        "tests": {name: summary(films) for name, films in tests.items()},
        "overlaps_let_pass": overlaps,
        "stage_one": before,
        "stage": stage,
        "epoch": trained.epoch,
        "threshold": threshold,
    }
    if config.bias:
        seen = {name: process(films) for name, films in tests.items()}
        found, panel = probes.of_cell(net, trained, seen, threshold.value)
        record |= found
        scores |= panel
    record |= {
        "wall_s": round(time.monotonic() - wall, 1),
        "core_s": round(time.process_time() - core, 1),
        **runs.environment(),
    }
    target = path_of(place, cell.key)
    with replacing(target.with_suffix(".npz")) as file:
        np.savez_compressed(file, **_flat(scores))  # pyright: ignore
    runs.write_json(target, record)
    shutil.rmtree(work, ignore_errors=True)


def predictions(place: Path, key: str) -> dict[str, dict[str, np.ndarray]]:
    """Read a cell's predictions.

    Returns:
        "validation" and each test set, to "score" (S, n), "label", "patient" (a
        number, no name) and "row" (in the set's table), all (n,).
    """
    with np.load(path_of(place, key).with_suffix(".npz")) as held:
        out: dict[str, dict[str, np.ndarray]] = {}
        for name in held.files:
            part, column = name.rsplit("/", 1)
            out.setdefault(part, {})[column] = held[name]
    return out


def _flat(parts: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{n}/{k}": v for n, part in parts.items() for k, v in part.items()}


def summary(films: Films) -> dict[str, Any]:
    """Return what a set of films is, without the name of a patient."""
    names, counts = np.unique(films.index.source, return_counts=True)
    return {
        "images": len(films.index),
        "patients": int(np.unique(films.index.patient).size),
        "positives": int((films.label == 1).sum()),
        "sources": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "digest": films.index.digest() if len(films.index) else "",
    }


def _described(held: Library) -> dict[str, Any]:
    """Return what the sets are; lungs by a network only where one was asked."""
    out = {}
    for name, films in held.sets.items():
        out[name] = {**summary(films), "left_out": held.problems[name]}
        if name in held.segmented:
            used, abstained = held.segmented[name]
            out[name] |= {"segmented": used, "abstained": abstained}
    return out


def _joined(held: Library, parts: dict[str, Any]) -> Films:
    """Return the films of all parts of a mix, those of two parts once."""
    films = [held.films(index) for index in parts.values()]
    stacked = [np.concatenate(own) for own in zip(*(f[:3] for f in films), strict=True)]
    rows = np.concatenate([one.row for one in films])
    return Films(*stacked, index=concatenate([f.index for f in films]), row=rows)


def _batch(films: Films) -> Batch:
    return Batch(films.images[..., None], films.label)


def _scored(net: Network, trained: Trained, films: Films) -> dict[str, np.ndarray]:
    people = np.unique(films.index.patient, return_inverse=True)[1]
    return {
        "score": predict(net, trained, films.images[..., None]),
        "label": films.label,
        "patient": people,
        "row": films.row,
    }


def _pretrained(
    config: StudyConfig,
    place: Path,
    cell: Cell,
    held: Library,
    net: Network,
    quiet: bool,
) -> tuple[Any, dict[str, Any] | None]:
    """Return stage 1's trunks, one a seed, trained once for all mixes, and a record."""
    one = config.pretrainings[cell.pretraining]
    if one.weights:
        fresh = net.init(jax.random.key(0), config.side)
        return convert(one.weights, *fresh), None
    if not one.set:
        return None, None
    train, validation = (
        preprocessed(films, cell.preprocessing)
        for films in stage_one(config, cell.pretraining, held)
    )
    stage = pretraining(config, train, one.epochs)
    name = "~".join((cell.encoder, cell.pretraining, cell.preprocessing))
    trained = fit(
        net,
        stage,
        _batch(train),
        _batch(validation),
        folder=place / "pretraining" / name,
        resume=True,
        quiet=quiet,
    )
    record = {
        "label": one.label,
        "train": summary(train),
        "validation": summary(validation),
        "stage": stage,
        "epoch": trained.epoch,
        "validation_auc": _kept_areas(trained),
    }
    return jax.tree.map(np.asarray, (trained.params, trained.stats)), record


def _kept_areas(trained: Trained) -> list[float]:
    """Return each seed's area on validation films at the epoch that was kept."""
    return [
        trained.history[epoch - 1]["validation_auc"][seed]
        for seed, epoch in enumerate(trained.epoch.tolist())
    ]
