"""Checks shared by the functions of this package: one clear error each."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def concrete(value: Any) -> np.ndarray | None:
    """Return a value as a NumPy array, or None if it is traced."""
    return None if isinstance(value, Tracer) else np.asarray(value)


def wide(dtype: Any) -> Any:
    """Return a floating dtype of at least 32 bits: sums overflow or round in fewer."""
    return jax.numpy.float32 if jax.numpy.finfo(dtype).bits < 32 else dtype


def check_magnetisations(m: Any, size: int | None = None, name: str = "m") -> None:
    """Raise unless m is floating, of length ``size`` and within [-1, 1]."""
    if not jax.numpy.issubdtype(m.dtype, jax.numpy.floating):
        raise ValueError(f"{name}: expected a floating array, got {m.dtype}")
    if size is not None and (m.ndim == 0 or m.shape[-1] != size):
        raise ValueError(f"{name}: expected {size} entries, got shape {m.shape}")
    values = concrete(m)
    if values is not None and not np.all(np.abs(values) <= 1):
        raise ValueError(
            f"{name}: expected magnetisations in [-1, 1], got {np.max(np.abs(values))}"
        )


def check_binary(values: Any, name: str) -> None:
    """Raise unless every entry is +1 or -1."""
    found = concrete(values)
    if found is not None and not np.all(np.abs(found) == 1):
        odd = found[np.abs(found) != 1].flat[0]
        raise ValueError(f"{name}: expected only +1 and -1, got {odd}")


def check_overlap(q: Any, name: str = "q") -> None:
    """Raise unless a self-overlap lies in [0, 1)."""
    found = concrete(q)
    if found is not None and not np.all((found >= 0) & (found < 1)):
        raise ValueError(f"{name}: expected a self-overlap in [0, 1), got {found}")


def number(value: Any, name: str) -> float:
    """Return a real scalar, NumPy's and JAX's too, as a float; else raise."""
    kind = getattr(value, "dtype", type(value))  # neither a boolean nor text
    real = jax.numpy.floating, jax.numpy.integer
    try:
        if np.ndim(value) == 0 and any(jax.numpy.issubdtype(kind, k) for k in real):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass  # traced, ragged, beyond a float
    raise ValueError(f"{name}: expected a number, got {value!r}")


def finite(value: Any, name: str) -> float:
    """Return a real scalar that is neither infinite nor NaN as a float; else raise."""
    found = number(value, name)
    if not math.isfinite(found):
        raise ValueError(f"{name}: expected a finite number, got {found}")
    return found


def whole(value: Any, name: str, least: int, unit: str) -> int:
    """Return a whole number of at least ``least``; else raise. True is none."""
    try:
        count = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least:
        raise ValueError(
            f"{name}: expected a whole number, at least {least} {unit}, got {value!r}"
        )
    return count
