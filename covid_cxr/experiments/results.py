"""What this package adds to the results, from recorded runs alone."""

from __future__ import annotations

from covid_cxr.experiments import (
    RECORDED,
    _findings,
    _results_matrix,
    _results_planted,
    _results_segmentation,
    _results_study,
)
from synaptax.reports.benchmarks import benchmark_sections
from synaptax.reports.results import Contribution, Page


def contribution() -> Contribution:
    """Return what this package adds to the results."""
    parts = (_results_segmentation, _results_study, _results_matrix, _results_planted)
    lines = [line for part in parts for line in part.sections()]
    lines += benchmark_sections("covid_cxr", RECORDED)
    title = "Chest radiographs and their shortcuts (arXiv 2004.05405)"
    return Contribution(
        (Page("chest-radiographs", title, tuple(lines)),),
        _findings.findings(),
        (),
        _findings.PICTURES,
        _findings.misses(),
    )
