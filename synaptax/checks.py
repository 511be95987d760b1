"""Checks and the dtype rule shared by the functions that take masks."""

from __future__ import annotations

import functools
import importlib
import operator
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
            kind = getattr(leaf, "dtype", f"a Python {type(leaf).__name__}")
            raise ValueError(f"{argument}: leaf {name} is {kind}, expected bool")


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> None:
    """Raise a ValueError that lists the choices unless the value is among them."""
    options = tuple(choices)
    if not isinstance(value, str) or value not in options:
        raise ValueError(
            f"{argument}: expected one of {', '.join(options)}, got {value!r}"
        )


def check_flags(**flags: Any) -> None:
    """Raise a ValueError that names the first argument that is no True or False.

    Any other object would count as one of them: "False" as true.
    """
    for argument, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{argument}: expected True or False, got {value!r}")


def check_integer(
    argument: str,
    value: Any,
    least: int | None = None,
    most: int | None = None,
    *,
    expected: str = "",
) -> int:
    """Return a whole number as a Python integer.

    Args:
        argument: what holds it, for messages.
        value: a Python or NumPy integer, or a scalar array of integers; a bool, a
            float and a traced value are none.
        least: the least that is allowed, if there is one.
        most: the most that is allowed.
        expected: what a message calls the range; by default by its ends.

    Raises:
        ValueError: naming the argument, the range and the value.
    """
    ends = "" if least is None else f" >= {least}"
    if most is not None:
        ends = f" from {least} to {most}"
    try:
        # A bool is an int in Python; index() takes no float, not even 2.0.
        whole = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # of a traced value JAX raises errors of its own
        whole = None
    if whole is None:
        raise ValueError(f"{argument}: expected an integer{ends}, got {value!r}")
    low, high = least is not None and whole < least, most is not None and whole > most
    if low or high:
        raise ValueError(
            f"{argument}: expected {expected or 'an integer' + ends}, got {whole}"
        )
    return whole


def check_number(
    argument: str, value: Any, expected: str, fits: Callable[[float], bool]
) -> None:
    """Raise a ValueError unless this is a real number that fits, or a traced scalar.

    Args:
        argument: what holds it, for messages.
        value: a number or a scalar array; a text that reads as one is none.
        expected: what it has to be, for messages: "a number in [0, 1]".
        fits: says whether a number is that.
    """
    shape = getattr(value, "shape", ())
    if shape != ():
        raise ValueError(
            f"{argument}: expected a scalar, got an array of shape {shape}"
        )
    if isinstance(value, Tracer):
        return
    try:
        other = isinstance(value, str | bytes) or np.iscomplexobj(value)
        number = None if other else float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not fits(number):
        text = repr(value) if number is None else value
        raise ValueError(f"{argument}: expected {expected}, got {text}")


def scalar_valued(function: Callable[..., Any], argument: str) -> Callable[..., Any]:
    """Return a loss that is refused by name unless it returns one real number."""

    def checked(*args: Any) -> Any:
        value = function(*args)
        dtype = getattr(value, "dtype", None)
        real = dtype is None or jnp.issubdtype(dtype, jnp.floating)
        if (
            real
            and np.ndim(value) == 0
            and isinstance(value, float | np.floating | jax.Array)
        ):
            return value
        shape = f" of shape {value.shape}" if dtype is not None else ""
        raise ValueError(
            f"{argument}: expected a real scalar, the mean over a batch, got "
            f"{dtype or type(value).__name__}{shape}"
        )

    return checked


def check_floating(tree: Any, argument: str) -> None:
    """Raise a ValueError that names the first leaf that has no derivative."""
    for name, leaf in named_leaves(tree):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(f"{argument}: leaf {name} is {dtype}, expected floats")


def check_key(key: Any) -> None:
    """Raise a ValueError unless ``key`` is one PRNG key."""
    try:
        # Only traced: one key passes, a batch of keys or a raw seed does not.
        jax.eval_shape(lambda key: jax.random.uniform(key), key)
    except Exception as error:
        form = getattr(key, "shape", "")
        raise ValueError(
            "key: expected one PRNG key, such as jax.random.key(0), got "
            f"{type(key).__name__}{form}"
        ) from error


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
