"""Tests of the packages, laid out as they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments and result by beartype, from its first call on.

    beartype takes some 3 ms to write a function's check, and the packages have two
    thousand functions, of which the tests of one file call a few.
    """
    check = None

    @wraps(function)
    def checking(*args, **kwargs):
        nonlocal check
        if check is None:
            from beartype import beartype

            check = beartype(function)
        return check(*args, **kwargs)

    return checking


@contextmanager
def unchecked() -> Iterator[None]:
    """Let calls through whatever the annotations say, as a user's are."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
