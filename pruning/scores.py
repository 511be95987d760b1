"""What a weight is worth: one score per weight, the higher the better kept.

Each function returns a tree like ``params``, in the dtypes of its leaves; of a complex
leaf, in its real dtype.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pruning._transform import like
from synaptax.checks import check_key, wide_dtype
from synaptax.typing import Array, PyTree


def magnitude(params: PyTree) -> PyTree:
    """Return the absolute value of each weight.

    Args:
        params: any pytree of arrays.

    Example:
        >>> pruning.scores.magnitude({"w": jnp.array([[-2.0, 1.0]])})["w"].tolist()
        [[2.0, 1.0]]
    """
    return jax.tree.map(jnp.abs, params)


def random(params: PyTree, key: Any) -> PyTree:
    """Return independent uniform scores in [0, 1): pruning by lot.

    Args:
        params: any pytree of floating arrays; only shapes and dtypes matter.
        key: a typed PRNG key; the same key gives the same scores.

    Example:
        >>> pruning.scores.random({"w": jnp.ones((2, 3))}, jax.random.key(0))["w"].shape
        (2, 3)
    """
    leaves, structure = jax.tree.flatten(params)
    check_key(key)
    keys = jax.random.split(key, max(len(leaves), 1))
    scores = [
        jax.random.uniform(keys[i], leaf.shape, _real(leaf))
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, scores)


def saliency(params: PyTree, grads: PyTree) -> PyTree:
    """Return abs(w * dL/dw), the first-order change of the loss if a weight goes.

    Args:
        params: any pytree of floating arrays.
        grads: the loss gradient, a tree like ``params``.

    Raises:
        ValueError: if ``grads`` does not fit ``params``.

    Example:
        >>> params = {"w": jnp.array([[2.0, 1.0]])}
        >>> grads = {"w": jnp.array([[-0.5, 0.1]])}
        >>> [round(float(s), 3) for s in pruning.scores.saliency(params, grads)["w"][0]]
        [1.0, 0.1]
    """
    grads = like(params, grads, argument="grads")
    return jax.tree.map(_product, params, grads)


def sensitivity(
    params: PyTree, sensitivity: PyTree, *, weighted: bool = False
) -> PyTree:
    """Return the sensitivity of each weight as its score.

    Args:
        params: any pytree of floating arrays.
        sensitivity: S >= 0, a tree like ``params``.
        weighted: score S * abs(w), the first-order change of the output if the weight
            goes, instead of S alone.

    Raises:
        ValueError: if ``sensitivity`` does not fit ``params``.
    """
    sensitivity = like(params, sensitivity, argument="sensitivity")
    if weighted:
        return jax.tree.map(_product, params, sensitivity)
    return jax.tree.map(lambda w, s: jnp.abs(s).astype(_real(w)), params, sensitivity)


def _product(weight: Array, factor: Array) -> Array:
    # In at least float32: the product of two small halves is 0 too often to rank.
    wide = wide_dtype(weight.dtype, factor.dtype, jnp.float32)
    return jnp.abs(weight.astype(wide) * factor.astype(wide)).astype(_real(weight))


def _real(weight: Array) -> Any:
    """Return the dtype of |w|; float32 for integers, which no score is for."""
    inexact = jnp.issubdtype(weight.dtype, jnp.inexact)
    return jnp.finfo(weight.dtype).dtype if inexact else jnp.float32
