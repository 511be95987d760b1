"""A study: a matrix of cells, each finished once, and the report of them all."""

from covid_cxr.study.config import (
    Cell,
    Mix,
    Pretraining,
    SetConfig,
    StudyConfig,
    parse,
    read,
)
from covid_cxr.study.matrix import cells, predictions, run

__all__ = [
    "Cell",
    "Mix",
    "Pretraining",
    "SetConfig",
    "StudyConfig",
    "cells",
    "parse",
    "predictions",
    "read",
    "run",
]
