"""Free gradient ascent on the log-likelihood: q* rises to 1 by itself."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from binary._checks import number
from binary.likelihood import Batch, ascent_direction
from binary.solvers._sweep import epoch, initial_magnetisations
from binary.solvers.types import Clock, Problem, Solver, check_rate
from synaptax.checks import check_flags, check_integer
from synaptax.typing import Array


class FreeState(NamedTuple):
    """The state of free ascent.

    Attributes:
        params: (N,) float32, m in [-1, 1], or h = atanh m.
        velocity: (N,) float32, the momentum; None without.
    """

    params: Array
    velocity: Array | None


def free(
    *,
    on: str = "m",
    batch: int | None = None,
    momentum: float = 0.0,
    detach: bool = False,
    scale: float = 1.0,
    planes: int | None = 12,
    rate: float = 0.3,
) -> Solver:
    r"""Return gradient ascent on the log-likelihood, with nothing imposed on q*.

    .. math:: m \leftarrow \mathrm{clip}(m + \eta \nabla_m \mathcal L, -1, 1)
        \quad\text{or}\quad
        h \leftarrow h + \eta (1 - m^2) \nabla_m \mathcal L, \; m = \tanh h

    The loss is a sum over patterns, and eta needs no scaling with N.

    Args:
        on: "m" or "h", what is ascended.
        batch: patterns an update; None for all.
        momentum: heavy ball in [0, 1).
        detach: drop the gradient through the variance (for the ablation: without it q*
            does not grow by itself).
        scale: initial standard deviation of m in units of 1 / sqrt(N).
        planes: bits of m and of K that full-batch products with +-1 patterns keep, see
            :mod:`binary.bits`; None for float32.
        rate: eta, the default of the knob of the runs.

    Raises:
        ValueError: naming the option out of range.

    Reference:
        Baldassi et al., arXiv 1710.09825.

    Example:
        >>> solver = binary.free(on="h")
        >>> solver.name, solver is binary.free(on="h")  # compiled once
        ('free on h', True)
    """
    batch, planes, momentum, rate = check_options(batch, planes, momentum, rate)
    check_flags(detach=detach)
    scale = number("scale", scale, "a number > 0", lambda x: 0 < x < math.inf)
    if on not in ("m", "h"):
        raise ValueError(f"on: expected 'm' or 'h', got {on!r}")
    return _free(on, batch, momentum, bool(detach), scale, planes, rate)


@functools.cache  # one solver an option set, so that solve() compiles once
def _free(
    on: str,
    batch: int | None,
    momentum: float,
    detach: bool,
    scale: float,
    planes: int | None,
    rate: float,
) -> Solver:
    """Return the solver of checked options."""

    def init(key: Array, problem: Problem) -> FreeState:
        m = initial_magnetisations(key, problem.batch.inputs.shape[-1], scale)
        velocity = jnp.zeros_like(m) if momentum else None
        # An m clipped to +-1 would be an infinite h.
        return FreeState(m if on == "m" else jnp.arctanh(0.999 * m), velocity)

    def move(state: FreeState, patterns: Batch, rate: Array) -> FreeState:
        m = state.params if on == "m" else jnp.tanh(state.params)
        slope = ascent_direction(m, patterns, radial=not detach, planes=planes)
        if on == "h":  # dL/dh = (1 - m^2) dL/dm, as m = tanh h
            slope = (1 - m) * (1 + m) * slope
        velocity = rate * slope
        if state.velocity is not None:
            velocity = velocity + momentum * state.velocity
        moved = state.params + velocity  # m <- clip(m + eta dL/dm)
        moved = jnp.clip(moved, -1, 1) if on == "m" else moved
        return FreeState(moved, velocity if momentum else None)

    def step(
        key: Array, state: Any, problem: Problem, rate: Array, clock: Clock
    ) -> Any:
        del clock
        return epoch(
            key, state, problem.batch, batch, lambda s, rows: move(s, rows, rate)
        )

    def magnetisations(state: FreeState) -> Array:
        return state.params if on == "m" else jnp.tanh(state.params)

    parts = [f"free on {on}"]
    parts += [f"batch {batch}"] if batch else []
    parts += [f"momentum {momentum:g}"] if momentum else []
    parts += ["variance detached"] if detach else []
    # A step that moves nothing is the last where steps are a function of m alone; on h,
    # m saturates while h still moves.
    still = 1e-6 if on == "m" and batch is None and not momentum else 0.0
    return Solver(", ".join(parts), init, step, magnetisations, rate, still)


def check_options(
    batch: Any, planes: Any, momentum: Any, rate: Any
) -> tuple[int | None, int | None, float, float]:
    """Return the options of ascent as plain numbers, or raise naming the wrong one."""
    batch = None if batch is None else check_integer("batch", batch, 1)
    momentum = number("momentum", momentum, "a number in [0, 1)", lambda x: 0 <= x < 1)
    return batch, check_planes(planes), momentum, check_rate(rate)


def check_planes(planes: Any) -> int | None:
    """Return the bits that products keep, None for float32; else raise."""
    return None if planes is None else check_integer("planes", planes, 2)
