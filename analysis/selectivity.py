r"""How much a unit prefers one class: indices to set beside PSP-entropy.

PSP-entropy asks whether a unit's ON/OFF state varies *within* a class. The indices
here ask whether it differs *between* classes; a unit may be high in one and low in
the other, so they are read together.

``class_selectivity``
    (largest class mean - mean of the other class means) / (their sum), of activations
    that are not negative; 0: all classes alike, 1: one class only. Morcos et al., On
    the importance of single directions for generalization, arXiv 1803.06959.
``explained_variance``
    eta squared of a one-way analysis of variance: the share of a unit's variance that
    lies between the classes (Fisher; Pearson's correlation ratio).
``mutual_information``
    between the ON/OFF state and the class, in bits, from counts; at most 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis._sets import at_least
from synaptax.typing import Array, PyTree


class Moments(NamedTuple):
    """Sums per class, of which the indices are made.

    Summed in float32 within a batch, in float64 over batches.

    Attributes:
        examples: (C,) float64, examples of each class.
        total: (n, C) float64, sums of the activations.
        squares: (n, C) float64, sums of their squares.
        on: (n, C) float64, how often each unit was above 0.
    """

    examples: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    on: np.ndarray


def moments(
    activations: Callable[[PyTree, Any], Any],
    params: PyTree,
    batches: Iterable[tuple[Any, Any]],
    classes: int,
) -> Moments:
    """Sum activations by class over a data set.

    Args:
        activations: ``(params, x) -> (B, ...)``, one array; every entry of an example
            is a unit. Jitted here, so pass the same function again.
        params: the parameters.
        batches: ``(x, labels)`` pairs.
        classes: the number of classes C.

    Returns:
        The sums, units in row-major order.

    Raises:
        ValueError: for fewer than 2 classes, a label out of range, a class with no
            example, or activations that are not finite.
    """
    at_least(2, classes=classes)
    sums = None
    for x, labels in batches:
        label = np.asarray(labels)
        if not label.size:
            continue
        if not np.issubdtype(label.dtype, np.integer) or label.ndim != 1:
            raise ValueError(
                f"labels: expected integers of shape (B,), got {label.dtype} of shape "
                f"{label.shape}"
            )
        if not 0 <= label.min() <= label.max() < classes:
            raise ValueError(f"labels: some lie outside [0, {classes})")
        part = _batch_moments(activations, params, x, jnp.asarray(label), classes)
        part = Moments(*(np.asarray(each, np.float64) for each in part))
        sums = part if sums is None else Moments(*map(np.add, sums, part))
    if sums is None:
        raise ValueError("batches: expected at least one, got none")
    empty = np.flatnonzero(sums.examples == 0)
    if empty.size == classes - 1:
        raise ValueError(f"labels: expected {classes} classes, all are of one class")
    if empty.size:
        raise ValueError(f"labels: no example of class {', '.join(map(str, empty))}")
    if not np.isfinite(sums.squares).all():
        raise ValueError("activations: some are not finite")
    return sums


def _sums(
    activations: Callable[[PyTree, Any], Any],
    params: PyTree,
    x: Any,
    labels: Array,
    classes: int,
) -> Moments:
    member = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    values = activations(params, x)
    if values.shape[:1] != labels.shape:
        raise ValueError(
            f"labels: expected one for each of {values.shape[0]} examples, got "
            f"{labels.size}"
        )
    values = values.reshape(labels.size, -1).astype(jnp.float32)
    # (n, B) (B, C): the sums of all classes in one product.
    by_class = lambda v: v.T @ member
    on = by_class((values > 0).astype(jnp.float32))
    return Moments(member.sum(0), by_class(values), by_class(values**2), on)  # pyright: ignore


_batch_moments = jax.jit(_sums, static_argnums=(0, 4))


def class_selectivity(found: Moments) -> np.ndarray:
    """Return each unit's class selectivity index, shape (n,), in [0, 1].

    Args:
        found: of activations that are not negative, such as after a ReLU.

    Returns:
        (n,) float64; 0 for a unit that is never active.

    Raises:
        ValueError: if a class mean is negative.

    Example:
        >>> x, label = jnp.array([[4.0, 1.0], [0.0, 1.0]]), jnp.array([0, 1])
        >>> of = lambda w, x: x @ w
        >>> sums = analysis.selectivity.moments(of, jnp.eye(2), [(x, label)], 2)
        >>> analysis.selectivity.class_selectivity(sums).round(3).tolist()
        [1.0, 0.0]
    """
    means = found.total / found.examples
    if means.min(initial=0) < 0:
        raise ValueError("activations: expected none below 0 (after a ReLU)")
    top = means.max(axis=1)
    rest = (means.sum(axis=1) - top) / (means.shape[1] - 1)
    both = top + rest
    return np.divide(top - rest, both, out=np.zeros_like(both), where=both > 0)


def explained_variance(found: Moments) -> np.ndarray:
    r"""Return the share of each unit's variance between the classes, eta squared.

    .. math:: \eta^2 = \sum_c M_c (\bar a_c - \bar a)^2 \, / \, \sum_m (a_m - \bar a)^2

    over examples m, and classes c of M_c examples each with mean :math:`\bar a_c`.

    Args:
        found: of any activations.

    Returns:
        (n,) float64 in [0, 1]; 0 for a unit that never varies, which is one whose
        variance is below 1e-6 of its mean square, the rounding of float32.
    """
    count = found.examples.sum()
    grand = found.total.sum(axis=1) / count
    means = found.total / found.examples
    between = ((means - grand[:, None]) ** 2 @ found.examples) / count
    whole = found.squares.sum(axis=1) / count - grand**2
    # Below float32's rounding of the squares there is nothing to explain.
    # And 1e-30, so that a unit that is always 0 does not vary.
    varies = whole > 1e-6 * np.maximum(found.squares.sum(axis=1) / count, 1e-30)
    share = np.divide(between, whole, out=np.zeros_like(whole), where=varies)
    # Rounding may pass the ends.
    return np.clip(share, 0, 1)


def mutual_information(found: Moments) -> np.ndarray:
    """Return the information between ON/OFF and the class, in bits, shape (n,).

    From counts as they are, with the data's own class shares; 0 log 0 = 0. From M
    examples such an estimate is too high by about (C - 1) / (2 M ln 2) bits where the
    unit knows nothing of the class (Miller, Note on the bias of information estimates,
    1955).

    Args:
        found: of any activations; ON is above 0.

    Returns:
        (n,) float64 in [0, 1].
    """
    count = found.examples.sum()
    joint = np.stack([found.on, found.examples - found.on]) / count  # (2, n, C)
    state = joint.sum(axis=2, keepdims=True)
    share = (found.examples / count)[None, None]
    independent = state * share
    # I = sum_{s, c} p(s, c) log2 [p(s, c) / (p(s) p(c))]; 0 log 0 = 0.
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=(joint > 0))
    # Rounding may leave less than 0 where state and class are independent.
    return np.maximum((joint * np.log2(ratio)).sum(axis=(0, 2)), 0)
