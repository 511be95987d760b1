"""A cell of a study: two stages of training, scores on every test set, and a record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from covid_cxr.images import as_published, pooled
from covid_cxr.metrics import (
    FIXED,
    Threshold,
    confusion,
    sensitivity,
    specificity,
    youden,
)
from covid_cxr.models import Network, convert, network
from covid_cxr.study import probes
from covid_cxr.study.choices import CHOICES
from covid_cxr.study.config import Cell, Pretraining, StudyConfig
from covid_cxr.study.data import CellData, Radiographs, groups, summary, unit
from covid_cxr.study.leakage import taught
from covid_cxr.study.model import heat_of, keep, seen
from covid_cxr.train import (
    StageConfig,
    Trained,
    fit,
    fixed_finetuning,
    fixed_pretraining,
    predict,
    published_finetuning,
    published_pretraining,
)
from synaptax import runs

_SAMPLED = 1024  # radiographs that ranges are taken over
TRAINING = "training"  # folder of the cells in training, in the study's


def train_cell(
    config: StudyConfig,
    place: Path,
    cell: Cell,
    data: CellData,
    *,
    quiet: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train and score a cell.

    Args:
        config: the study.
        place: its folder; checkpoints of the training go below it.
        cell: which.
        data: what it learns from and is tested on.
        quiet: show no progress.

    Returns:
        "PART/COLUMN" to what :func:`covid_cxr.study.matrix.predictions` reads, and the
        record.
    """
    wall, core = time.monotonic(), time.process_time()
    net = network(config.encoder(cell.encoder))
    train, validation, tests = data.parts["train"], data.parts["validation"], data.tests
    start, before = _pretrained(config, place, cell, data.first, net, quiet)
    stage = finetuning(config, train, start is not None, list(data.scaled.values()))
    trained = fit(
        net,
        stage,
        train.batch(),
        validation.batch(),
        start=start,
        folder=place / TRAINING / cell.key,
        resume=True,
        quiet=quiet,
    )
    scores = {"validation": _scored(net, trained, validation)}
    scores |= {name: _scored(net, trained, one) for name, one in tests.items()}
    truth, mean = validation.label, scores["validation"]["score"].mean(axis=0)
    # Both of the validation part, so that no test radiograph has a say.
    threshold, heat = _threshold(config, truth, mean), heat_of(truth, mean)
    if config.keep:
        card = {
            "threshold": threshold,
            "temperature": heat,
            "validation_share": float(truth.mean()),
            "seen": seen(train.index, _sample(data.plain)),
        }
        keep(place, config, cell, trained, card, data.hashes)
    record = {
        **cell._asdict(),
        "train": summary(train.index),
        "validation": summary(validation.index),
        "tests": {name: summary(one.index) for name, one in tests.items()},
        "stage_one": before,
        "stage": stage,
        "epoch": trained.epoch,
        "threshold": threshold,
        "temperature": heat,
    }
    if config.bias:
        answers, panel = probes.of_cell(net, trained, tests, threshold.value)
        record |= answers
        scores |= panel
    record |= {
        "wall_s": round(time.monotonic() - wall, 1),
        "core_s": round(time.process_time() - core, 1),
        **runs.environment(),
    }
    flat = {f"{n}/{k}": v for n, part in scores.items() for k, v in part.items()}
    return flat, record


def _pretrained(
    config: StudyConfig,
    place: Path,
    cell: Cell,
    first: dict[str, Radiographs],
    net: Network,
    quiet: bool,
) -> tuple[Any, dict[str, Any] | None]:
    """Return stage 1's trunks, one a seed, trained once for all mixes, and a record."""
    one = config.pretrainings[cell.pretraining]
    net, start = _first_network(config, one, net), None
    if one.weights:
        # Only its names and shapes: the trunk is replaced, the head drawn anew.
        fresh = net.init(jax.random.key(0), config.side)
        grey = "first" if config.keeps("channel") else "sum"
        start = convert(one.weights, *fresh, grey=grey)
    if not one.set:
        return start, None
    train, validation = first["train"], first["validation"]
    stage = pretraining(config, train, one.epochs, one.classes)
    labelled = lambda data: data.batch()._replace(label=taught(data.index, one))
    name = "~".join((cell.encoder, cell.pretraining, cell.preprocessing))
    trained = fit(
        net,
        stage,
        labelled(train),
        labelled(validation),
        start=start,
        folder=place / "pretraining" / name,
        resume=True,
        quiet=quiet,
    )
    record = {
        "label": ", ".join(one.names),
        "train": summary(train.index),
        "validation": summary(validation.index),
        "stage": stage,
        "epoch": trained.epoch,
        # Each seed's, at the epoch that was kept.
        "validation_auc": [
            trained.history[epoch - 1]["validation_auc"][seed]
            for seed, epoch in enumerate(trained.epoch.tolist())
        ],
    }
    return jax.tree.map(np.asarray, (trained.params, trained.stats)), record


