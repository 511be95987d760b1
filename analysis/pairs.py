r"""Second-order PSP-entropy: how the states of two neurons of a layer hang together.

What the paper computes is not known for certain, so three forms are named. For class
c, with :math:`f` a frequency over its examples and averages over the pairs i < j:

``xnor``
    binary entropy of "i and j are in the same state", a pair at a time.
``joint``
    entropy of the four states of (i, j), a pair at a time; each frequency is clipped
    as in the first order, so an immovable pair has 0.0041 bit, not 0.
``draft``
    the formula of the authors' first draft, for comparison, with its defects: pairs
    are pooled before the entropy,
    :math:`f_c = \sum_{i \le j} \mathrm{same}_{ij} / (M_c n^2 / 2)` counts each neuron
    with itself under a normaliser that leaves it out, so it can exceed 1; and
    :math:`H_c = -(1 - f_c) \log_2(1 - f_c + 10^{-15})` is one of two terms, and NaN
    once f exceeds 1.

Each is summed over classes. All come from one matrix product per block of pairs: with
A the 0/1 states, :math:`N_{11} = A^T A`, and the counts of ON give the rest. Blocks
are BLOCK x BLOCK, so memory beside the states does not grow with the square of the
layer, and only blocks on and above the diagonal are formed.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis._sets import at_least
from analysis.entropy import CLIP, check_labels
from synaptax.checks import check_choice
from synaptax.typing import Array

FORMS = ("xnor", "joint", "draft")
# A block of counts takes 4 MiB in float32.
BLOCK = 1024


class SecondOrder(NamedTuple):
    """Second-order PSP-entropy of one layer, in bits, float64.

    Attributes:
        form: which of :data:`FORMS`.
        mean: over all pairs, summed over classes.
        live: the same over the pairs of live neurons; NaN if there are fewer than 2.
        per_class: (C,), the terms of ``mean``.
        per_neuron: (n,), the mean over a neuron's partners, summed over classes; its
            own mean is ``mean``. None for the draft, which pools pairs.

    Example:
        >>> on = np.array([[1, 1], [0, 1], [1, 1], [0, 0]], bool)  # (M, n)
        >>> found = analysis.second_order(on, np.array([0, 0, 1, 1]), 2)
        >>> found.form, found.per_class.round(3).tolist()
        ('xnor', [1.0, 0.001])
    """

    form: str
    mean: float
    live: float
    per_class: np.ndarray
    per_neuron: np.ndarray | None


def second_order(
    on: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    form: str = "xnor",
    alive: np.ndarray | None = None,
) -> SecondOrder:
    """Return the second-order entropy of a layer.

    Args:
        on: boolean (M, n), as :func:`analysis.entropy.states` gives it; n >= 2.
            Counts are exact up to 2**24 examples a class.
        labels: integers (M,) in [0, classes).
        classes: the number of classes, at least 2.
        form: one of :data:`FORMS`.
        alive: optional boolean (n,), False for neurons with no surviving weight. A
            neuron never ON is dead in any case.

    Returns:
        The entropy over all pairs and over live pairs.

    Raises:
        ValueError: for an unknown form, shapes that do not fit, fewer than 2 neurons,
            labels out of range, or a class with no example.

    Reference:
        arXiv 2004.14765; the draft is that of the authors' first public code.

    Example:
        >>> on = np.array([[1, 1], [0, 1], [1, 1], [0, 0]], bool)  # (M, n)
        >>> round(analysis.second_order(on, np.array([0, 0, 1, 1]), 2).mean, 3)
        1.001
    """
    on, labels = _check(on, labels, classes, form)
    examples = np.bincount(labels, minlength=classes)
    live = np.asarray(on.any(axis=0))
    if alive is not None:
        if np.shape(alive) != live.shape:
            raise ValueError(
                f"alive: expected shape {live.shape}, got {np.shape(alive)}"
            )
        live &= np.asarray(alive, bool)
    sums = _partner_sums(on, labels, live, examples, form)
    n, alive_count = live.size, int(live.sum())
    everything, among_live = sums.sum(axis=1).T  # each (C,), every pair twice
    if form == "draft":
        everything = draft_entropy(everything / 2, examples, n)
        among_live = draft_entropy(among_live / 2, examples, alive_count)
        per_neuron = None
    else:
        per_neuron = sums[..., 0].sum(axis=0) / (n - 1)
        # n (n - 1): the sums hold each pair once for either neuron.
        everything = everything / (n * (n - 1))
        # 0 / 0 with fewer than two live neurons: NaN on purpose.
        with np.errstate(invalid="ignore"):
            pairs = np.float64(alive_count * (alive_count - 1))
            among_live = among_live / pairs
    live_mean = float(among_live.sum()) if alive_count > 1 else float("nan")
    return SecondOrder(form, float(everything.sum()), live_mean, everything, per_neuron)


def draft_entropy(same: np.ndarray, examples: np.ndarray, neurons: int) -> np.ndarray:
    """Return the draft's H_c from the pooled counts of equal states.

    Args:
        same: (C,), equal states summed over pairs i < j and over examples.
        examples: (C,), examples of each class.
        neurons: the number of neurons n.

    Returns:
        (C,), NaN where the draft's frequency exceeds 1 or there is no neuron.
    """
    pooled = same + neurons * examples  # every neuron equals itself
    with np.errstate(invalid="ignore", divide="ignore"):
        # 1 - f_c; then H_c = -(1 - f_c) log2(1 - f_c + 1e-15), with the draft's own
        # epsilon.
        rest = 1 - pooled / (examples * np.float64(neurons) ** 2 / 2)
        return -rest * np.log2(rest + 1e-15)


def _check(
    on: np.ndarray, labels: np.ndarray, classes: int, form: str
) -> tuple[np.ndarray, np.ndarray]:
    check_choice("form", form, FORMS)
    on, labels = np.asarray(on), np.asarray(labels)
    if on.dtype != bool or on.ndim != 2 or on.shape[1] < 2:
        raise ValueError(
            "on: expected booleans of shape (M, n) with n >= 2, got "
            f"{on.dtype} of shape {on.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != on.shape[:1]:
        raise ValueError(
            f"labels: expected integers of shape {on.shape[:1]}, got {labels.dtype} "
            f"of shape {labels.shape}"
        )
    at_least(2, classes=classes)
    inside = (labels >= 0) & (labels < classes)
    counts = np.bincount(labels[inside], minlength=classes)
    check_labels(counts, int(np.sum(~inside)))
    return on, labels


def _partner_sums(
    on: np.ndarray,
    labels: np.ndarray,
    live: np.ndarray,
    examples: np.ndarray,
    form: str,
) -> np.ndarray:
    """Return (C, n, 2): a neuron's terms summed over all partners and live ones.

    In the second column the terms of a dead neuron are 0.
    """
    n = live.size
    block = min(BLOCK, n)
    blocks = -(-n // block)
    # Column 0 counts every neuron, column 1 the live ones; what pads the last block
    # weighs 0.
    weights = np.zeros((blocks * block, 2), np.float32)
    weights[:n, 0], weights[:n, 1] = 1, live
    # The terms are symmetric in i and j.
    corners = np.array([(i, j) for i in range(blocks) for j in range(i, blocks)])
    sums = []
    for c, count in enumerate(examples):
        # Rows of zeros change neither A^T A nor the counts: one shape for all classes.
        padded = np.zeros((examples.max(), blocks * block), bool)
        padded[:count, :n] = on[labels == c]
        terms = _block_sums(
            padded, np.float32(count), weights, corners * block, form=form, block=block
        )
        sums.append(np.asarray(terms, np.float64)[:n])
    return np.stack(sums)


@functools.partial(jax.jit, static_argnames=("form", "block"))
def _block_sums(
    on: Array, total: Array, weights: Array, corners: Array, *, form: str, block: int
) -> Array:
    terms = {"xnor": _xnor_terms, "joint": _joint_terms, "draft": _same_counts}[form]
    # N_1.: counted in int32, exact in float32 up to 2**24 examples.
    marginal = jnp.sum(on, axis=0, dtype=jnp.int32).astype(jnp.float32)

    def step(sums: Array, corner: Array) -> tuple[Array, None]:
        def cut(start: Array) -> tuple[Array, Array, Array]:
            columns = lax.dynamic_slice_in_dim(on, start, block, axis=1)
            count = lax.dynamic_slice_in_dim(marginal, start, block)
            weight = lax.dynamic_slice_in_dim(weights, start, block)
            return columns.astype(jnp.float32), count, weight

        (a, up_a, w_a), (b, up_b, w_b) = cut(corner[0]), cut(corner[1])
        # N_11 = A^T B, (block, block): how often i and j are both ON.
        values = terms(a.T @ b, up_a[:, None], up_b[None, :], total)
        # Only pairs i < j: on the diagonal a neuron would meet itself.
        row = corner[0] + jnp.arange(block)[:, None]
        values = jnp.where(row < corner[1] + jnp.arange(block)[None, :], values, 0)
        # A pair counts for both of its neurons, weighted by both.
        sums = _add_at(sums, corner[0], w_a * (values @ w_b))
        return _add_at(sums, corner[1], w_b * (values.T @ w_a)), None

    return lax.scan(step, jnp.zeros_like(weights), corners)[0]


def _add_at(sums: Array, start: Array, more: Array) -> Array:
    old = lax.dynamic_slice_in_dim(sums, start, more.shape[0])
    return lax.dynamic_update_slice_in_dim(sums, old + more, start, axis=0)


def _same_counts(both: Array, up_a: Array, up_b: Array, total: Array) -> Array:
    """Return how often two neurons are in the same state: both ON or both OFF."""
    return total - up_a - up_b + 2 * both


def _xnor_terms(both: Array, up_a: Array, up_b: Array, total: Array) -> Array:
    same = _same_counts(both, up_a, up_b, total)
    return _surprise(same, total) + _surprise(total - same, total)


def _joint_terms(both: Array, up_a: Array, up_b: Array, total: Array) -> Array:
    # N_10 = N_1. - N_11, N_01 = N_.1 - N_11, N_00 = M - N_1. - N_.1 + N_11.
    neither = total - up_a - up_b + both
    states = (both, up_a - both, up_b - both, neither)
    return sum((_surprise(count, total) for count in states), jnp.zeros_like(both))


def _surprise(count: Array, total: Any) -> Array:
    """Return -f log2 f of a clipped frequency."""
    frequency = jnp.clip(count / total, *CLIP)
    return -frequency * jnp.log2(frequency)
