"""The sign of a field: one rule for ties, in training, in serving and in counting."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from synaptax.typing import Array


def sign(field: Array, dtype: Any = None) -> Array:
    """Return +1 where a field is >= 0, else -1: a tie is +1, as for m = 0.

    Args:
        field: of any shape.
        dtype: of the result; default: that of the field.
    """
    return jnp.where(field >= 0, 1, -1).astype(dtype or field.dtype)