def _first_network(config: StudyConfig, one: Pretraining, net: Network) -> Network:
    """Return stage 1's network: with its own outputs, and a linear head as published.

    Its trunk is that of stage 2's, whose head is drawn anew.
    """
    hidden = 0 if config.keeps("head") else net.config.hidden
    model = dataclasses.replace(net.config, classes=one.classes, hidden=hidden)
    return net if model == net.config else network(model)


def _threshold(config: StudyConfig, truth: np.ndarray, score: np.ndarray) -> Threshold:
    """Return Youden's threshold of the validation part, or one half, as published.

    The released code has a helper of Youden's, and its benchmark never used it.
    """
    if not config.keeps("threshold"):
        return youden(truth, score)
    cells = confusion(truth, score, FIXED.value)
    rates = float(sensitivity(cells)), float(specificity(cells))
    return FIXED._replace(sensitivity=rates[0], specificity=rates[1])


def _scored(net: Network, trained: Trained, data: Radiographs) -> dict[str, np.ndarray]:
    return {
        "score": predict(net, trained, data.batch().image),
        "label": data.label,
        # A number: no patient's name leaves the tables.
        "patient": np.unique(data.index.patient, return_inverse=True)[1],
        "row": data.row,
        **groups(data.index),
    }


def _sample(data: Radiographs) -> np.ndarray:
    """Return pixels (m, S, S) of radiographs spread over a table, at most 1024."""
    rows = np.linspace(0, len(data.index) - 1, min(len(data.index), _SAMPLED))
    return data.select(rows.astype(int)).pixels()


def pretraining(
    config: StudyConfig, train: Radiographs, epochs: int, classes: int = 1
) -> StageConfig:
    """Return stage 1 of a study, for its radiographs, epochs and outputs."""
    theirs = published_pretraining("rsna" if classes == 1 else "chestxray")
    whole = lambda batch: max(batch // classes, 1) * classes  # as many of each
    ours = dataclasses.replace(
        fixed_pretraining(classes), batch=whole(config.batch), rate=config.rate
    )
    stage = _chosen(config, theirs, ours, 1)
    if stage.sampling == "balanced":  # published batches of 10 become 9
        stage = dataclasses.replace(stage, batch=whole(stage.batch))
    return _normalised(stage, config, train, epochs, [train])


def finetuning(
    config: StudyConfig,
    train: Radiographs,
    pretrained: bool,
    scaled: Sequence[Radiographs] = (),
) -> StageConfig:
    """Return stage 2 of a study, from a trunk of stage 1 or from random weights.

    Args:
        config: the study.
        train: what it learns from.
        pretrained: whether there is a stage 1.
        scaled: what the published statistics are of.
    """
    ours = fixed_finetuning()
    # A trunk that has learnt nothing must learn at the full rate.
    rate = ours.trunk_rate if pretrained else 1.0
    ours = dataclasses.replace(
        ours, batch=config.batch, rate=config.rate, trunk_rate=rate
    )
    stage = _chosen(config, published_finetuning(), ours, 2)
    return _normalised(stage, config, train, config.epochs, scaled)


def _chosen(
    config: StudyConfig, theirs: StageConfig, ours: StageConfig, number: int
) -> StageConfig:
    """Return their stage, with our fields for every choice that is not kept."""
    fields = [
        field
        for name, choice in CHOICES.items()
        if number in choice.stages and not config.keeps(name)
        for field in choice.fields
    ]
    return dataclasses.replace(theirs, **{name: getattr(ours, name) for name in fields})


def _normalised(
    stage: StageConfig,
    config: StudyConfig,
    train: Radiographs,
    epochs: int,
    scaled: Sequence[Radiographs],
) -> StageConfig:
    """Return a stage with the study's seeds and the statistics of its images."""
    if config.keeps("statistics"):
        pixels = as_published(
            image
            for part in scaled
            for chunk in part.images.chunks()
            for image in unit(chunk)
        )
    else:
        pixels = pooled(map(unit, train.images.chunks()))
    return dataclasses.replace(
        stage,
        epochs=epochs,
        seeds=tuple(config.seeds),
        mean=round(pixels.mean, 2),
        # 0.01: a deviation that rounds to 0 would be divided by.
        std=max(round(pixels.std, 2), 0.01),
    )
