"""A study: a matrix of cells, each finished once, and the report of them all."""

from covid_cxr.study.cells import Cell, cells, predictions, run
from covid_cxr.study.config import (
    Mix,
    Pretraining,
    SetConfig,
    StudyConfig,
    parse,
    read,
)

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
