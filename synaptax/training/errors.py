"""What stops a training run."""


class NonFiniteError(ArithmeticError):
    """A loss stopped being a finite number; the last checkpoint is left as it is.

    Example:
        >>> issubclass(synaptax.training.NonFiniteError, ArithmeticError)
        True
    """
