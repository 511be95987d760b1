"""The value of what sensitivity-driven decay descends (arXiv 1810.11764).

The update -lambda w max(0, 1 - S) is the slope of R = sum_i int w_i max(0, 1 - S) dw_i.
Where the output is piecewise linear in a weight, as with ReLU, S does not depend on it
and R = sum_i (w_i^2/2) max(0, 1 - S_i).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pruning._definition import ApplyFn
from pruning._roles import leaves_of
from pruning._transform import like
from synaptax.checks import check_integer, wide_dtype
from synaptax.trees import Prunable
from synaptax.typing import Array, PyTree


def sensitivity_penalty(
    params: PyTree, sensitivity: PyTree, *, prunable: Prunable = lambda *_: True
) -> Array:
    r"""Return the regulariser's value of a ReLU network, for monitoring.

    .. math:: R = \sum_i \tfrac{w_i^2}{2} \max(0, 1 - S_i)

    Its slope is that of :func:`pruning.sensitivity_decay` only if S is held constant:
    do not differentiate through S.

    Args:
        params: any pytree of real arrays.
        sensitivity: S >= 0, a tree like ``params``.
        prunable: which leaves count, a predicate on (path, leaf); all by default, as
            they all decay.

    Returns:
        A scalar, float32 at least.

    Raises:
        ValueError: if ``sensitivity`` does not fit ``params``.

    Reference: arXiv 1810.11764, the regulariser for ReLU.

    Example:
        >>> params, S = {"w": jnp.array([2.0, 2.0])}, {"w": jnp.array([0.5, 3.0])}
        >>> float(pruning.sensitivity_penalty(params, S))  # 2^2 / 2 (1 - 0.5)
        1.0
    """
    sensitivities = jax.tree.leaves(like(params, sensitivity, argument="sensitivity"))
    total = jnp.zeros((), jnp.float32)
    for leaf, s in zip(leaves_of(params, prunable), sensitivities, strict=True):
        if leaf.prunable:
            # (w_i^2 / 2) max(0, 1 - S_i), in float32 at least: the
            # square of a small half is 0.
            wide = wide_dtype(leaf.value.dtype, jnp.float32)
            w, s = leaf.value.astype(wide), s.astype(wide)
            total = total + jnp.sum(w**2 / 2 * jnp.maximum(1 - s, 0))
    return total


def sensitivity_penalty_series(
    apply_fn: ApplyFn, params: PyTree, x: Any, alpha: Any, *, terms: int
) -> Array:
    r"""Return the regulariser's value of a smooth network, by integration by parts.

    .. math:: R = \sum_i \Theta(1 - S_i) \Big[\frac{w_i^2}{2} - \frac1B \sum_{b,k}
        \alpha_{bk}\, \mathrm{sgn}(\partial_i y_{bk}) \sum_{m=1}^{M} (-1)^{m+1}
        \frac{w_i^{m+1}}{(m+1)!} \partial_i^m y_{bk}\Big]

    One term is the value for ReLU. Exact, as M grows, for an output analytic in each
    weight whose derivative keeps its sign between 0 and the weight. For small
    networks: it takes a forward pass of ``terms`` nested derivatives for each weight.

    Args:
        apply_fn: the network, ``(params, x) -> y`` with y of shape (B, C).
        params: any pytree of real arrays; all weights count.
        x: examples.
        alpha: non-negative weights of the outputs, (C,) or (B, C).
        terms: M, at least 1.

    Returns:
        A scalar, float32 at least.

    Raises:
        ValueError: if ``terms`` is no integer of at least 1.

    Reference: arXiv 1810.11764 has a series of this kind; derived anew, see the sum.

    Example:
        >>> apply_fn, w, x = lambda w, x: x @ w, jnp.array([[2.0]]), jnp.array([[0.5]])
        >>> series = pruning.sensitivity_penalty_series
        >>> float(series(apply_fn, w, x, jnp.ones(1), terms=1))
        1.0
    """
    terms = check_integer("terms", terms, 1, expected="a positive integer")
    flat, rebuild = ravel_pytree(params)
    share = jnp.atleast_2d(jnp.asarray(alpha))

    def slope(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda t: jax.jvp(function, (t,), (jnp.ones_like(t),))[1]

    def of(index: Array) -> Array:
        w = flat[index]
        derivative: Any = lambda t: apply_fn(rebuild(flat.at[index].set(t)), x)
        # Of one example, with S(v) = sum_k alpha_k sgn(dy_k/dv) dy_k/dv
        # and a sign that does not change,
        #   R = int_0^w v (1 - S(v)) dv
        #     = w^2/2 - sum_k alpha_k sgn_k int_0^w v (dy_k/dv) dv,
        # and the last integral by parts, again and again, from the end w:
        #   sum_{m>=1} (-1)^(m+1) w^(m+1) / (m+1)! d^m y_k/dw^m.
        series, first = jnp.zeros(()), jnp.zeros(())
        for m in range(1, terms + 1):
            derivative = slope(derivative)  # d^m y / dw^m, (B, C)
            value = derivative(w)
            first = value if m == 1 else first
            series = series + (-1) ** (m + 1) * w ** (m + 1) / math.factorial(
                m + 1
            ) * jnp.asarray(value)
        batch = first.shape[0]
        s = jnp.sum(share * jnp.abs(first)) / batch
        integral = jnp.sum(share * jnp.sign(first) * series) / batch
        return jnp.where(s < 1, w**2 / 2 - integral, 0)

    # One weight after the other: at once, the forward passes of all P would be held.
    return jnp.sum(jax.lax.map(of, jnp.arange(flat.size)))
