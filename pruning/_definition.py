"""The sensitivity by its definition, the oracle of the fast way.

``alpha`` comes as ``rows``: (C,) for all examples or (B, C) for each. The derivatives
of every output by every parameter are held at once, B*C*P numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pruning import taps
from pruning._contract import accumulated
from synaptax.checks import wide_dtype
from synaptax.typing import Array

ApplyFn = Callable[[Any, Any], Any]


def cotangents_of(rows: Array, batch: int, support: int | None) -> Array:
    """Return output cotangents alpha_bk e_k: shape (K, C) or (B, K, C)."""
    classes = rows.shape[-1]
    if support is None or support >= classes:
        # Row k of diag(alpha) is alpha_k e_k, the cotangent of pass k; K = C.
        return jnp.diag(rows) if rows.ndim == 1 else jax.vmap(jnp.diag)(rows)
    if rows.ndim == 1:
        rows = jnp.broadcast_to(rows[None], (batch, classes))
    if support == 1:
        # argmax, not top_k: a one-hot row has one place to look.
        places = jnp.argmax(rows, axis=-1)[:, None]
        values = jnp.max(rows, axis=-1, keepdims=True)
    else:
        # The other alphas are 0 by the promise of ``support``, and 0 needs no pass; it
        # is checked where alpha's values are known.
        values, places = lax.top_k(rows, support)
    return values[..., None] * jax.nn.one_hot(places, classes, dtype=rows.dtype)


def _jacobian(apply_fn: ApplyFn, params: Any, x: Any) -> Any:
    """Return dy_bk/dw: leaves of shape (B, C, *leaf.shape)."""

    def single(weights: Any, example: Any) -> Array:
        one = jax.tree.map(lambda leaf: leaf[None], example)
        return apply_fn(weights, one)[0]

    return jax.vmap(jax.jacrev(single), in_axes=(None, 0))(params, x)


def floating(function: Callable[[Any], Any], params: Any) -> Any:
    """Apply ``function`` to the tree of floating leaves, zeros elsewhere."""
    leaves, structure = jax.tree.flatten(params)
    moving = [i for i, leaf in enumerate(leaves) if taps.differentiable(leaf)]

    def rebuild(part: list[Any]) -> Any:
        full = list(leaves)
        for i, leaf in zip(moving, part, strict=True):
            full[i] = leaf
        return jax.tree.unflatten(structure, full)

    result = function((rebuild, [leaves[i] for i in moving]))
    out = [no_sensitivity(leaf) for leaf in leaves]
    for i, leaf in zip(moving, result, strict=True):
        out[i] = leaf.astype(out[i].dtype)
    return jax.tree.unflatten(structure, out)


def no_sensitivity(leaf: Any) -> Array:
    """Return zeros in the leaf's dtype; of a complex leaf, in its real dtype."""
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return jnp.zeros_like(leaf, dtype=jnp.finfo(leaf.dtype).dtype)
    return jnp.zeros_like(leaf)


def reference_mean_abs(apply_fn: ApplyFn, params: Any, x: Any, rows: Array) -> Any:
    """Return (1/B) sum_b sum_k alpha_bk |dy_bk/dw|, every derivative held at once."""

    def compute(part: Any) -> list[Array]:
        rebuild, moving = part
        jacobian = _jacobian(lambda p, z: apply_fn(rebuild(p), z), moving, x)
        # (B, C, *leaf): |.| of each derivative, then the sum over outputs
        # k, then the mean over examples b.
        return [_weighted(jnp.abs(j), rows).sum(1).mean(0) for j in jacobian]

    return floating(compute, params)


def reference_abs_mean(
    apply_fn: ApplyFn,
    params: Any,
    x: Any,
    rows: Array,
    batch: int,
    support: int | None,
    mean: Callable[[Array], Array],
) -> Any:
    """Return sum_k |(1/B) sum_b alpha_bk dy_bk/dw|, every derivative held at once.

    ``mean`` is that over devices, inside ``jax.shard_map``; otherwise the identity.
    """

    def compute(part: Any) -> list[Array]:
        rebuild, moving = part
        # (B, C, *leaf) by whole-batch backward passes: mixing examples is allowed.
        jacobian = jax.jacrev(lambda p: apply_fn(rebuild(p), x))(moving)
        passes = cotangents_of(rows, batch, support)  # (B, K, C)
        if passes.ndim == 2:
            passes = jnp.broadcast_to(passes, (batch, *passes.shape))

        def collected(jacobian: Array) -> Array:
            dtype = wide_dtype(jacobian.dtype, jnp.float32)
            # sum_b alpha_bk dy_bk/dw before |.|: (B, K, C) with
            # (B, C, *leaf) -> (K, *leaf).
            slopes = jnp.einsum(
                "bkc,bc...->k...", passes.astype(dtype), jacobian.astype(dtype)
            )
            return jnp.abs(mean(slopes)).sum(0) / batch

        return [collected(leaf) for leaf in jacobian]

    return floating(compute, params)


def _weighted(jacobian: Array, rows: Array) -> Array:
    """Return alpha_bk j_bk, in at least float32."""
    if rows.ndim == 1:
        rows = rows[None]
    extra = (1,) * (jacobian.ndim - 2)
    dtype = accumulated(jacobian)
    return jacobian.astype(dtype) * rows.reshape(*rows.shape, *extra).astype(dtype)
