"""Who keeps how much: one budget of weights divided over the leaves.

A leaf l of n_l weights gets the density min(1, s a_l), with proportions a_l that are
given and the one s for which sum_l n_l min(1, s a_l) is the budget. Where the given
densities meet the budget, s is 1 and they hold as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from synaptax.checks import check_number
from synaptax.typing import Array

Scope = str | Mapping[str, Any] | Callable[..., Any]
SCOPES = ("global", "layer", "uniform", "erk")


def erk(name: str, shape: tuple[int, ...]) -> float:
    """Return the Erdos-Renyi-kernel proportion of a leaf: sum over product of its axes.

    Reference:
        Evci et al., Rigging the lottery, arXiv 1911.11134: 1 - (n_in + n_out + w + h) /
        (n_in n_out w h) is the sparsity, scaled to the budget.
    """
    del name
    return sum(shape) / math.prod(shape)


def proportions(
    scope: Scope, names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> np.ndarray:
    """Return a_l of each leaf, float64.

    Args:
        scope: "uniform", "erk", a map from path to density, or a function of
            (path, shape).
        names: of the leaves.
        shapes: likewise.

    Raises:
        ValueError: naming the leaf, if one is missing, unknown, negative or not finite.
    """
    if isinstance(scope, Mapping):
        unknown = sorted(set(scope) - set(names))
        if unknown:
            raise ValueError(f"scope: no prunable leaf is called {unknown[0]}")
        missing = [name for name in names if name not in scope]
        if missing:
            raise ValueError(f"scope: no density for leaf {missing[0]}")
    values = []
    for name, shape in zip(names, shapes, strict=True):
        if isinstance(scope, Mapping):
            value = scope[name]
        elif callable(scope):
            value = scope(name, shape)
        else:
            value = erk(name, shape) if scope == "erk" else 1.0
        good = lambda share: math.isfinite(share) and share >= 0
        check_number("scope", value, f"a density >= 0 for {name}", good)
        values.append(float(value))
    return np.asarray(values)


def divided(budget: Any, sizes: Sequence[int], parts: np.ndarray) -> Array:
    """Divide a budget of weights over leaves in given proportions, to the weight.

    Args:
        budget: N, an integer scalar in [0, sum of sizes], traced or not.
        sizes: n_l.
        parts: a_l >= 0. Leaves with 0 get what the others cannot hold.

    Returns:
        (L,) int32 counts k_l <= n_l with sum N: floor(n_l min(1, s a_l)), and one more
        for the leaves of the largest remainders.
    """
    # Sizes and proportions are static, so all but the budget is NumPy's, in float64.
    n, a = np.asarray(sizes, np.float64), np.asarray(parts, np.float64)
    # A share of 0 becomes one so small that its leaf fills when all others are full.
    a = np.where(a > 0, a, a[a > 0].min() * 1e-9 if (a > 0).any() else 1.0)
    # The budget is linear in s between the breakpoints s = 1/a_l, where a leaf is full.
    ends = np.sort(1 / a)
    totals = np.minimum(n, ends[:, None] * a * n).sum(1)
    # (L + 1, L): which leaves are full from each breakpoint on. 1e-12 is for
    # rounding: a_l times its own 1 / a_l need not be 1.
    full = (a[None] * np.concatenate([[0.0], ends])[:, None]) >= 1 - 1e-12
    base, slope = (full * n).sum(1), (~full * a * n).sum(1)
    budget = jnp.asarray(budget, jnp.int32)
    # 1e-6: a sum that rounding lifts above an integer stays that integer.
    stretch = jnp.sum(budget >= jnp.asarray(np.ceil(totals - 1e-6), jnp.int32))
    slopes = jnp.asarray(np.where(slope > 0, slope, 1.0), jnp.float32)
    rest = budget - jnp.asarray(base, jnp.int32)[stretch]
    # Rounded down in float32 so that the sum is never above the budget.
    s = rest.astype(jnp.float32) / slopes[stretch] * jnp.float32(1 - 2**-20)
    exact = jnp.asarray(a * n, jnp.float32) * s
    room = jnp.asarray(n, jnp.int32)
    whole = jnp.asarray(full)[stretch]
    counts = jnp.where(whole, room, jnp.floor(exact).astype(jnp.int32))
    counts = jnp.minimum(counts, room)
    order = jnp.argsort(counts.astype(jnp.float32) - exact)  # largest remainder first
    # One more for each of the largest remainders; then, if float32 left more than
    # that over, whatever a leaf has room for.
    for most in (1, max(sizes)):
        rest = budget - jnp.sum(counts, dtype=jnp.int32)
        space = jnp.minimum(room - counts, most)[order]
        before = jnp.cumsum(space) - space
        counts = counts.at[order].add(jnp.clip(rest - before, 0, space))
    return counts
