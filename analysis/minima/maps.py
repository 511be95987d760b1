"""The landscape between a gradual and a one-shot solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.landscape import explore, survey, top_eigenvalue
from analysis.minima.measures import Meter, subset
from analysis.minima.pairs import Solution
from analysis.paths import barrier, line
from analysis.planes import grid, plane_along, random_direction
from pruning.masks import union

REACH = (-0.5, 1.5)  # of the plane along the line from G to S
HEIGHT = (-1.0, 1.0)  # of the plane across it, in lengths of that line
EIGENVALUE_EXAMPLES = 500
_LINE_POINTS = 21


def pair(shared: Meter, first: Solution, second: Solution) -> dict[str, Any]:
    """Return loss and error on the line and the plane between two solutions.

    The plane's other direction is random on the weights that either keeps,
    orthogonal to the line and as long.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: G, at (0, 0).
        second: S, at (1, 0).

    Returns:
        ``barrier``, ``plane_gap`` and the values behind them.
    """
    config = shared.config
    data = subset(shared.setting.data.train, config.plane_examples)
    g, s = (jax.tree.map(jnp.asarray, one.params) for one in (first, second))
    t = np.linspace(0, 1, _LINE_POINTS)
    along = survey(shared.setting.apply_fn, line(g, s), t, data)
    plane = _plane(first, second)
    a, b = axes(config.plane_points)
    over = survey(shared.setting.apply_fn, plane, grid(a, b), data)
    loss = np.asarray(over.loss).reshape(len(b), len(a))
    return {
        "barrier": barrier(t, along.loss),
        "plane_gap": float(loss[:, a > 0.5].mean() - loss[:, a < 0.5].mean()),
        "line": {"t": t, "loss": along.loss, "error": along.error},
        "plane": {
            "a": a,
            "b": b,
            "loss": loss,
            "error": np.asarray(over.error).reshape(len(b), len(a)),
        },
    }


def eigenvalues(
    shared: Meter, first: Solution, second: Solution, function: Callable[..., Any]
) -> dict[str, Any]:
    """Return the top Hessian eigenvalue, all weights, over the same plane.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: G.
        second: S.
        function: of :func:`eigenvalue_at`; one for all pairs, so that it is compiled
            once.
    """
    a, b = axes(shared.config.eigenvalue_points)
    tops = explore(function, _plane(first, second), grid(a, b))
    return {"a": a, "b": b, "top": np.asarray(tops).reshape(len(b), len(a))}


def eigenvalue_at(shared: Meter) -> Callable[[Any], Any]:
    """Return ``params -> top eigenvalue`` over a few training examples."""
    data = subset(shared.setting.data.train, EIGENVALUE_EXAMPLES)
    top = top_eigenvalue(shared.loss_fn, steps=shared.config.lanczos_steps)
    return lambda params: top(params, data)


def axes(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates along and across the line between the solutions."""
    return np.linspace(*REACH, points), np.linspace(*HEIGHT, points)


def _plane(first: Solution, second: Solution) -> Any:
    g, s = (jax.tree.map(jnp.asarray, one.params) for one in (first, second))
    masks = [jax.tree.map(jnp.asarray, one.masks) for one in (first, second)]
    key = jax.random.fold_in(jax.random.key(first.seed), 99)
    return plane_along(g, s, random_direction(key, g, mask=union(*masks)))
