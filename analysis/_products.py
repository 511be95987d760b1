"""Products of curvature matrices with a tree, over one batch.

They are dataclasses, so that equal functions compile once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from synaptax.checks import scalar_valued
from synaptax.typing import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Hessian:
    loss: Callable[[PyTree, Any], Array]

    def __call__(self, params: PyTree, part: Any, v: PyTree) -> PyTree:
        # H v = d/de grad L(w + e v) at e = 0: forward over reverse, so that H is not
        # formed (Pearlmutter, Fast exact multiplication by the Hessian, 1994).
        gradient = lambda p: jax.grad(scalar_valued(self.loss, "loss"))(p, part)
        return jax.jvp(gradient, (params,), (v,))[1]


@dataclasses.dataclass(frozen=True)
class GaussNewton:
    apply_fn: Callable[[PyTree, Any], Array]
    loss: Callable[[Array, Any], Array]

    def __call__(self, params: PyTree, part: Any, v: PyTree) -> PyTree:
        x, targets = part
        # G v = J^T (d2 l / dy2) (J v), with J = dy/dw of shape (B, C, n), which is not
        # formed.
        y, pull, dy = _both_ways(lambda p: self.apply_fn(p, x), params, v)
        slope = lambda y: jax.grad(scalar_valued(self.loss, "loss"))(y, targets)
        return pull(jax.jvp(slope, (y,), (dy,))[1])


@dataclasses.dataclass(frozen=True)
class Rest:
    apply_fn: Callable[[PyTree, Any], Array]
    loss: Callable[[Array, Any], Array]

    def __call__(self, params: PyTree, part: Any, v: PyTree) -> PyTree:
        x, targets = part
        # R v = d/de J(w + e v)^T s = sum_k s_k (d2 y_k / dw2) v, with s = dl/dy at w.
        y = self.apply_fn(params, x)
        slope = jax.grad(scalar_valued(self.loss, "loss"))(y, targets)  # held
        pull = lambda p: jax.vjp(lambda q: self.apply_fn(q, x), p)[1](slope)[0]
        return jax.jvp(pull, (params,), (v,))[1]


@dataclasses.dataclass(frozen=True)
class Fisher:
    apply_fn: Callable[[PyTree, Any], Array]
    likelihood: str

    def __call__(self, params: PyTree, part: Any, v: PyTree) -> PyTree:
        x, _ = part
        y, pull, dy = _both_ways(lambda p: self.apply_fn(p, x), params, v)
        if y.ndim != 2:  # the mean over a sequence is not this one
            raise ValueError(
                f"apply_fn: expected outputs of shape (B, C), got {y.shape}; for a "
                "sequence make its positions examples, or use gauss_newton"
            )
        # F v = J^T F_y (J v) / B, F_y the (C, C) information of one example's outputs.
        return pull(information_product(y, dy, self.likelihood) / y.shape[0])


@dataclasses.dataclass(frozen=True)
class EmpiricalFisher:
    losses: Callable[[PyTree, Any], Array]

    def __call__(self, params: PyTree, part: Any, v: PyTree) -> PyTree:
        each, pull, slope = _both_ways(lambda p: self.losses(p, part), params, v)
        if each.ndim != 1:
            raise ValueError(f"losses: expected shape (B,), got {each.shape}")
        # (1/B) sum_b g_b (g_b^T v): J v is (g_b^T v)_b of shape (B,), J^T sums over b.
        return pull(slope / each.shape[0])


def _both_ways(
    function: Callable[[PyTree], Array], params: PyTree, v: PyTree
) -> tuple[Array, Callable[[Array], PyTree], Array]:
    """Return the value, the map J^T, and J v."""
    value, pull = jax.vjp(function, params)
    # (y, J^T, J v): one reverse and one forward derivative at the same point.
    return value, lambda dy: pull(dy)[0], jax.jvp(function, (params,), (v,))[1]


def information_product(y: Array, dy: Array, likelihood: str) -> Array:
    """Multiply the Fisher information of the outputs with dy, an example at a time.

    Args:
        y: (B, C), what the distribution is parametrised by.
        dy: (B, C).
        likelihood: one of :data:`analysis.operators.LIKELIHOODS`.
    """
    # Unit variance: F_y = 1.
    if likelihood == "gaussian":
        return dy
    if likelihood == "bernoulli":
        # Independent logits: F_y = diag(p (1 - p)).
        p = jax.nn.sigmoid(y)
        return p * (1 - p) * dy
    # F_y = diag(p) - p p^T, applied without forming the (C, C) matrices.
    p = jax.nn.softmax(y, axis=-1)
    return p * (dy - jnp.sum(p * dy, axis=-1, keepdims=True))
