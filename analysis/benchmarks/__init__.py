"""Jitted benchmark scripts of this package: ratios side by side in one run."""
