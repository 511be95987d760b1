"""Checks shared by the functions of this package: one clear error each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from synaptax.checks import check_number
from synaptax.typing import Array

_REAL = jnp.bool_, jnp.integer, jnp.floating


def concrete(value: Any) -> np.ndarray | None:
    """Return a value as a NumPy array, or None if it is traced."""
    return None if isinstance(value, Tracer) else np.asarray(value)


def numbers(value: Any, name: str, expected: str = "finite numbers") -> Any:
    """Return real, finite numbers as an array of NumPy or JAX; else raise."""
    kind = type(value).__name__
    if not isinstance(value, jax.Array | np.ndarray):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError):  # ragged
            value = np.asarray(None)
    dtype = value.dtype
    kind = kind if dtype == np.dtype(object) else dtype
    if not any(jnp.issubdtype(dtype, real) for real in _REAL):
        raise ValueError(f"{name}: expected real numbers, got {kind}")
    values = concrete(value) if jnp.issubdtype(dtype, jnp.floating) else None
    if values is not None and not np.isfinite(values).all():
        odd = values[~np.isfinite(values)].flat[0]
        raise ValueError(f"{name}: expected {expected}, got {odd}")
    return value


def array(value: Any, name: str, expected: str = "finite numbers") -> Array:
    """Return real, finite numbers as an array of JAX; else raise.

    JAX's default integers have 32 bits: 2^32 + 1 would come in as 1.
    """
    values = numbers(value, name, expected)
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            narrow = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
        whole = not jnp.issubdtype(narrow.dtype, jnp.floating)
        if not (np.array_equal(narrow, values) if whole else np.isfinite(narrow).all()):
            raise ValueError(
                f"{name}: expected numbers within {narrow.dtype}, got up to "
                f"{np.abs(values).max()}"
            )
        values = narrow
    return jnp.asarray(values)


def magnetisations(m: Any, size: int | None = None, name: str = "m") -> Array:
    """Return floating numbers within [-1, 1]; else raise.

    Args:
        m: the magnetisations.
        size: N, of a vector; None for any shape.
        name: for messages.
    """
    m = array(m, name, "magnetisations in [-1, 1]")
    if not jnp.issubdtype(m.dtype, jnp.floating):
        raise ValueError(f"{name}: expected a floating array, got {m.dtype}")
    if size is not None and m.shape != (size,):
        raise ValueError(f"{name}: expected {size} entries, got shape {m.shape}")
    values = concrete(m)
    # A step's update rounds: m + (clip(m + u) - m) may leave the cube by an ulp.
    if values is not None and not np.all(np.abs(values) <= 1 + 1e-5):
        raise ValueError(
            f"{name}: expected magnetisations in [-1, 1], got {np.max(np.abs(values))}"
        )
    return m


def check_binary(values: Any, name: str) -> None:
    """Raise unless every entry is +1 or -1."""
    entries = concrete(numbers(values, name))
    if entries is not None and not np.all(np.abs(entries) == 1):
        odd = entries[np.abs(entries) != 1].flat[0]
        raise ValueError(f"{name}: expected only +1 and -1, got {odd}")


def number(
    name: str,
    value: Any,
    expected: str = "a finite number",
    fits: Callable[[float], bool] = math.isfinite,
) -> float:
    """Return a real scalar that fits as a float; a flag, text or traced value is none.

    Args:
        name: what holds it, for messages.
        value: a number, NumPy's and JAX's too.
        expected: what it has to be, for messages.
        fits: says whether it is that.
    """
    if isinstance(value, Tracer | bool) or getattr(value, "dtype", None) == np.bool_:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    check_number(name, value, expected, fits)
    return float(value)
