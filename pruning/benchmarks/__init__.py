"""Jitted benchmark scripts: ratios measured side by side in one run."""
