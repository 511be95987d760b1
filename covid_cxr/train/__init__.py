"""Two stages of training, as published and repaired."""

from covid_cxr.train.inference import features, predict
from covid_cxr.train.stages import (
    StageConfig,
    fixed_finetuning,
    fixed_pretraining,
    published_finetuning,
    published_pretraining,
)
from covid_cxr.train.training import Trained, fit, with_trunk

__all__ = [
    "StageConfig",
    "Trained",
    "features",
    "fit",
    "fixed_finetuning",
    "fixed_pretraining",
    "predict",
    "published_finetuning",
    "published_pretraining",
    "with_trunk",
]
