"""What the two stages of a cell are, and what stage 1 learns from."""

from __future__ import annotations

import dataclasses

import numpy as np

from covid_cxr.images import pooled
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.data import LEARNT, Films, Library, targeted
from covid_cxr.train import (
    StageConfig,
    fixed_finetuning,
    fixed_pretraining,
    published_finetuning,
    published_pretraining,
)


def pretraining(config: StudyConfig, train: Films, epochs: int) -> StageConfig:
    """Return stage 1 of a study, for its films and epochs."""
    if config.protocol == "published":
        stage = published_pretraining("rsna")
    else:
        stage = dataclasses.replace(
            fixed_pretraining(), batch=config.batch, rate=config.rate
        )
    return _normalised(stage, config, train, epochs)


def finetuning(config: StudyConfig, train: Films, pretrained: bool) -> StageConfig:
    """Return stage 2 of a study, from a trunk of stage 1 or from random weights."""
    if config.protocol == "published":
        stage = published_finetuning()
    else:
        stage = fixed_finetuning()
        # A trunk that has learnt nothing must learn at the full rate.
        rate = stage.trunk_rate if pretrained else 1.0
        stage = dataclasses.replace(
            stage, batch=config.batch, rate=config.rate, trunk_rate=rate
        )
    return _normalised(stage, config, train, config.epochs)


def stage_one(config: StudyConfig, name: str, held: Library) -> tuple[Films, Films]:
    """Return the films of stage 1, to train and to validate, with its label as theirs.

    Raises:
        ValueError: if the label is not known there, or not of both kinds.
    """
    one = config.pretrainings[name]
    films = [_labelled(held.films(held.parts[one.set][p]), one.label) for p in LEARNT]
    where = f"pretrainings.{name}.label"
    for part in films:
        if not len(part.index):
            raise ValueError(f"{where}: no film of {one.set!r} has a {one.label!r}")
        if np.unique(part.label).size < 2:
            raise ValueError(
                f"{where}: the films of {one.set!r} are all alike in {one.label!r}"
            )
    return films[0], films[1]


def _normalised(
    stage: StageConfig, config: StudyConfig, train: Films, epochs: int
) -> StageConfig:
    """Return a stage with the study's seeds and the training films' statistics."""
    found = pooled(train.images)
    return dataclasses.replace(
        stage,
        epochs=epochs,
        seeds=tuple(config.seeds),
        mean=round(found.mean, 2),
        std=max(round(found.std, 2), 0.01),
    )


def _labelled(films: Films, label: str) -> Films:
    """Return the films for which another label is known, with it as theirs."""
    known = films.select(films.index.label(label) >= 0)
    return known._replace(index=targeted(known.index, label))
