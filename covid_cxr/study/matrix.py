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
from covid_cxr.study.config import NONE, StudyConfig
from covid_cxr.study.data import Library, Radiographs
from covid_cxr.study.leakage import check_leakage
from covid_cxr.study.mixes import mixed, tables
from covid_cxr.study.preparation import library
from covid_cxr.study.stages import finetuning, pretraining
from covid_cxr.train import Trained, fit, predict
from synaptax import runs
from synaptax.data.cache import cache_folder
from synaptax.runs.files import replacing

PREPARED = "prepared"  # folder of the prepared radiographs, in the study's


class Cell(NamedTuple):
    """One combination of the axes of training; its test sets are its rows.

    Attributes:
        encoder: name of a network.
        pretraining: name of a stage 1.
        mix: name of a mix.
        preprocessing: what is done to radiographs.
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
    todo = [cell for cell in cells(config) if not finished(place, cell.key)]
    pairs = itertools.product(config.mixes, config.preprocessing)
    looks = {(m, kind): f"data~{m}~{kind}" for m, kind in pairs if config.bias}
    looks = {pair: key for pair, key in looks.items() if not finished(place, key)}
    if not todo and not looks:
        report("every cell is finished")
        return place
    report("loading radiographs")
    held = library(config, _prepared_in(place))
    (place / "cells").mkdir(exist_ok=True)
    runs.write_json(place / "sets.json", described(held))
    for (mix, kind), key in looks.items():
        report(f"probes of {mix}, {kind}")
        whole = concatenate(list(mixed(config, held, mix).values()))
        runs.write_json(
            path_of(place, key), probes.of_mix(held.radiographs(whole, kind))
        )
    seen, overlaps = {}, {}
    for pair in dict.fromkeys((cell.mix, cell.pretraining) for cell in todo):
        seen[pair] = tables(config, held, *pair)
        # Of all cells before anything is trained.
        overlaps[pair] = check_leakage(config, held, seen[pair], *pair)
    for number, cell in enumerate(todo, start=1):
        report(f"cell {number} of {len(todo)} to do: {', '.join(cell)}")
        pair = cell.mix, cell.pretraining
        own = lambda table, kind=cell.preprocessing: held.radiographs(table, kind)
        data = Data(
            train=own(seen[pair].parts["train"]),
            validation=own(seen[pair].parts["validation"]),
            tests={name: own(table) for name, table in seen[pair].tests.items()},
            first={name: own(table) for name, table in seen[pair].first.items()},
            overlaps=overlaps[pair],
        )
        _run_cell(config, place, cell, data, quiet)
    shutil.rmtree(place / PREPARED, ignore_errors=True)
    return place


def _prepared_in(place: Path) -> Path:
    """Return where prepared radiographs are: with the study, and gone when it is done.

    In SYNAPTAX_CACHE, if that is set, they stay, and studies share them.
    """
    if os.environ.get("SYNAPTAX_CACHE"):
        return cache_folder() / "radiographs"
    return place / PREPARED


def path_of(place: Path, key: str) -> Path:
    """Return the file that says that a cell is finished."""
    return place / "cells" / f"{key}.json"


def finished(place: Path, key: str) -> bool:
    """Say whether a cell is finished."""
    return path_of(place, key).exists()


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


class Data(NamedTuple):
    """What a cell sees, preprocessed.

    Attributes:
        train: of stage 2.
        validation: of stage 2.
        tests: name to a test set.
        first: "train" and "validation" of stage 1, if there is one.
        overlaps: test set to the kinds of overlap that were let pass.
    """

    train: Radiographs
    validation: Radiographs
    tests: dict[str, Radiographs]
    first: dict[str, Radiographs]
    overlaps: dict[str, list[str]]


def _run_cell(
    config: StudyConfig, place: Path, cell: Cell, data: Data, quiet: bool
) -> None:
    """Train and score a cell, and write its files, the JSON last."""
    wall, core = time.monotonic(), time.process_time()
    net = network(config.encoders[cell.encoder])
    work = place / "training" / cell.key
    start, before = _pretrained(config, place, cell, data, net, quiet)
    stage = finetuning(config, data.train, start is not None)
    trained = fit(
        net,
        stage,
        data.train.batch(),
        data.validation.batch(),
        start=start,
        folder=work,
        resume=True,
        quiet=quiet,
    )
    scores = {"validation": _scored(net, trained, data.validation)}
    scores |= {name: _scored(net, trained, one) for name, one in data.tests.items()}
    threshold = youden(
        data.validation.label, scores["validation"]["score"].mean(axis=0)
    )
    record = {
        **cell._asdict(),
        "train": summary(data.train),
        "validation": summary(data.validation),
        "tests": {name: summary(one) for name, one in data.tests.items()},
        "overlaps_let_pass": data.overlaps,
        "stage_one": before,
        "stage": stage,
        "epoch": trained.epoch,
        "threshold": threshold,
    }
    if config.bias:
        answers, panel = probes.of_cell(net, trained, data.tests, threshold.value)
        record |= answers
        scores |= panel
    record |= {
        "wall_s": round(time.monotonic() - wall, 1),
        "core_s": round(time.process_time() - core, 1),
        **runs.environment(),
    }
    target = path_of(place, cell.key)
    flat = {f"{n}/{k}": v for n, part in scores.items() for k, v in part.items()}
    with replacing(target.with_suffix(".npz")) as file:
        np.savez_compressed(file, **flat)  # pyright: ignore
    runs.write_json(target, record)
    shutil.rmtree(work, ignore_errors=True)


def _pretrained(
    config: StudyConfig, place: Path, cell: Cell, data: Data, net: Network, quiet: bool
) -> tuple[Any, dict[str, Any] | None]:
    """Return stage 1's trunks, one a seed, trained once for all mixes, and a record."""
    one = config.pretrainings[cell.pretraining]
    if one.weights:
        fresh = net.init(jax.random.key(0), config.side)
        return convert(one.weights, *fresh), None
    if not one.set:
        return None, None
    train, validation = data.first["train"], data.first["validation"]
    stage = pretraining(config, train, one.epochs)
    name = "~".join((cell.encoder, cell.pretraining, cell.preprocessing))
    trained = fit(
        net,
        stage,
        train.batch(),
        validation.batch(),
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
        # Each seed's, at the epoch that was kept.
        "validation_auc": [
            trained.history[epoch - 1]["validation_auc"][seed]
            for seed, epoch in enumerate(trained.epoch.tolist())
        ],
    }
    return jax.tree.map(np.asarray, (trained.params, trained.stats)), record


def _scored(net: Network, trained: Trained, data: Radiographs) -> dict[str, np.ndarray]:
    return {
        "score": predict(net, trained, data.batch().image),
        "label": data.label,
        "patient": np.unique(data.index.patient, return_inverse=True)[1],
        "row": data.row,
    }


def summary(data: Radiographs) -> dict[str, Any]:
    """Return what some radiographs are, without the name of a patient."""
    names, counts = np.unique(data.index.source, return_counts=True)
    return {
        "images": len(data.index),
        "patients": int(np.unique(data.index.patient).size),
        "positives": int((data.label == 1).sum()),
        "sources": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "digest": data.index.digest() if len(data.index) else "",
    }


def described(held: Library) -> dict[str, Any]:
    """Return what the sets are; lungs by a network only where one was asked."""
    out = {}
    for name, of_kind in held.sets.items():
        out[name] = {**summary(of_kind[NONE]), "left_out": held.problems[name]}
        if name in held.segmented:
            used, abstained = held.segmented[name]
            out[name] |= {"segmented": used, "abstained": abstained}
    return out
