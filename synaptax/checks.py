"""Checks and the dtype rule shared by the functions that take masks."""

from __future__ import annotations

import functools
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


def wide_dtype(*dtypes: Any) -> Any:
    """Return the dtype that holds every value of the given ones.

    Under strict promotion :func:`jax.numpy.promote_types` refuses to say; here the
    question is asked on purpose.
    """
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, dtypes)
