"""Fixed points and roots that either converge or say that they did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq


class NotConverged(ArithmeticError):
    """A saddle point was not found: there is no number to return.

    Example:
        >>> issubclass(binary.theory.NotConverged, ArithmeticError)
        True
    """


class FixedPoint(NamedTuple):
    """A solution of x = step(x).

    Attributes:
        value: float64, shape (n,).
        iterations: evaluations of the step.
        residual: max |step(x) - x| at the value.
    """

    value: np.ndarray
    iterations: int
    residual: float


def fixed_point(
    step: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    project: Callable[[np.ndarray], np.ndarray] = lambda x: x,
    tolerance: float = 1e-10,
    limit: int = 400,
    damping: float = 0.5,
    memory: int = 4,
    name: str = "fixed point",
) -> FixedPoint:
    """Solve x = step(x) by damped iteration with Anderson acceleration.

    Not SciPy's ``anderson``: it knows no projection, and these maps are defined for
    overlaps in [0, 1] alone; and the first steps here are plain damped ones.

    Args:
        step: the map, on float64 arrays of shape (n,).
        start: the first x.
        project: brings an extrapolated x back into the domain of the map.
        tolerance: the largest residual that counts as solved.
        limit: the most evaluations.
        damping: the share of the new value in a step without acceleration.
        memory: how many differences the acceleration combines.
        name: what is solved, for the error.

    Raises:
        NotConverged: when the residual is not below the tolerance after ``limit``
            evaluations, or stops being finite.
    """
    x = project(np.atleast_1d(np.asarray(start, np.float64)))
    xs: list[np.ndarray] = []
    fs: list[np.ndarray] = []
    residual = np.inf
    for iteration in range(1, limit + 1):
        f = np.atleast_1d(step(x)) - x
        residual = float(np.max(np.abs(f)))
        # NaN is neither below the tolerance nor above it: it would go on to the limit.
        if not np.isfinite(residual):
            break
        if residual < tolerance:
            return FixedPoint(x, iteration, residual)
        xs, fs = [*xs, x][-memory - 1 :], [*fs, f][-memory - 1 :]
        move = damping * f
        # x <- x + f - (dX + dF) c with the c that minimises |f - dF c|: dX and dF of
        # shape (n, differences). The first two steps have too few differences.
        if len(xs) > 2:
            dx = np.diff(np.stack(xs, 1), axis=1)
            df = np.diff(np.stack(fs, 1), axis=1)
            # Near the solution differences become parallel; those below rcond are left
            # out.
            mix, *_ = np.linalg.lstsq(df, f, rcond=1e-12)
            move = f - (dx + df) @ mix
        x = project(x + move)
    raise NotConverged(
        f"{name}: residual {residual:.3g} after {iteration} iterations, expected "
        f"below {tolerance:.3g}"
    )


def bracketed_root(
    function: Callable[[float], float],
    low: float,
    high: float,
    *,
    name: str,
    tolerance: float = 1e-14,
) -> tuple[float, int]:
    """Return the root of a function that changes sign on [low, high], and the cost.

    Raises:
        NotConverged: when there is no change of sign, so no solution in range.
    """
    at_low, at_high = function(low), function(high)
    # Not "> 0": an end that is NaN has to fail, too.
    if not at_low * at_high <= 0:
        raise NotConverged(
            f"{name}: no solution in range (ends give {at_low:.3g} and {at_high:.3g})"
        )
    root, info = brentq(
        function,
        low,
        high,
        xtol=tolerance,
        # brentq refuses an rtol below four units in the last place.
        rtol=np.float64(max(tolerance, 1e-14)),
        full_output=True,
        disp=False,
    )
    if not info.converged:
        raise NotConverged(f"{name}: root not found in {info.iterations} iterations")
    return float(root), info.function_calls
