"""The comparison of a gradually pruned solution with one-shot ones."""
