"""What a trunk is worth on another data set: probes, neighbours, fine-tuning.

The trunk is everything before the last layer: ``trunk_fn(params, x) -> (B, F)``. A
linear probe and k nearest neighbours read its frozen features; :func:`fine_tune`
trains it on, with the pruned weights held at zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from analysis._sets import at_least, check_finite, size_of
from analysis.landscape import cross_entropy
from pruning.masks import apply_mask
from synaptax.checks import (
    check_boolean,
    check_integer,
    check_key,
    check_number,
    wide_dtype,
)
from synaptax.trees import check_same_structure
from synaptax.typing import Array, Key, PyTree

Labelled = tuple[Any, Any]

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NEIGHBOURS = (1, 5, 15)


class Probe(NamedTuple):
    """The result of a probe.

    Errors are fractions of the examples, in [0, 1].

    Attributes:
        test_error: of the setting chosen on validation.
        validation_error: of the same setting.
        chosen: the penalty or number of neighbours chosen.
        errors: validation error of each setting tried.
    """

    test_error: float
    validation_error: float
    chosen: float
    errors: dict[float, float]


class FineTuned(NamedTuple):
    """The result of :func:`fine_tune`.

    Attributes:
        params: trunk and head, a pair of trees; the head is ``kernel`` (F, C) and
            ``bias`` (C,).
        losses: (steps,) loss of each step, of its own batch.
    """

    params: tuple[PyTree, PyTree]
    losses: Array


def features(
    trunk_fn: Callable[[PyTree, Any], Any], params: PyTree, x: Any, *, batch: int = 500
) -> np.ndarray:
    """Return the trunk's features of a set, shape (N, F), on the host.

    Args:
        trunk_fn: ``(params, x) -> (B, F)``.
        params: its weights.
        x: inputs with a leading axis of N examples.
        batch: inputs at a time.

    Raises:
        ValueError: for a trunk of another form, or features that are not finite.

    Example:
        >>> trunk = lambda w, x: jax.nn.relu(x @ w)
        >>> analysis.transfer.features(trunk, jnp.eye(3), jnp.ones((5, 3))).shape
        (5, 3)
    """
    count = size_of(x, "x")
    at_least(1, batch=batch)
    parts = [
        np.asarray(_features(trunk_fn, params, jnp.asarray(x[i : i + batch])))
        for i in range(0, count, batch)
    ]
    values = np.concatenate(parts)
    if values.ndim != 2:
        raise ValueError(
            f"trunk_fn: expected features of shape (B, F), got (B, {values.shape[1:]})"
        )
    if not np.isfinite(values).all():
        raise ValueError("trunk_fn: some features are not finite")
    return values


_features = jax.jit(lambda trunk_fn, params, x: trunk_fn(params, x), static_argnums=0)


def linear_probe(
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    classes: int,
    *,
    ridges: Sequence[float] = RIDGES,
    iterations: int = 100,
) -> Probe:
    r"""Fit a softmax regression to frozen features; choose its penalty on validation.

    .. math:: \min_{W, b} \; \mathrm{mean\ cross\ entropy} + \lambda/2 \, \|W\|^2

    by L-BFGS, in float32, on features scaled to mean 0 and variance 1 by the training
    part (a feature that never varies there becomes 0). The bias b is not penalised; of
    penalties that err equally the largest is chosen.

    Args:
        train: ``(features, labels)``, shapes (N, F) and (N,).
        validation: the same, to choose the penalty.
        test: the same, looked at once, with the chosen one.
        classes: the number of classes.
        ridges: the penalties lambda to try, above 0.
        iterations: of L-BFGS.

    Returns:
        A :class:`Probe`.

    Raises:
        ValueError: for parts that do not fit together, a class missing from the
            training labels, or no penalty.
    """
    train, validation, test = _parts(train, validation, test, classes)
    at_least(1, iterations=iterations)
    ridges = tuple(ridges)
    for ridge in ridges or (0,):
        good = lambda size: math.isfinite(size) and size > 0
        check_number("ridges", ridge, "positive numbers", good)
    center = train[0].mean(0)
    spread = train[0].std(0)
    # A feature that varies by rounding alone would be scaled up to noise.
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    # Centred in the features' own dtype, float32 or wider, and only then float32.
    scaled = lambda part: jnp.asarray((part[0] - center) * scale, jnp.float32)
    x, label = scaled(train), jnp.asarray(train[1])
    fits = _regress(x, label, jnp.asarray(ridges, jnp.float32), classes, iterations)
    error_of = lambda fit, part: float(
        np.mean(np.asarray(scaled(part) @ fit[0] + fit[1][None]).argmax(1) != part[1])
    )
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], fits) for i in range(len(ridges))]
    errors = {
        ridge: error_of(fit, validation)
        for ridge, fit in zip(ridges, each, strict=True)
    }
    best = min(errors, key=lambda ridge: (errors[ridge], -ridge))
    fit = each[list(ridges).index(best)]
    return Probe(error_of(fit, test), errors[best], float(best), errors)


@partial(jax.jit, static_argnames=("classes", "iterations"))
def _regress(
    x: Array, label: Array, ridges: Array, classes: int, iterations: int
) -> tuple[Array, Array]:
    """Return the weights (n, F, C) and biases (n, C) of each penalty."""

    def fit(ridge: Array) -> tuple[Array, Array]:
        def loss(params: tuple[Array, Array]) -> Array:
            weight, bias = params
            fits = cross_entropy(x @ weight + bias[None], label).mean()
            return fits + ridge / 2 * jnp.sum(weight**2)

        solver = optax.lbfgs()
        value_and_grad = optax.value_and_grad_from_state(loss)

        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, state = carry
            value, grad = value_and_grad(params, state=state)
            with jax.numpy_dtype_promotion("standard"):  # optax is not strict
                updates, state = solver.update(
                    grad, state, params, value=value, grad=grad, value_fn=loss
                )
                return (optax.apply_updates(params, updates), state), None

        start = (jnp.zeros((x.shape[1], classes)), jnp.zeros(classes))
        (params, _), _ = lax.scan(
            step, (start, solver.init(start)), None, length=iterations
        )
        return params

    # In turn: under vmap the line search, a while loop, takes as many steps for all
    # penalties as for the slowest.
    return lax.map(fit, ridges)


def nearest_neighbours(
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    classes: int,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    batch: int = 250,
) -> Probe:
    """Classify by the most frequent label among the k nearest training features.

    Cosine distance; ties of the vote go to the smaller label. k is chosen on
    validation, of equals the smallest.

    Args:
        train: ``(features, labels)``, shapes (N, F) and (N,).
        validation: the same, to choose k.
        test: the same, looked at once.
        classes: the number of classes.
        neighbours: the k to try, each at most N.
        batch: queries at a time.

    Returns:
        A :class:`Probe`.

    Raises:
        ValueError: for parts that do not fit together or a k out of range.
    """
    train, validation, test = _parts(train, validation, test, classes)
    at_least(1, batch=batch)
    most = len(train[1])
    expected = f"numbers from 1 to {most}"
    whole = lambda k: check_integer("neighbours", k, 1, most, expected=expected)
    ks = tuple(map(whole, tuple(neighbours) or (0,)))
    base = _unit(jnp.asarray(train[0], jnp.float32))
    label = jnp.asarray(train[1])

    def errors_of(part: Labelled, ks: tuple[int, ...]) -> list[float]:
        guesses = [
            np.asarray(
                _vote(base, label, jnp.asarray(part[0][i : i + batch]), ks, classes)
            )
            for i in range(0, len(part[1]), batch)
        ]
        wrong = np.concatenate(guesses, axis=1) != part[1][None]
        return [float(each) for each in wrong.mean(1)]

    errors = dict(zip(ks, errors_of(validation, ks), strict=True))
    best = min(errors, key=lambda k: (errors[k], k))
    (test_error,) = errors_of(test, (best,))
    return Probe(
        test_error, errors[best], float(best), {float(k): e for k, e in errors.items()}
    )


@partial(jax.jit, static_argnames=("ks", "classes"))
def _vote(
    base: Array, label: Array, x: Array, ks: tuple[int, ...], classes: int
) -> Array:
    """Return the label voted for by each k, shape (len(ks), B)."""
    # Rows of length 1: the product is the cosine. The max(k) nearest, in order, hold
    # those of every k.
    near = lax.top_k(_unit(x.astype(jnp.float32)) @ base.T, max(ks))[1]
    member = jax.nn.one_hot(label[near], classes, dtype=jnp.float32)
    # Of equal votes argmax takes the first, the smaller label.
    return jnp.stack([jnp.argmax(member[:, :k].sum(1), axis=1) for k in ks])


def _unit(x: Array) -> Array:
    """Return rows of length 1; a row of zeros stays."""
    length = jnp.linalg.norm(x, axis=1, keepdims=True)
    return x / jnp.where(length > 0, length, 1)


def fine_tune(
    trunk_fn: Callable[[PyTree, Any], Any],
    params: PyTree,
    data: Labelled,
    classes: int,
    key: Key[Array, ""],
    *,
    steps: int,
    mask: PyTree | None = None,
    batch: int = 100,
    optimizer: optax.GradientTransformation | None = None,
) -> FineTuned:
    """Train a trunk with a new linear head on another data set, masks held.

    All steps are one scan; batches are drawn with replacement; the head begins at 0.

    Args:
        trunk_fn: ``(params, x) -> (B, F)``.
        params: the trunk's weights to begin from.
        data: ``(x, labels)`` with integer labels (N,).
        classes: the number of classes of the new set.
        key: of the batches.
        steps: of the optimizer, at least 1.
        mask: optional boolean tree; a trunk weight that is False stays exactly 0.
        batch: examples per step.
        optimizer: default: SGD at 0.05 with momentum 0.9.

    Returns:
        A :class:`FineTuned`; :func:`headed` applies it.

    Raises:
        ValueError: for data that do not fit together, a class without examples, a mask
            of another structure, steps or batch below 1, or a loss that is not finite.
    """
    x, label = jnp.asarray(data[0]), jnp.asarray(data[1])
    size_of((x, label))
    _check_labels("data", np.asarray(label), classes)
    at_least(1, steps=steps, batch=batch)
    check_key(key)
    if mask is not None:
        check_same_structure(params, mask, argument="mask")
        check_boolean(mask)
        params = apply_mask(params, mask)
    shape = jax.eval_shape(trunk_fn, params, x[:1]).shape
    if len(shape) != 2:
        raise ValueError(f"trunk_fn: expected features of shape (B, F), got {shape}")
    width = shape[1]
    head = {"kernel": jnp.zeros((width, classes)), "bias": jnp.zeros(classes)}
    tx = optax.sgd(0.05, momentum=0.9) if optimizer is None else optimizer
    tuned, losses = _tune(
        (params, head), (x, label), key, mask, trunk_fn, tx, steps, batch
    )
    check_finite(losses, range(1, steps + 1), "loss, step")
    return FineTuned(tuned, losses)


def headed(trunk_fn: Callable[[PyTree, Any], Any]) -> Callable[[Any, Any], Array]:
    """Return ``((trunk params, head), x) -> logits`` for a tuned trunk."""

    def apply(params: tuple[PyTree, PyTree], x: Any) -> Array:
        trunk, head = params
        return trunk_fn(trunk, x) @ head["kernel"] + head["bias"][None]

    return apply


@partial(jax.jit, static_argnames=("trunk_fn", "tx", "steps", "batch"))
def _tune(
    params: tuple[PyTree, PyTree],
    data: Labelled,
    key: Array,
    mask: PyTree | None,
    trunk_fn: Callable[[PyTree, Any], Any],
    tx: optax.GradientTransformation,
    steps: int,
    batch: int,
) -> tuple[tuple[PyTree, PyTree], Array]:
    apply = headed(trunk_fn)
    x, label = data

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        params, state = carry
        index = jax.random.randint(key, (batch,), 0, label.shape[0])
        loss, grads = jax.value_and_grad(
            lambda p: cross_entropy(apply(p, x[index]), label[index]).mean()
        )(params)
        with jax.numpy_dtype_promotion("standard"):  # optax is not strict
            updates, state = tx.update(grads, state, params)
            moved: Any = optax.apply_updates(params, updates)
        # After the optimizer, whose momentum or decay would move weights without
        # gradient.
        if mask is not None:
            moved = (apply_mask(moved[0], mask), moved[1])
        return (moved, state), loss

    start = (params, tx.init(params))
    (params, _), losses = lax.scan(step, start, jax.random.split(key, steps))
    return params, losses


def _parts(
    train: Labelled, validation: Labelled, test: Labelled, classes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the parts as arrays, features in float32 or wider, checked."""
    parts, width = [], np.shape(train[0])[1:]
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        x, label = np.asarray(part[0]), np.asarray(part[1])
        if x.ndim != 2 or x.shape[1:] != width or label.shape != x.shape[:1]:
            raise ValueError(
                f"{name}: expected features of shape (N, {', '.join(map(str, width))}) "
                f"and N labels, got {x.shape} and {label.shape}"
            )
        x = x.astype(wide_dtype(x.dtype, np.float32))
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: some features are not finite")
        _check_labels(name, label, classes, whole=name == "train")
        parts.append((x, label))
    return parts


def _check_labels(
    name: str, label: np.ndarray, classes: int, *, whole: bool = True
) -> None:
    """Raise unless every class (if ``whole``), and nothing else, is there."""
    at_least(2, classes=classes)
    if label.size and (not np.issubdtype(label.dtype, np.integer) or label.ndim != 1):
        raise ValueError(
            f"{name}: expected integer labels of shape (N,), got {label.dtype} of "
            f"shape {label.shape}"
        )
    present = np.unique(label)
    if present.size and not 0 <= present[0] <= present[-1] < classes:
        raise ValueError(f"{name}: labels lie outside [0, {classes})")
    if not whole:
        return
    if present.size == 1:
        raise ValueError(f"{name}: every label is of class {present[0]}")
    absent = sorted(set(range(classes)) - set(present.tolist()))
    if absent:
        raise ValueError(f"{name}: no example of class {', '.join(map(str, absent))}")
