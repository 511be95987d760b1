"""A small-data chest X-ray study that looks for its own shortcuts."""
