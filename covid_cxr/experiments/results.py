"""RESULTS.md's sections on this package, from recorded runs alone."""

from __future__ import annotations

import importlib
import importlib.util

_TOPICS = ("_results_segmentation", "_results_study")


def sections() -> list[str]:
    """Return what this package measured, as Markdown lines."""
    lines: list[str] = []
    for topic in _TOPICS:
        name = f"covid_cxr.experiments.{topic}"
        if importlib.util.find_spec(name) is not None:
            lines += importlib.import_module(name).sections()
    return lines
