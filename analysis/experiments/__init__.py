"""Recorded runs of this package, and RESULTS.md's sections on them."""
