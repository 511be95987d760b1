"""Two solutions compared with each other: at equal training loss, neuron by neuron.

The curvature of cross-entropy falls with the loss, so of two networks the one that fits
better is the flatter whatever minimum it is in. Here both are trained on under their
masks; from the epoch that crosses a loss the weights are taken at which the loss over
all training examples is exactly that.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis import curvature, entropy
from analysis.minima.measures import (
    PAIR_NEURONS,
    TRACE_PROBES,
    Meter,
    alive_neurons,
    batches,
    errors,
    hessian_of,
    measure,
    state_of,
    subset,
)
from analysis.minima.solutions import ONE_SHOT, Solution, epoch_of, rules_of
from analysis.pairs import FORMS, second_order
from pruning import LOGITS
from pruning.gradual import loop
from pruning.gradual.config import Config as Run
from pruning.gradual.methods import transform
from synaptax.data.images import Batch

KEYS = ("equal_top", "equal_trace", "equal_error")
_BISECTIONS = 16  # of the way between two epochs: the loss to 1e-5 of its change
_STATE_EXAMPLES = 2000


class Way(NamedTuple):
    """A solution trained on under its mask.

    Attributes:
        solution: where it began.
        losses: over all training examples, at the start and after each epoch.
        states: (params, stats) at the same moments, on the host.
    """

    solution: Solution
    losses: tuple[float, ...]
    states: tuple[Any, ...]


def train_on(shared: Meter, solution: Solution, run: Run) -> Way:
    """Train a solution on for ``equal_epochs`` at the low rate, keeping every epoch.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        solution: where to begin.
        run: what the training run of G was asked to do.

    Raises:
        ValueError: naming solution and epoch, if its loss is not finite.
    """
    config, setting = shared.config, shared.setting
    data, net, lr = setting.data, setting.net, config.tune_lr
    tx = transform(run, net, data.classes, lr=lr, decay=False)
    key = jax.random.fold_in(jax.random.key(solution.seed), 20)
    params, stats = state_of(solution)
    masks = jax.tree.map(jnp.asarray, solution.masks)
    replica = loop.start(params, key, tx, masks, rules_of(config), stats)
    step = jax.jit(epoch_of(config, net, data.classes, data.black, lr))
    train, validation = jax.device_put((data.train, data.validation))
    losses, states = [], []
    # The start is a state too: one more than there are epochs.
    for number in range(config.equal_epochs + 1):
        state = replica.params, replica.stats
        losses.append(float(shared.train_loss(state, train)))
        states.append(jax.device_get(state))
        if not math.isfinite(losses[-1]):
            raise ValueError(f"{solution.name}: loss {losses[-1]} at epoch {number}")
        if number < config.equal_epochs:
            replica, _ = step(replica, jnp.int32(number), train, validation)
    return Way(solution, tuple(losses), tuple(states))


def common_losses(first: Way, second: Way, count: int) -> list[float]:
    """Return losses that both ways cross, highest first; none if there is no such.

    From the lower of the two losses at the start to the higher of the two floors, at
    equal ratios: above, one of them would have to forget; below, one does not come.
    """
    top = min(first.losses[0], second.losses[0])
    floor = max(min(first.losses), min(second.losses))
    if not 0 < floor <= top:
        return []
    if floor == top or count == 1:
        return [top]
    return [*np.geomspace(top, floor, count)[:-1].tolist(), floor]


def at_loss(shared: Meter, way: Way, loss: float) -> Solution:
    """Return the network of a way at which the training loss is ``loss``.

    It lies on the straight line between the first epoch at or below it and the epoch
    before, found by bisection.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        way: whose losses reach ``loss``.
        loss: at most that of the start.
    """
    below = next(i for i, value in enumerate(way.losses) if value <= loss)
    state = way.states[below]
    if below and way.losses[below] < loss:
        train = jax.device_put(shared.setting.data.train)
        before, after = way.states[below - 1], state
        high, low = 0.0, 1.0  # the loss is above at the first, not above at the second
        for _ in range(_BISECTIONS):
            middle = (high + low) / 2
            state = _between(before, after, middle)
            if float(shared.train_loss(state, train)) > loss:
                high = middle
            else:
                low = middle
        state = _between(before, after, low)
    return way.solution._replace(params=state[0], stats=state[1])


def _between(before: Any, after: Any, t: float) -> Any:
    return jax.tree.map(lambda a, b: (1 - t) * a + t * b, before, after)


def equal(shared: Meter, first: Way, second: Way) -> dict[str, Any]:
    """Compare two solutions at equal training loss.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: of G.
        second: of its twin.

    Returns:
        ``losses`` of both ways; ``levels``, the curvature of both at each common loss;
        ``first`` and ``second``, what was measured at the highest of them (absent
        without a common loss): everything for S, else curvature, error and entropy.
        The second holds ``equal_top``, ``equal_trace`` and ``equal_error``: the means
        over the levels of log(G / twin) of curvature, and the difference of the test
        errors in points, twin - G.
    """
    levels = []
    compared: dict[str, Any] = {
        "losses": {"first": first.losses, "second": second.losses}
    }
    for loss in common_losses(first, second, shared.config.equal_levels):
        pair = [at_loss(shared, way, loss) for way in (first, second)]
        curved = [_curvature(shared, one) for one in pair]
        if not levels:
            whole = second.solution.arm == ONE_SHOT
            full = [measure(shared, one) if whole else {} for one in pair]
            ends = [
                c | m | _named(s) for c, m, s in zip(curved, full, pair, strict=True)
            ]
            ends[1] |= entropy_gaps(shared, *pair)
            compared |= {"first": ends[0], "second": ends[1]}
        levels.append({"loss": loss, "first": curved[0], "second": curved[1]})
    if levels:
        ratio = lambda key: float(np.mean([_log_ratio(one, key) for one in levels]))
        gaps = [one["second"]["error"] - one["first"]["error"] for one in levels]
        compared["second"] |= {
            "equal_top": ratio("top_survivors"),
            "equal_trace": ratio("trace_survivors"),
            "equal_error": 100 * float(np.mean(gaps)),
        }
    return compared | {"levels": levels}


def _named(solution: Solution) -> dict[str, Any]:
    return {"arm": solution.arm, "seed": solution.seed, "level": solution.level}


def _log_ratio(level: Any, key: str) -> float:
    g, s = level["first"][key], level["second"][key]
    # A curvature at or below zero has no ratio: the mean is then NaN too.
    return math.log(g / s) if g > 0 and s > 0 else math.nan


def _curvature(shared: Meter, solution: Solution) -> dict[str, float]:
    """Return loss and error of all examples, top eigenvalue and trace of survivors."""
    data = subset(shared.setting.data.train, shared.config.curvature_examples)
    operator, key = hessian_of(shared, solution, data), jax.random.key(0)
    top = curvature.top_eigenpairs(
        operator, 1, key, steps=shared.config.lanczos_steps, restarts=0
    )
    estimate = curvature.trace(operator, key, probes=TRACE_PROBES)
    return {
        **errors(shared, solution),
        "top_survivors": float(top.values[0]),
        "top_survivors_residual": float(top.residuals[0]),
        "trace_survivors": estimate.value,
        "trace_survivors_se": estimate.standard_error,
    }


def entropy_gaps(shared: Meter, first: Solution, second: Solution) -> dict[str, float]:
    """Return G - twin of second-order entropy, over neurons alive in both.

    A neuron is alive that has a surviving incoming weight and is ever ON. In bits per
    class, the mean over hidden layers; NaN if a layer has fewer than 2 such neurons.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: G.
        second: its twin, whose neurons are G's: both began from one network.
    """
    data, classes = shared.setting.data, shared.setting.data.classes
    count = min(_STATE_EXAMPLES, shared.config.entropy_examples)
    test = Batch(*subset(data.test, count))
    states, alive = [], []
    for one in (first, second):
        on, labels = entropy.states(shared.potentials, state_of(one), batches(test))
        hidden = [name for name in on if name != LOGITS]
        survivors = alive_neurons(one, hidden)
        states.append(on)
        alive.append({n: on[n].any(0) & survivors.get(n, True) for n in hidden})
    gaps: dict[str, list[float]] = {form: [] for form in FORMS}
    both = {name: np.flatnonzero(alive[0][name] & alive[1][name]) for name in alive[0]}
    for name, live in both.items():
        if live.size > PAIR_NEURONS:
            draws = np.random.default_rng(0)
            live = np.sort(draws.choice(live, PAIR_NEURONS, replace=False))
        for form in FORMS:
            gaps[form].append(_gap(states, name, live, labels, classes, form))
    return {
        "alive_in_both": float(sum(live.size for live in both.values())),
        **{f"H2_{form}_both": float(np.mean(each)) for form, each in gaps.items()},
    }


def _gap(
    states: Any, name: str, live: np.ndarray, labels: Any, classes: int, form: str
) -> float:
    if live.size < 2:
        return math.nan
    g, s = (
        second_order(on[name][:, live], labels, classes, form=form).mean
        for on in states
    )
    return (g - s) / classes
