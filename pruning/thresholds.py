"""When a plateau calls for pruning, and how far a loss bound lets the pruning go.

Both follow the schedule of LOBSTER (arXiv 2011.09905): train until the validation
loss stalls, then raise one global magnitude threshold as far as a bound on that loss
allows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from pruning._roles import leaves_of, weights_only
from pruning.masks import apply_mask, threshold_mask
from synaptax.checks import check_integer, check_number, wide_dtype
from synaptax.trees import Prunable, with_arrays
from synaptax.typing import Array, PyTree


class PlateauState(NamedTuple):
    """What the trigger needs to go on.

    Attributes:
        plateau_best: float32, the lowest loss since the last firing; inf at first.
        plateau_bad: int32, epochs in a row without a good one.
    """

    plateau_best: Array
    plateau_bad: Array


class PlateauInfo(NamedTuple):
    """What one loss told the trigger.

    Attributes:
        improved: bool, the loss is strictly below every earlier one: save weights.
        fired: bool, the patience is spent: restore the saved weights and prune.
    """

    improved: Array
    fired: Array


@dataclasses.dataclass(frozen=True)
class Plateau:
    """A trigger that fires when a loss has stalled; see :func:`plateau`."""

    patience: int
    margin: float | int = 0.01

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_integer("patience", self.patience, 0)
        check_number("margin", self.margin, "a number >= 0", _finite_and_positive)

    def init(self) -> PlateauState:
        """Return the state before any loss was seen."""
        return PlateauState(jnp.float32(jnp.inf), jnp.int32(0))

    def step(self, state: PlateauState, loss: Any) -> tuple[PlateauState, PlateauInfo]:
        """Take one epoch's validation loss.

        Args:
            state: from :meth:`init` or the last step.
            loss: scalar >= 0. A NaN counts as a bad epoch.

        Returns:
            ``(state, info)``; pure, so it may be jitted, scanned and vmapped.
        """
        # As the state holds the best: a wider loss could be
        # below its own rounded value.
        loss = jnp.asarray(loss).astype(jnp.float32)
        best, bad_epochs = state
        good = loss < jnp.float32(1 + self.margin) * best
        improved = loss < best
        best = jnp.where(improved, loss, best)
        bad_epochs = jnp.where(good, 0, bad_epochs + 1)
        fired = bad_epochs >= self.patience
        state = PlateauState(
            jnp.where(fired, jnp.inf, best), jnp.where(fired, 0, bad_epochs)
        )
        return state, PlateauInfo(improved, fired)


def plateau(patience: int, *, margin: float | int = 0.01) -> Plateau:
    """Return a trigger that fires when a loss has stalled for ``patience`` epochs.

    An epoch is good if loss < (1 + margin) * best, and a good epoch sets the count of
    bad ones to zero; best falls on strict improvement alone. When the count reaches
    the patience the trigger fires and forgets: best is inf again.

    Args:
        patience: bad epochs in a row before firing; 0 fires at every epoch.
        margin: relative excess over the best loss that still counts as good.

    Returns:
        A frozen :class:`Plateau` with ``init`` and ``step``.

    Raises:
        ValueError: for a negative or fractional patience, a negative margin or NaN.

    Reference:
        Tartaglione et al., LOBSTER, arXiv 2011.09905 (its code sets margin 0.01).

    Example:
        >>> rule = pruning.plateau(patience=2)
        >>> state, fired = rule.init(), []
        >>> for loss in (1.0, 1.1, 1.2):  # two epochs above (1 + margin) times the best
        ...     state, now = rule.step(state, jnp.array(loss))
        ...     fired.append(bool(now.fired))
        >>> fired
        [False, False, True]
    """
    return Plateau(patience, margin)


class ThresholdSearch(NamedTuple):
    """The result of :func:`search_threshold`.

    Attributes:
        threshold: scalar in the widest real dtype of the weights, float32 at least;
            weights with magnitude below it go. 0 prunes none.
        loss: scalar, the loss that was measured at that threshold, in a dtype as wide
            as the threshold's and the bound's.
        iterations: int32, evaluations of the loss.
    """

    threshold: Array
    loss: Array
    iterations: Array


class _Search(NamedTuple):
    step: Array
    low: Array
    high: Array
    low_loss: Array
    high_loss: Array
    done: Array


def _start_and_range(leaves: list[Array]) -> tuple[Array, Array, Array]:
    """Return the start threshold and the range of the finite non-zero magnitudes."""
    # As wide as the widest leaf: a least magnitude rounded upwards would cut a weight
    # at a loss that was never measured.
    wide = wide_dtype(jnp.float32, *(jnp.abs(leaf).dtype for leaf in leaves))
    means, nonempty, least, most = [], [], [], []
    for leaf in leaves:
        size = jnp.abs(leaf).astype(wide)
        # Where a magnitude is inf or NaN no threshold lies between it and the rest.
        alive = (size > 0) & jnp.isfinite(size)
        # Counted in integers: a float32 sum of ones stops growing at 2^24.
        number = jnp.sum(alive, dtype=jnp.int32).astype(wide)
        means.append(jnp.sum(jnp.where(alive, size, 0)) / jnp.maximum(number, 1))
        nonempty.append(number > 0)
        least.append(jnp.min(jnp.where(alive, size, jnp.inf)))
        most.append(jnp.max(jnp.where(alive, size, 0)))
    layers = jnp.sum(jnp.stack(nonempty), dtype=jnp.int32).astype(wide)
    # T0: the mean over leaves of the mean non-zero |w|; a leaf without any is left out.
    start = jnp.sum(jnp.stack(means)) / jnp.maximum(layers, 1)
    return start, jnp.min(jnp.stack(least)), jnp.max(jnp.stack(most))


def search_threshold(
    loss_fn: Callable[[PyTree], Any],
    params: PyTree,
    bound: Any,
    *,
    prunable: Prunable = weights_only,
    mask: PyTree | None = None,
    rtol: float | int = 0.05,
    max_iterations: int = 50,
) -> ThresholdSearch:
    """Find a global magnitude threshold whose loss is within a bound, by bisection.

    The loss of ``params`` with every prunable |w| < T set to zero is measured at
    T = 0, at T0 = the mean over leaves of the mean non-zero magnitude, and then by
    halving: [T0, max |w|] if T0 is within the bound, [min non-zero |w|, T0] if not.
    It stops when the losses at the two ends differ by less than ``rtol * bound``,
    when no float lies between them, or after ``max_iterations`` evaluations.

    The lower end is returned, whose loss was measured to be <= bound. (The authors'
    code may return the untested midpoint instead, slightly above the bound.) If even
    T = 0 exceeds the bound the answer is threshold 0, which prunes nothing.

    Args:
        loss_fn: params -> scalar loss; traced once, so it must be a JAX function.
        params: any pytree of arrays.
        bound: the largest loss accepted; may be traced.
        prunable: which leaves are thresholded; for biases too, pass
            ``lambda name, leaf: True``.
        mask: optional boolean tree; weights dropped by it are zero throughout.
        rtol: stop when the ends' losses are within this fraction of the bound.
        max_iterations: evaluations of the loss at most, at least 2.

    Returns:
        A :class:`ThresholdSearch`; apply it with
        ``apply_mask(params, threshold_mask(params, result.threshold))``.
        The function may be jitted and vmapped.

    Raises:
        ValueError: for a NaN bound, a negative rtol, max_iterations below 2, no
            prunable leaf, a loss that is not a scalar, or a mask that does not fit.

    Reference:
        Tartaglione et al., LOBSTER, arXiv 2011.09905.

    Example:
        >>> params = {"w": jnp.array([[0.01, 0.5, 2.0]])}
        >>> loss = lambda p: jnp.sum((p["w"] - params["w"]) ** 2)
        >>> found = pruning.search_threshold(loss, params, 0.1)  # 0.5^2 is too much
        >>> pruning.threshold_mask(params, found.threshold)["w"].tolist()
        [[False, True, True]]
    """
    _check_search(bound, rtol, max_iterations)
    if mask is not None:
        params = apply_mask(params, mask)
    params = with_arrays(params)
    leaves = [leaf.value for leaf in leaves_of(params, prunable) if leaf.prunable]
    if not leaves:
        raise ValueError("prunable: no leaf is prunable, so there is no threshold")
    start, least, most = _start_and_range(leaves)
    # The loss is compared in its own precision, for a rounded one might fit the bound.
    loss_dtype = wide_dtype(start.dtype, jnp.asarray(bound).dtype)
    bound = jnp.asarray(bound).astype(loss_dtype)

    def loss_at(threshold: Array) -> Array:
        keep = threshold_mask(params, threshold, prunable=prunable)
        loss = jnp.asarray(loss_fn(apply_mask(params, keep)))
        if loss.shape != ():
            raise ValueError(
                f"loss_fn: expected a scalar loss, got an array of shape {loss.shape}"
            )
        return loss

    def body(state: _Search) -> _Search:
        middle = state.low + (state.high - state.low) / 2
        # T = 0, then T0, then halving.
        trial = jnp.where(state.step == 0, 0, jnp.where(state.step == 1, start, middle))
        loss = loss_at(trial)
        widest = wide_dtype(loss.dtype, loss_dtype)
        fits = loss.astype(widest) <= bound.astype(widest)
        loss = loss.astype(loss_dtype)
        # Below the least magnitude nothing changes, so T = 0 speaks for it too.
        floor = jnp.where(jnp.isfinite(least), least, 0)
        raised = jnp.where(state.step == 1, floor, state.low)
        low = jnp.where(fits, trial, raised)
        high = jnp.where(fits | (state.step == 0), state.high, trial)
        low_loss = jnp.where(fits | (state.step == 0), loss, state.low_loss)
        high_loss = jnp.where(fits | (state.step == 0), state.high_loss, loss)
        inner = low + (high - low) / 2
        # Also true of an empty or fully pruned net, where low and high are both 0.
        stuck = (state.step > 0) & ((inner <= low) | (inner >= high))
        # LOBSTER's rule to stop, |loss_a - loss_b| < 0.05 bound.
        close = jnp.abs(high_loss - low_loss) < rtol * jnp.abs(bound)
        hopeless = (state.step == 0) & ~fits
        done = hopeless | stuck | ((state.step > 0) & close)
        return _Search(state.step + 1, low, high, low_loss, high_loss, done)

    zero, nothing = jnp.zeros_like(most), jnp.full((), jnp.inf, loss_dtype)
    first = _Search(jnp.int32(0), zero, most, nothing, nothing, jnp.array(False))
    last = lax.while_loop(
        lambda state: ~state.done & (state.step < max_iterations), body, first
    )
    return ThresholdSearch(last.low, last.low_loss, last.step)


def _check_search(bound: Any, rtol: float | int, max_iterations: int) -> None:
    check_number(
        "bound", bound, "a number that is the largest loss accepted", lambda _: True
    )
    if not isinstance(bound, Tracer) and math.isnan(float(bound)):
        raise ValueError("bound: expected a number, got NaN")
    check_number("rtol", rtol, "a number >= 0", _finite_and_positive)
    check_integer("max_iterations", max_iterations, 2)


def _finite_and_positive(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def restored(better: Array, candidate: PyTree, best: PyTree) -> PyTree:
    """Return ``candidate`` where ``better`` is true, else ``best``, leaf by leaf.

    Args:
        better: bool scalar, e.g. :attr:`PlateauInfo.improved`.
        candidate: tree of arrays.
        best: tree of the same structure.

    Returns:
        The tree to keep as the best so far.
    """
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, best)
