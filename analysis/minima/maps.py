"""The landscape between a gradual and a one-shot solution."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.landscape import (
    Interpolated,
    Survey,
    mean_loss,
    survey,
    top_eigenvalue,
)
from analysis.minima.measures import Meter, subset
from analysis.minima.solutions import Solution
from analysis.paths import barrier, line
from analysis.planes import Plane, grid, plane_along, random_direction
from pruning.masks import union

EIGENVALUE_EXAMPLES = 500
_LINE_POINTS = 21


def pair(shared: Meter, first: Solution, second: Solution) -> dict[str, Any]:
    """Return loss and error on the line and the plane between two solutions.

    The plane's other direction is random on the weights that either keeps,
    orthogonal to the line and as long. Statistics of batch-norm are interpolated.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: G, at (0, 0).
        second: S, at (1, 0).

    Returns:
        ``barrier``, ``plane_gap`` and the values behind them.
    """
    data = subset(shared.setting.data.train, shared.config.plane_examples)
    t = np.linspace(0, 1, _LINE_POINTS)
    way = line(_params(first), _params(second))
    along = _survey(shared, first, second, way, t, data)
    a, b = axes(shared.config.plane_points)
    over = _survey(shared, first, second, _plane(first, second), grid(a, b), data)
    loss = np.asarray(over.loss).reshape(len(b), len(a))
    return {
        "barrier": barrier(t, along.loss),
        # S's half less G's; points half way are of neither.
        "plane_gap": float(loss[:, a > 0.5].mean() - loss[:, a < 0.5].mean()),
        "line": {"t": t, "loss": along.loss, "error": along.error},
        "plane": {
            "a": a,
            "b": b,
            "loss": loss,
            "error": np.asarray(over.error).reshape(len(b), len(a)),
        },
    }


def eigenvalues(shared: Meter, first: Solution, second: Solution) -> dict[str, Any]:
    """Return the top Hessian eigenvalue, all weights, over the same plane.

    Args:
        shared: see :func:`analysis.minima.measures.meter`.
        first: G.
        second: S.
    """
    examples = min(EIGENVALUE_EXAMPLES, shared.config.curvature_examples)
    data = subset(shared.setting.data.train, examples)
    apply, steps = shared.setting.net.apply, shared.config.lanczos_steps

    def top(params: Any, stats: Any, data: Any) -> Any:
        loss_fn = mean_loss(lambda params, x: apply(params, stats, x))
        return top_eigenvalue(loss_fn, steps=steps)(params, data)

    a, b = axes(shared.config.eigenvalue_points)
    plane = _plane(first, second)
    rows = _survey(shared, first, second, plane, grid(a, b), data, eigenvalue=top)
    return {"a": a, "b": b, "top": np.asarray(rows.eigenvalue).reshape(len(b), len(a))}


def axes(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates along and across the line between the solutions.

    The solutions are nodes of every grid: 0 and 1 are among the first coordinates, 0
    among the second, in lengths of the line. About half of the first lie outside.

    Args:
        points: of each axis, at least 2.
    """
    steps = max(1, round((points - 1) / 2))  # from G to S
    before = (points - steps) // 2
    along = (np.arange(points) - before) / steps
    across = (np.arange(points) - points // 2) / max(1, points // 2)
    return along, across


def _survey(
    shared: Meter, first: Solution, second: Solution, *where: Any, **options: Any
) -> Survey:
    """Survey with batch-norm's statistics mixed as the solutions are."""
    stats = (jax.tree.map(jnp.asarray, one.stats) for one in (first, second))
    apply_fn = shared.setting.net.apply
    return survey(apply_fn, *where, statistics=Interpolated(*stats), **options)


def _params(solution: Solution) -> Any:
    return jax.tree.map(jnp.asarray, solution.params)


def _plane(first: Solution, second: Solution) -> Plane:
    masks = [jax.tree.map(jnp.asarray, one.masks) for one in (first, second)]
    key = jax.random.fold_in(jax.random.key(first.seed), 99)
    g, s = _params(first), _params(second)
    return plane_along(g, s, random_direction(key, g, mask=union(*masks)))
