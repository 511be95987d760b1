"""Masks as bits: eight weights of the last axis in a byte.

The tree and the number of axes stay, so that a sharding of the weights is one of the
bits where each device holds a multiple of eight. A leaf whose last axis is no multiple
of eight stays boolean, and so does one that an explicit mesh cuts within a byte.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from synaptax.typing import Array, PyTree

_PLACES = np.arange(8, dtype=np.uint8)


def packed_shape(leaf: Any) -> Any:
    """Return the shape and dtype in which the mask of a leaf is held."""
    shape = tuple(np.shape(leaf))
    if not shape or shape[-1] % (8 * _parts(leaf)):
        return jax.ShapeDtypeStruct(shape, bool)
    return jax.ShapeDtypeStruct((*shape[:-1], shape[-1] // 8), np.uint8)


def _parts(leaf: Any) -> int:
    """Return into how many parts an explicit mesh cuts the last axis."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(leaf, Tracer | jax.Array):
        sharding = jax.typeof(leaf).sharding
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return 1
    names = sharding.spec[-1] if len(sharding.spec) == len(leaf.shape) else None
    names = names if isinstance(names, tuple) else (names,)
    explicit = jax.sharding.AxisType.Explicit
    kinds = dict(zip(sharding.mesh.axis_names, sharding.mesh.axis_types, strict=True))
    return math.prod(
        sharding.mesh.shape[name] for name in names if kinds.get(name) is explicit
    )


def packed(masks: PyTree) -> PyTree:
    """Return masks as bits in uint8, leaf by leaf, where the leaf allows it."""

    def leaf(mask: Array) -> Array:
        form = packed_shape(mask)
        if form.dtype == bool:
            return mask
        flags = jnp.reshape(mask, (*form.shape, 8)).astype(np.uint8)
        places = jnp.reshape(_PLACES, (*(1,) * len(form.shape), 8))
        # Eight different powers of two: at most 255, no wrapping.
        return jnp.sum(flags << places, axis=-1, dtype=np.uint8)

    return jax.tree.map(leaf, masks)


def unpacked(masks: PyTree) -> PyTree:
    """Return the boolean tree that :func:`packed` was given."""

    def leaf(words: Array) -> Array:
        if words.dtype != np.uint8:
            return words
        places = jnp.reshape(_PLACES, (*(1,) * words.ndim, 8))
        flags = (jnp.expand_dims(words, -1) >> places) & np.uint8(1)
        return jnp.reshape(flags, (*words.shape[:-1], 8 * words.shape[-1])) != 0

    return jax.tree.map(leaf, masks)
