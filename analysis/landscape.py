"""Loss, error and curvature along lines, curves and planes between solutions.

Batch-norm statistics belong to a solution as its weights do, and a point between two
solutions has none of its own. So :func:`survey` takes them explicitly, as
:class:`Fixed`, :class:`Interpolated` or :class:`Recomputed`; the three differ, and
only the last says what the network at that point would do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from analysis import lanczos
from analysis._batch_norm import Fixed as Fixed
from analysis._batch_norm import Interpolated as Interpolated
from analysis._batch_norm import Recomputed as Recomputed
from analysis._batch_norm import Statistics
from analysis._sets import at_least, check_finite, check_pair, mean_over, size_of
from analysis.operators import hessian
from synaptax.typing import Array, PyTree

ExampleLoss = Callable[[Array, Array], Array]


class Survey(NamedTuple):
    """What :func:`survey` found, a row a point.

    Attributes:
        places: (n,) or (n, 2) float32, the coordinates.
        loss: (n,), the mean over the set, in float32 or wider.
        error: (n,) float32, the fraction of examples whose largest output is not at
            their label; None unless the targets are integer labels of shape (N,) and
            the outputs are (N, C).
        eigenvalue: (n,), or None if not asked for.

    Example:
        >>> data = jnp.eye(2), jnp.arange(2)
        >>> way = analysis.line(jnp.eye(2), -jnp.eye(2))
        >>> rows = analysis.survey(lambda w, x: x @ w, way, jnp.array([0.0, 1.0]), data)
        >>> rows.places.shape, rows.loss.shape, rows.eigenvalue
        ((2,), (2,), None)
    """

    places: Array
    loss: Array
    error: Array | None
    eigenvalue: Array | None


def cross_entropy(outputs: Array, labels: Array) -> Array:
    """Return the cross-entropy of logits and integer labels, in nats.

    Args:
        outputs: (B, ..., C) logits.
        labels: (B, ...) integers in [0, C). A label outside gives NaN, and so do the
            derivatives: what computes with it is refused as not finite.

    Returns:
        (B, ...), one value a label.

    Raises:
        ValueError: for labels that are no integers, or not one for each row of logits.
    """
    whole = jnp.issubdtype(labels.dtype, jnp.integer)
    if not whole or labels.shape != outputs.shape[:-1]:
        raise ValueError(
            f"labels: expected integers of shape {outputs.shape[:-1]}, got "
            f"{labels.dtype} of shape {labels.shape}, for outputs of shape "
            f"{outputs.shape}"
        )
    inside = (labels >= 0) & (labels < outputs.shape[-1])
    # A product and not a selection: the derivatives of a selected NaN would be 0.
    poison = jnp.where(inside, 1, jnp.nan).astype(outputs.dtype)
    return poison * optax.softmax_cross_entropy_with_integer_labels(
        outputs, jnp.where(inside, labels, 0)
    )


def mean_loss(
    apply_fn: Callable[[PyTree, Any], Any], loss: ExampleLoss = cross_entropy
) -> Callable[[PyTree, Any], Array]:
    """Return ``(params, (x, label)) -> scalar``, the mean loss of a batch.

    Args:
        apply_fn: ``(params, x) -> outputs``, for the default loss logits (B, ..., C).
        loss: ``(outputs, labels) -> (B,)``, or more axes, all averaged.

    Example:
        >>> loss = analysis.mean_loss(lambda w, x: x @ w)
        >>> x, label = jnp.eye(3), jnp.arange(3)
        >>> round(float(loss(jnp.zeros((3, 3)), (x, label))), 4)  # log 3
        1.0986
    """

    def of(params: PyTree, batch: Any) -> Array:
        check_pair(batch)
        x, label = batch
        return loss(apply_fn(params, x), label).mean()

    return of


def top_eigenvalue(
    loss_fn: Callable[[PyTree, Any], Any],
    *,
    steps: int = 20,
    batch: int = 500,
    seed: int = 0,
    weight: Callable[[Any], Any] | None = None,
) -> Callable[[PyTree, Any], Array]:
    """Return ``(params, data) -> largest Hessian eigenvalue``, for :func:`survey`.

    The most positive one, not the largest in absolute value. One Lanczos run over all
    weights, jittable; its value approaches from below, and nothing here says how near
    it is. For residuals, masks and several eigenvalues see
    :func:`analysis.curvature.top_eigenpairs`.

    Args:
        loss_fn: ``(params, batch) -> scalar``, the mean loss of a batch.
        steps: of Lanczos, at least 1: a Hessian product over the whole set each.
        batch: examples at a time.
        seed: of the start vector.
        weight: what a batch weighs, as in :func:`analysis.hessian`.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian x^T x / N
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> top = analysis.top_eigenvalue(loss, steps=2)
        >>> round(float(top(jnp.ones(2), x)), 3)
        2.0
    """
    at_least(1, steps=steps)

    def of(params: PyTree, data: Any) -> Array:
        operator = hessian(loss_fn, params, data, batch=batch, weight=weight)
        # The same start vector everywhere: points differ by their weights alone.
        start = jax.random.normal(jax.random.key(seed), (operator.size,))
        small = lanczos.run(
            operator.matvec, start.astype(operator.dtype), min(steps, operator.size)
        )
        values, _, valid = lanczos.eigen(small)
        return jnp.max(jnp.where(valid, values, -jnp.inf))

    return of


def explore(
    function: Callable[[PyTree], Any], geometry: Any, places: Any, *, lanes: int = 1
) -> Any:
    """Return a function's values at points of a line, curve or plane, jitted.

    Args:
        function: ``params -> tree`` of arrays; static, so pass the same object again
            to avoid a compilation.
        geometry: has ``at(place) -> params``, e.g. :class:`analysis.Line`.
        places: (n,) positions, or (n, 2) coordinates.
        lanes: points computed at once by ``vmap``; 1 is best on a CPU.

    Returns:
        A tree like the function's with a leading axis of n points.

    Raises:
        ValueError: for lanes below 1, no point, or coordinates of another shape.

    Example:
        >>> way = analysis.line(jnp.zeros(2), jnp.ones(2))
        >>> analysis.explore(jnp.sum, way, jnp.array([0.0, 0.5, 1.0])).tolist()
        [0.0, 1.0, 2.0]
    """
    places = _checked_places(places, lanes)
    return _explore(geometry, places, function, lanes)


@partial(jax.jit, static_argnames=("function", "lanes"))
def _explore(
    geometry: Any, places: Array, function: Callable[[PyTree], Any], lanes: int
) -> Any:
    return _over_points(lambda place: function(geometry.at(place)), places, lanes)


def survey(
    apply_fn: Callable[..., Any],
    geometry: Any,
    places: Any,
    data: Any,
    *,
    statistics: Statistics | None = None,
    eigenvalue: Callable[..., Any] | None = None,
    loss: ExampleLoss = cross_entropy,
    batch: int = 500,
    lanes: int = 1,
) -> Survey:
    """Measure loss, error and, if asked for, an eigenvalue at points.

    Everything is one jitted call: points by ``lax.map``, the set by a scan over
    batches. Calls with the same functions and shapes share a compilation.

    Args:
        apply_fn: ``(params, x) -> outputs`` of shape (B, C), or, with ``statistics``,
            ``(params, stats, x) -> outputs``.
        geometry: has ``at(place) -> params``: :class:`analysis.Line`,
            :class:`analysis.Bezier` or :class:`analysis.Plane`.
        places: (n,) positions on a line or curve, (n, 2) coordinates on a plane.
        data: ``(x, targets)``; integer labels of shape (N,) for classes, anything with
            a leading axis of N that ``loss`` understands otherwise (regression, several
            labels, sequences).
        statistics: what a batch-norm uses at each point; needed only by networks
            that have one.
        eigenvalue: ``(params, data) -> scalar``, or with ``statistics``
            ``(params, stats, data) -> scalar``; e.g. the top Hessian eigenvalue.
        loss: ``(outputs, targets) -> (B,)``, or more axes, all averaged.
        batch: examples at a time.
        lanes: points computed at once by ``vmap``; 1 is best on a CPU.

    Returns:
        A :class:`Survey`.

    Raises:
        ValueError: if the data do not fit together, a label is outside the classes, or
            the loss at a point is not finite; names the point.

    Example:
        >>> data = jnp.eye(2), jnp.arange(2)
        >>> way = analysis.line(jnp.eye(2), -jnp.eye(2))
        >>> rows = analysis.survey(lambda w, x: x @ w, way, jnp.array([0.0, 1.0]), data)
        >>> [round(float(loss), 3) for loss in rows.loss], rows.error.tolist()
        ([0.313, 1.313], [0.0, 1.0])
    """
    places = _checked_places(places, lanes)
    check_pair(data)
    x, label = (jax.tree.map(jnp.asarray, part) for part in data)
    # A list of labels is one array, not a tree of scalars.
    if isinstance(data[1], list):
        label = jnp.asarray(data[1])
    size_of((x, label))
    at_least(1, batch=batch)
    alone = isinstance(label, Array)
    labelled = alone and bool(jnp.issubdtype(label.dtype, jnp.integer))
    if not labelled and loss is cross_entropy:
        kind = f"{label.dtype} of shape {label.shape}" if alone else "several arrays"
        raise ValueError(
            f"data: expected integer labels for cross-entropy, got {kind}; or give the "
            "loss of these targets"
        )
    rows, classes = _survey(
        geometry,
        places,
        (x, label),
        statistics,
        classified=labelled and label.ndim == 1,
        apply_fn=apply_fn,
        eigenvalue=eigenvalue,
        loss=loss,
        batch=batch,
        lanes=lanes,
    )
    if labelled and int(classes):  # before NaN: a label outside gives one
        _check_labels(label, int(classes))
    check_finite(rows.loss, places, "loss")
    if rows.eigenvalue is not None:
        check_finite(rows.eigenvalue, places, "eigenvalue")
    return rows


def _check_labels(label: Array, classes: int) -> None:
    """Raise unless integer labels fit the outputs' last axis."""
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= classes:
        outside = low if low < 0 else high
        raise ValueError(f"data: label {outside} lies outside [0, {classes})")


