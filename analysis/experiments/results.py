"""What this package adds to the results, from recorded runs alone."""

from __future__ import annotations

from analysis.experiments import (
    _findings,
    _results_minima,
    coverage,
    entropy_lenet5_mnist,
)
from analysis.experiments._minima import RECORDED
from synaptax.reports.benchmarks import benchmark_sections
from synaptax.reports.results import Contribution, Page


def contribution() -> Contribution:
    """Return what this package adds to the results."""
    lines = [
        *_results_minima.sections(),
        *entropy_lenet5_mnist.sections(),
        *coverage.sections(),
        *benchmark_sections("analysis", RECORDED),
    ]
    title = "Minima of pruned networks (arXiv 2004.14765)"
    return Contribution(
        (Page("minima", title, tuple(lines)),),
        _findings.findings(),
        _findings.ratios(),
        _findings.pictures(),
        _findings.misses(),
    )
