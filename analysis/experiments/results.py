"""RESULTS.md's sections on this package, from recorded runs alone."""

from __future__ import annotations

from analysis.experiments import _results_minima, entropy_lenet5_mnist
from analysis.experiments._minima import RECORDED
from synaptax.reports.benchmarks import benchmark_sections


def sections() -> list[str]:
    """Return what this package measured, as Markdown lines."""
    return [
        *_results_minima.sections(),
        *entropy_lenet5_mnist.sections(),
        *benchmark_sections("analysis", RECORDED),
    ]