@partial(
    jax.jit,
    static_argnames=("classified", "apply_fn", "eigenvalue", "loss", "batch", "lanes"),
)
def _survey(
    geometry: Any,
    places: Array,
    data: Any,
    statistics: Statistics | None,
    *,
    classified: bool,
    apply_fn: Callable[..., Any],
    eigenvalue: Callable[..., Any] | None,
    loss: ExampleLoss,
    batch: int,
    lanes: int,
) -> tuple[Survey, Array]:
    """Return the survey, and the number of classes (0: the targets are no classes)."""
    classes = 0

    def point(place: Array) -> tuple[Array, Array | None, Array | None]:
        params = geometry.at(place)
        state = (params,)
        if statistics is not None:
            state = (params, statistics.at(place, params))

        def means(part: Any) -> tuple[Array, Array | None]:
            nonlocal classes
            outputs = apply_fn(*state, part[0])
            # Read while tracing: no other place knows the shape of the outputs.
            if isinstance(part[1], Array) and outputs.ndim == part[1].ndim + 1:
                classes = outputs.shape[-1]
            if not classified or outputs.ndim != 2:
                return loss(outputs, part[1]).mean(), None
            wrong = jnp.argmax(outputs, axis=-1) != part[1]
            return loss(outputs, part[1]).mean(), wrong.astype(jnp.float32).mean()

        top = None if eigenvalue is None else jnp.asarray(eigenvalue(*state, data))
        return (*mean_over(means, data, batch), top)

    losses, errors, tops = _over_points(point, places, lanes)
    return Survey(places, losses, errors, tops), jnp.int32(classes)


def _over_points(function: Callable[[Array], Any], places: Array, lanes: int) -> Any:
    return lax.map(function, places, batch_size=None if lanes == 1 else lanes)


def _checked_places(places: Any, lanes: int) -> Array:
    at_least(1, lanes=lanes)
    places = jnp.asarray(places, jnp.float32)
    if (
        places.ndim not in (1, 2)
        or places.shape[0] < 1
        or places.shape[1:]
        not in (
            (),
            (2,),
        )
    ):
        raise ValueError(
            f"places: expected shape (n,) or (n, 2), got {tuple(places.shape)}"
        )
    return places
