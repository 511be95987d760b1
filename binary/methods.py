"""The solvers as experiments run them: options, epochs, and how many side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from binary.solvers import (
    Solver,
    amp,
    annealed,
    annealing,
    committee,
    focusing,
    free,
    power,
    replicated,
    sbpi,
    straight_through,
)


@dataclasses.dataclass(frozen=True)
class Method:
    """A solver with its budget.

    Attributes:
        label: what tables and figures call it.
        solver: size -> solver.
        epochs: passes over the patterns at most.
        width: instances side by side; None for all of a chunk.
    """

    label: str
    solver: Callable[[int], Solver]
    epochs: int
    width: int | None = 1


def _bound(size: int) -> int:
    """Return SBPI's bound, odd and close to 1.93 sqrt(N): 61 at N = 1001."""
    return 2 * round(0.5 * (1.93 * size**0.5 - 1)) + 1


def _power(exponent: float, rate: float) -> Solver:
    return annealed(schedule=power(exponent), rate=rate)


def _committee(units: int) -> Solver:
    return committee(units, schedule=power(3.0), planes=9, rate=0.25)


METHODS: dict[str, Method] = {
    "free": Method("free ascent on m", lambda n: free(), 300),
    "free-h": Method("free ascent on h", lambda n: free(on="h"), 3000),
    "free-minibatch": Method("free, minibatches of 50", lambda n: free(batch=50), 300),
    "free-detached": Method(
        "free, variance detached", lambda n: free(detach=True), 300
    ),
    "linear-1000": Method("annealed, linear ramp", lambda n: annealed(), 1000),
    "linear-3000": Method("annealed, linear ramp", lambda n: annealed(), 3000),
    # Most solutions appear at q* between 0.97 and 0.995, where the power ramp spends
    # its epochs; the fewer they are, the larger the eta that served (notes_solvers.md).
    "power-100": Method("annealed, power ramp", lambda n: _power(4.0, 0.5), 100),
    "power-300": Method("annealed, power ramp", lambda n: _power(4.0, 0.5), 300),
    "power-1000": Method("annealed, power ramp", lambda n: _power(3.0, 0.3), 1000),
    "power-3000": Method("annealed, power ramp", lambda n: _power(3.0, 0.3), 3000),
    "power-10000": Method("annealed, power ramp", lambda n: _power(3.0, 0.2), 10000),
    **{
        f"committee-{k}": Method(
            f"committee of {k}, annealed", lambda n, k=k: _committee(k), 1000
        )
        for k in (3, 5, 7, 9)
    },
    "sbpi": Method("SBPI", lambda n: sbpi(bound=_bound(n)), 4000, None),
    "amp": Method("reinforced AMP", lambda n: amp(), 2000),
    # Of 20 tuning instances at load 0.76 six attempts of 500 solved 10, one run at rate
    # 3e-4 solved 5 (notes-hard.md).
    "amp-restarts": Method(
        "reinforced AMP, attempts of 500",
        lambda n: amp(planes=12, cycle=500),
        4000,
    ),
    "focusing": Method("focusing AMP", lambda n: focusing(), 1500),
    "replicated": Method("3 replicas, annealed", lambda n: replicated(3), 1000),
    "straight-through": Method(
        "straight-through SGD", lambda n: straight_through(), 1000
    ),
    "annealing": Method(
        "simulated annealing", lambda n: annealing(rate=2.0), 1000, None
    ),
}
