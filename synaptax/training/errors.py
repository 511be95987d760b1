"""What stops a training run."""


class NonFiniteError(RuntimeError):
    """The training loss stopped being a number; the last checkpoint is kept."""
