"""Checks and the dtype rule shared by the functions that take masks."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from synaptax.trees import named_leaves


def is_traced(tree: Any) -> bool:
    """Say whether a tree has a traced leaf."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def check_boolean(mask: Any, argument: str = "mask") -> None:
    """Raise a ValueError that names the first leaf that is not boolean."""
    for name, leaf in named_leaves(mask):
        if getattr(leaf, "dtype", None) != np.dtype(bool):
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise ValueError(f"{argument}: leaf {name} is {kind}, expected bool")


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> None:
    """Raise a ValueError that lists the choices unless the value is among them."""
    if value not in (known := tuple(choices)):
        raise ValueError(
            f"{argument}: expected one of {', '.join(known)}, got {value!r}"
        )


def wide_dtype(*dtypes: Any) -> Any:
    """Return the dtype that holds every value of the given ones.

    Under strict promotion :func:`jax.numpy.promote_types` refuses to say; here the
    question is asked on purpose.
    """
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, dtypes)


def named_function(text: str, argument: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names.

    The module may lie in the working directory, too.

    Args:
        text: such as ``my_package.networks:small`` or ``__main__:small``.
        argument: what the text was given for, for messages.

    Raises:
        ValueError: if there is no such module or function. What the module itself
            raises while it is imported is not caught.
    """
    module, _, name = text.partition(":")
    if os.getcwd() not in sys.path:  # a console script's path has it not
        sys.path.append(os.getcwd())
    nothing = f"{argument}: there is no {text!r}"
    try:
        home = importlib.import_module(module or "?")
    except ModuleNotFoundError as error:
        if not f"{module or '?'}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise ValueError(f"{nothing}: {error}") from error
    try:
        function = functools.reduce(getattr, name.split("."), home)
    except AttributeError as error:
        raise ValueError(f"{nothing}: {error}") from error
    if not callable(function):
        raise ValueError(f"{argument}: {text!r} is no function")
    return function
