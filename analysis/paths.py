"""Ways from one solution to another, and how high they lead.

A path is a tree of arrays with a method ``at(t) -> params``; so is a plane
(:mod:`analysis.planes`). :func:`analysis.landscape.survey` goes along either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from analysis._sets import at_least, check_finite, size_of
from pruning.masks import apply_mask
from synaptax.checks import (
    check_boolean,
    check_floating,
    check_key,
    scalar_valued,
    wide_dtype,
)
from synaptax.trees import check_same_structure, with_arrays
from synaptax.typing import Array, Float, Key, PyTree


def combine(weights: Any, trees: tuple[PyTree, ...]) -> PyTree:
    """Return the sum of trees, each times a scalar, in the dtypes of the first."""

    def leaf(*leaves: Array) -> Array:
        wide = wide_dtype(leaves[0].dtype, jnp.float32)
        # Summed in float32 or wider, rounded once at the end.
        terms = [
            jnp.asarray(weight).astype(wide) * one.astype(wide)
            for weight, one in zip(weights, leaves, strict=True)
        ]
        return sum(terms[1:], terms[0]).astype(leaves[0].dtype)

    return jax.tree.map(leaf, *map(with_arrays, trees))


def widened(tree: PyTree) -> PyTree:
    """Return a tree in float32 or wider: squares of a half overflow from 256 on."""
    wide = lambda a: a.astype(wide_dtype(a.dtype, jnp.float32))
    return jax.tree.map(wide, with_arrays(tree))


def difference(first: PyTree, second: PyTree) -> PyTree:
    """Return first - second, widened."""
    # The sum has the first's dtype: widened, near solutions keep their digits.
    return combine((1, -1), (widened(first), second))


class Line(NamedTuple):
    """The straight way from one solution (t = 0) to another (t = 1).

    Attributes:
        first: tree of parameters.
        second: another of the same structure.

    Example:
        >>> line = analysis.Line({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
        >>> line.at(0.25)["w"].tolist()
        [0.25, 0.25]
    """

    first: PyTree
    second: PyTree

    def at(self, t: Any) -> PyTree:
        """Return (1 - t) first + t second; exact at both ends."""
        _check_position(t)
        return combine((1 - t, t), (self.first, self.second))


class Bezier(NamedTuple):
    """A bent way between two solutions: a quadratic Bezier curve.

    Attributes:
        first: the end at t = 0.
        middle: the control point, which the curve need not pass through.
        second: the end at t = 1.

    Reference:
        Garipov et al., arXiv 1802.10026; :func:`connect` trains one.

    Example:
        >>> first, middle, second = jnp.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
        >>> bent = analysis.Bezier(first, middle, second)
        >>> bent.at(0.5).tolist()
        [1.5, 0.5]
    """

    first: PyTree
    middle: PyTree
    second: PyTree

    def at(self, t: Any) -> PyTree:
        """Return (1 - t)^2 first + 2 t (1 - t) middle + t^2 second."""
        _check_position(t)
        weights = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
        return combine(weights, (self.first, self.middle, self.second))


def _check_position(t: Any) -> None:
    if np.ndim(t):
        raise ValueError(
            f"t: expected one position, got shape {np.shape(t)}; the places of a line "
            "or a curve have shape (n,)"
        )


def line(first: PyTree, second: PyTree) -> Line:
    """Return the line through two solutions.

    Raises:
        ValueError: naming ``second``, if its structure or shapes differ.

    Example:
        >>> way = analysis.line({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
        >>> [way.at(t)["w"].tolist() for t in (0.0, 0.5, 1.0)]
        [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    """
    check_same_structure(first, second, argument="second")
    return Line(first, second)


def barrier(t: Any, loss: Any) -> float:
    r"""Return how far the loss rises above the straight line between its ends.

    .. math:: \max_t \; L(t) - [(1 - t) L(0) + t L(1)]

    Args:
        t: (n,) positions, the first 0 and the last 1; n is at least 2.
        loss: (n,) losses there.

    Returns:
        In units of the loss, computed in float64; at least 0, for both ends count. A
        peak between two positions is not seen.

    Raises:
        ValueError: if the positions do not run from 0 to 1 or a loss is not finite.

    Reference:
        Entezari et al., The role of permutation invariance in linear mode
        connectivity of neural networks, arXiv 2110.06296.

    Example:
        >>> analysis.barrier([0.0, 0.5, 1.0], [0.2, 1.0, 0.4])
        0.7
    """
    position, height = np.asarray(t, np.float64), np.asarray(loss, np.float64)
    if position.ndim != 1 or position.shape != height.shape or position.size < 2:
        raise ValueError(
            f"loss: expected one for each position, got shapes {position.shape} and "
            f"{height.shape}"
        )
    if position[0] != 0 or position[-1] != 1:
        raise ValueError(
            f"t: expected to begin at 0 and end at 1, got {position[0]:g} and "
            f"{position[-1]:g}"
        )
    check_finite(position, range(position.size), "t")
    check_finite(height, position, "loss")
    chord = (1 - position) * height[0] + position * height[-1]
    return float(np.max(height - chord))


class Connection(NamedTuple):
    """The result of :func:`connect`.

    Attributes:
        path: the trained curve.
        losses: (steps,) loss of each step, at its own random t and batch.
    """

    path: Bezier
    losses: Array


def connect(
    loss_fn: Callable[[PyTree, Any], Any],
    first: PyTree,
    second: PyTree,
    data: PyTree,
    key: Key[Array, ""],
    *,
    steps: int = 300,
    batch: int = 100,
    optimizer: optax.GradientTransformation | None = None,
    mask: PyTree | None = None,
) -> Connection:
    r"""Train the middle of a Bezier curve so that the loss stays low along it.

    .. math:: \min_\theta \; E_{t \sim U(0, 1)} \, L(\phi_\theta(t))

    Each step draws one t and one batch. All steps are one scan.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        first: one solution.
        second: another of the same structure.
        data: tree of arrays with a leading axis of N examples.
        key: of the positions and batches.
        steps: of the optimizer, at least 1.
        batch: examples per step, drawn with replacement.
        optimizer: default: Adam at 1e-3.
        mask: optional boolean tree: the middle is 0 where it is False. With the union
            of the ends' masks (:func:`pruning.union`) no point keeps more than that.

    Returns:
        A :class:`Connection`.

    Raises:
        ValueError: if a structure does not fit, a number is below 1, or a loss was
            not finite.

    Reference:
        Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of
        DNNs, arXiv 1802.10026.

    Example:
        >>> well = lambda w, batch: jnp.mean((jnp.sum(w**2) - batch) ** 2)
        >>> first, second = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.1])
        >>> found = analysis.connect(
        ...     well, first, second, jnp.ones(8), jax.random.key(0), steps=50, batch=8,
        ...     optimizer=optax.adam(0.1),
        ... )
        >>> halfway = found.path.at(0.5)
        >>> bool(well(halfway, jnp.ones(8)) < well((first + second) / 2, jnp.ones(8)))
        True
    """
    check_same_structure(first, second, argument="second")
    size_of(data)
    at_least(1, steps=steps, batch=batch)
    check_key(key)
    ends = with_arrays(first), with_arrays(second)
    check_floating(ends[0], "first")
    # With its middle half way the curve is the straight line.
    start = Line(*ends).at(0.5)
    if mask is not None:
        check_same_structure(first, mask, argument="mask")
        check_boolean(mask)
    tx = optax.adam(1e-3) if optimizer is None else optimizer
    middle, losses = _bend(
        Bezier(ends[0], start, ends[1]), data, key, mask, loss_fn, tx, steps, batch
    )
    check_finite(losses, range(1, steps + 1), "loss_fn, step")
    # With the caller's own ends: those that jit returns are copies.
    return Connection(Bezier(first, middle, second), losses)


@partial(jax.jit, static_argnames=("loss_fn", "tx", "steps", "batch"))
def _bend(
    path: Bezier,
    data: PyTree,
    key: Array,
    mask: PyTree | None,
    loss_fn: Callable[[PyTree, Any], Any],
    tx: optax.GradientTransformation,
    steps: int,
    batch: int,
) -> tuple[PyTree, Array]:
    """Return the trained middle and the loss of each step."""
    count = size_of(data)
    # Within the loss, so that a pruned entry has no gradient; once more at the end, for
    # the middle of unmasked ends begins unmasked.
    project = (lambda tree: tree) if mask is None else partial(apply_mask, mask=mask)

    def step(carry: tuple[PyTree, Any], key: Array) -> tuple[tuple[PyTree, Any], Any]:
        middle, state = carry
        where, which = jax.random.split(key)
        t = jax.random.uniform(where)
        index = jax.random.randint(which, (batch,), 0, count)
        part = jax.tree.map(lambda a: a[index], data)

        def loss_at(middle: PyTree) -> Any:
            loss = scalar_valued(loss_fn, "loss_fn")
            return loss(path._replace(middle=project(middle)).at(t), part)

        loss, grads = jax.value_and_grad(loss_at)(middle)
        # Of a complex weight JAX gives the conjugate of the direction of ascent.
        grads = jax.tree.map(jnp.conj, grads)
        # Adam, for one, is not written for strict promotion.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(grads, state, middle)
            return (optax.apply_updates(middle, updates), state), loss

    begin = (path.middle, tx.init(path.middle))
    (middle, _), losses = lax.scan(step, begin, jax.random.split(key, steps))
    return project(middle), losses


def distance(first: PyTree, second: PyTree) -> Float[Array, ""]:
    """Return the Euclidean distance between two trees, over all leaves.

    Raises:
        ValueError: naming ``second``, if its structure or shapes differ.

    Example:
        >>> float(analysis.distance({"w": jnp.zeros(2)}, {"w": jnp.array([3.0, 4.0])}))
        5.0
    """
    check_same_structure(first, second, argument="second")
    return optax.tree.norm(difference(first, second))
