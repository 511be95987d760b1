"""One run: train dense, prune gradually, tune, report."""
