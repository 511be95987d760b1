"""The laboratory: models, data, training loop and checkpoints."""
