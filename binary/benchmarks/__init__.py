"""Benchmarks of the solvers: ratios measured side by side in one run."""
