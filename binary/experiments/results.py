"""What this package adds to the results, from recorded runs alone."""

from __future__ import annotations

from binary.experiments import (
    _findings,
    _results_network,
    _results_solvers,
    _results_theory,
)
from synaptax.reports.results import Contribution, Page


def contribution() -> Contribution:
    """Return what this package adds to the results."""
    lines = [
        *_results_solvers.sections(),
        *_results_theory.sections(),
        *_results_network.sections(),
    ]
    title = "Stochastic binary synapses (arXiv 1710.09825)"
    return Contribution(
        (Page("binary", title, tuple(lines)),),
        _findings.findings(),
        _findings.ratios(),
        _findings.PICTURES,
        _findings.misses(),
    )
