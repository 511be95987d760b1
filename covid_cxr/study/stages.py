"""What the two stages of a cell are."""

from __future__ import annotations

import dataclasses

from covid_cxr.images import pooled
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.data import Radiographs, unit
from covid_cxr.train import (
    StageConfig,
    fixed_finetuning,
    fixed_pretraining,
    published_finetuning,
    published_pretraining,
)


def pretraining(config: StudyConfig, train: Radiographs, epochs: int) -> StageConfig:
    """Return stage 1 of a study, for its radiographs and epochs."""
    if config.protocol == "published":
        stage = published_pretraining("rsna")
    else:
        stage = dataclasses.replace(
            fixed_pretraining(), batch=config.batch, rate=config.rate
        )
    return _normalised(stage, config, train, epochs)


def finetuning(
    config: StudyConfig, train: Radiographs, pretrained: bool
) -> StageConfig:
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


def _normalised(
    stage: StageConfig, config: StudyConfig, train: Radiographs, epochs: int
) -> StageConfig:
    """Return a stage with the study's seeds and the statistics of its images."""
    pixels = pooled(map(unit, train.images.chunks()))
    return dataclasses.replace(
        stage,
        epochs=epochs,
        seeds=tuple(config.seeds),
        mean=round(pixels.mean, 2),
        std=max(round(pixels.std, 2), 0.01),
    )
