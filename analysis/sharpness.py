r"""How much the loss rises when the weights are disturbed.

Two readings of a minimum's sharpness at a given scale: the worst disturbance in a
ball (:func:`ascent_sharpness`) and the average one (:func:`expected_sharpness`). With
a mask only the surviving weights are disturbed; without one a pruned weight may leave
zero too, which tells of another network than the one that was kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from analysis._sets import at_least, check_finite, mean_over
from analysis.paths import combine, widened
from analysis.planes import random_direction
from pruning.masks import apply_mask
from synaptax.checks import (
    check_boolean,
    check_flags,
    check_floating,
    check_integer,
    check_key,
    check_number,
    scalar_valued,
)
from synaptax.trees import check_same_structure, with_arrays
from synaptax.typing import Array, Key, PyTree

LossFn = Callable[[PyTree, Any], Any]
Weight = Callable[[Any], Any] | None


class Ascent(NamedTuple):
    """The result of :func:`ascent_sharpness`.

    Attributes:
        rise: the largest loss found in the ball, minus the loss at its centre.
        loss: the loss at the centre.
        rises: (steps,) the rise after each step of the ascent from the centre; the
            first is SAM's.
    """

    rise: Array
    loss: Array
    rises: Array


class Expected(NamedTuple):
    """The result of :func:`expected_sharpness`.

    Attributes:
        rise: the mean rise of the loss over the draws.
        se: its standard error over the draws.
        loss: the loss without disturbance.
        rises: (draws,) the rise of each draw.
    """

    rise: Array
    se: Array
    loss: Array
    rises: Array


def ascent_sharpness(
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    *,
    radius: float,
    steps: int = 5,
    restarts: int = 2,
    key: Key[Array, ""] | None = None,
    mask: PyTree | None = None,
    batch: int = 500,
    weight: Weight = None,
) -> Ascent:
    r"""Find how far the loss rises within a ball, by projected gradient ascent.

    .. math:: \max_{\|e\| \le \rho} L(w + e) - L(w)

    The first step is :math:`e = \rho g / \|g\|`, which SAM takes; each further one
    adds half a radius along the gradient there and goes back to the ball. At a minimum
    that gradient is zero or noise, so the ascent is repeated from random points of the
    sphere; near a minimum such an ascent is a power iteration that turns towards the
    top eigenvector. The result is the best of all, a lower bound of the maximum.
    Gradients are over the whole set.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        params: the weights.
        data: tree of arrays with a leading axis of N examples.
        radius: rho > 0, in the Euclidean norm over all leaves.
        steps: gradients taken in each ascent, at least 1.
        restarts: ascents from random points, after the one from the centre.
        key: of those points; by default always the same ones.
        mask: optional boolean tree; only weights that are True are disturbed.
        batch: examples at a time.
        weight: what a batch's mean weighs, as in :func:`analysis.hessian`.

    Returns:
        An :class:`Ascent`.

    Raises:
        ValueError: for a radius that is not positive, steps below 1, restarts below 0,
            a mask of another structure, or a loss that is not finite.

    Reference:
        Foret et al., Sharpness-aware minimization for efficiently improving
        generalization, arXiv 2010.01412.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> sharp = analysis.ascent_sharpness(loss, jnp.zeros(2), x, radius=0.1)
        >>> round(float(sharp.rise), 4)  # half the top eigenvalue times 0.1^2
        0.01
    """
    _check_positive("radius", radius)
    at_least(1, steps=steps)
    check_integer("restarts", restarts, 0, expected="0 or more")
    params = _checked(params, mask)
    key = jax.random.key(0) if key is None else key
    check_key(key)
    ascend = partial(
        _ascend, params, data, mask, jnp.float32(radius), loss_fn, steps, batch, weight
    )
    # Offsets are in float32 or wider: half precision would round each step to few
    # digits.
    nowhere = jax.tree.map(jnp.zeros_like, widened(params))
    losses = ascend(nowhere)
    check_finite(losses, ["the centre", *range(1, steps + 1)], "loss_fn, step")
    # The centre counts too, so that the rise is never negative.
    best = losses.max()
    for one in jax.random.split(key, restarts):
        noise = widened(random_direction(one, params, mask=mask))
        length = optax.tree.norm(noise)
        # A mask that keeps nothing leaves no noise to scale.
        share = radius / jnp.where(length > 0, length, 1)
        again = ascend(combine((share,), (noise,)))
        check_finite(again, ["a random start", *range(1, steps + 1)], "loss_fn, step")
        best = jnp.maximum(best, again.max())
    return Ascent(best - losses[0], losses[0], losses[1:] - losses[0])


@partial(jax.jit, static_argnames=("loss_fn", "steps", "batch", "weight"))
def _ascend(
    params: PyTree,
    data: PyTree,
    mask: PyTree | None,
    radius: Array,
    loss_fn: LossFn,
    steps: int,
    batch: int,
    weight: Weight,
    start: PyTree,
) -> Array:
    """Return the losses at the start and after each step, shape (steps + 1,)."""
    loss_fn = scalar_valued(loss_fn, "loss_fn")
    loss_and_slope = jax.value_and_grad(loss_fn)

    def climb(offset: PyTree, share: Array) -> tuple[PyTree, Array]:
        here = combine((1, 1), (params, offset))
        both = lambda part: loss_and_slope(here, part)
        loss, grads = mean_over(both, data, batch, weight)
        # Of a complex weight JAX gives the conjugate of the direction of ascent.
        grads = _masked(jax.tree.map(jnp.conj, grads), mask)
        norm = optax.tree.norm(grads)
        # e <- P(e + share rho g / |g|), with P(e) = e min(1, rho / |e|), the projection
        # to the ball; a gradient of zero does not move.
        scale = share * radius / jnp.where(norm > 0, norm, 1)
        moved = combine((1, scale), (offset, grads))
        length = optax.tree.norm(moved)
        inside = jnp.minimum(1, radius / jnp.where(length > 0, length, 1))
        return combine((inside,), (moved,)), loss

    shares = jnp.full(steps, 0.5).at[0].set(1)
    offset, losses = lax.scan(climb, start, shares)
    here = combine((1, 1), (params, offset))
    last = mean_over(lambda part: loss_fn(here, part), data, batch, weight)
    return jnp.append(losses, last.astype(losses.dtype))


def expected_sharpness(
    loss_fn: LossFn,
    params: PyTree,
    data: PyTree,
    key: Key[Array, ""],
    *,
    sigma: float,
    draws: int = 20,
    relative: bool = False,
    mask: PyTree | None = None,
    batch: int = 500,
    weight: Weight = None,
) -> Expected:
    r"""Estimate how far Gaussian noise on the weights raises the loss on average.

    .. math:: E_{\xi \sim N(0, 1)} L(w + \sigma s \xi) - L(w)

    with s = 1, or s = \|w\| entry by entry if ``relative``. A draw is the mean of
    :math:`\xi` and :math:`-\xi`: the slope, which says nothing of the sharpness,
    cancels instead of adding to the noise.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        params: the weights.
        data: tree of arrays with a leading axis of N examples.
        key: of the noise.
        sigma: scale of the noise, positive.
        draws: number of draws, two losses each, at least 2 (for the standard error).
        relative: scale the noise by each weight's magnitude.
        mask: optional boolean tree; only weights that are True are disturbed.
        batch: examples at a time.
        weight: what a batch's mean weighs, as in :func:`analysis.hessian`.

    Returns:
        An :class:`Expected`.

    Raises:
        ValueError: for a sigma that is not positive, fewer than 2 draws, a mask of
            another structure, or a loss that is not finite.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x, key = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jax.random.key(0)
        >>> w = jnp.zeros(2)
        >>> noisy = analysis.expected_sharpness(loss, w, x, key, sigma=0.1, draws=64)
        >>> abs(float(noisy.rise) - 0.0125) < 3 * float(noisy.se)  # sigma^2 trace / 2
        True
    """
    _check_positive("sigma", sigma)
    at_least(2, draws=draws)
    check_flags(relative=relative)
    check_key(key)
    params = _checked(params, mask)
    scale = jnp.float32(sigma)
    losses, centre = _disturb(
        params, data, key, mask, scale, loss_fn, draws, relative, batch, weight
    )
    check_finite(centre.reshape(1), ["the centre"], "loss_fn")
    check_finite(losses, range(1, draws + 1), "loss_fn, draw")
    rises = losses - centre
    se = rises.std(ddof=1) / math.sqrt(draws)
    return Expected(rises.mean(), se, centre, rises)


@partial(jax.jit, static_argnames=("loss_fn", "draws", "relative", "batch", "weight"))
def _disturb(
    params: PyTree,
    data: PyTree,
    key: Array,
    mask: PyTree | None,
    sigma: Array,
    loss_fn: LossFn,
    draws: int,
    relative: bool,
    batch: int,
    weight: Weight,
) -> tuple[Array, Array]:
    """Return the losses of the draws, shape (draws,), and the loss at the centre."""
    loss = scalar_valued(loss_fn, "loss_fn")

    def loss_at(here: PyTree) -> Array:
        return mean_over(lambda part: loss(here, part), data, batch, weight)

    def one(key: Array) -> Array:
        # L(w + s xi) and L(w - s xi) in the mean: L + s^2 xi^T H xi / 2 + O(s^4), as
        # the odd terms cancel.
        noise = random_direction(key, params, mask=mask)
        if relative:
            noise = jax.tree.map(lambda n, w: n * jnp.abs(w), noise, params)
        ends = [combine((1, s), (params, noise)) for s in (sigma, -sigma)]
        return (loss_at(ends[0]) + loss_at(ends[1])) / 2

    return lax.map(one, jax.random.split(key, draws)), loss_at(params)


def _masked(tree: PyTree, mask: PyTree | None) -> PyTree:
    return tree if mask is None else apply_mask(tree, mask)


def _checked(params: PyTree, mask: PyTree | None) -> PyTree:
    params = with_arrays(params)
    check_floating(params, "params")
    if mask is not None:
        check_same_structure(params, mask, argument="mask")
        check_boolean(mask)
    return params


def _check_positive(name: str, value: Any) -> None:
    good = lambda size: math.isfinite(size) and size > 0
    check_number(name, value, "a positive number", good)
