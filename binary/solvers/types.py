"""What a solver is, and what comes out of solving."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from binary._checks import number
from binary.instances import Instance
from binary.likelihood import Batch
from synaptax.typing import Array


class Clock(NamedTuple):
    """Where in a run a step is.

    Attributes:
        epoch: int32, updates done before this one.
        progress: float32 in (0, 1], (epoch + 1) / epochs planned; 1 in the slack.
        errors: int32, errors of the state that the step starts from.

    Example:
        >>> clock = binary.solvers.Clock(jnp.array(0), jnp.array(0.01), jnp.array(7))
        >>> round(float(binary.power(4.0)(clock.progress)), 4)  # q* of epoch 1 of 100
        0.0394
    """

    epoch: Array
    progress: Array
    errors: Array


class Problem(NamedTuple):
    """An instance in the forms that a step wants.

    Attributes:
        given: the instance.
        batch: its patterns as steps compute with them.

    Example:
        >>> binary.solvers.Problem._fields
        ('given', 'batch')
    """

    given: Instance
    batch: Batch


class Solver(NamedTuple):
    """A pure algorithm: how it starts, what one epoch does, and where it stands.

    Attributes:
        name: what tables call it.
        init: (key, problem) -> state, a pytree.
        step: (key, state, problem, rate, clock) -> state after one epoch.
        magnetisations: state -> (N,) m in [-1, 1], or (N, K) of a committee; its mode
            is the candidate.
        rate: the default of the one knob that runs may be batched over.
        tolerance: a run ends when no m moves by more than this; 0 for never.
        units: K, of a committee; a perceptron has one.
        largest: rate that the solver takes; the least is 0.

    Example:
        >>> solver = binary.free(rate=0.1)
        >>> solver.rate, solver.units, solver.tolerance
        (0.1, 1, 1e-06)
    """

    name: str
    init: Callable[[Array, Problem], Any]
    step: Callable[[Array, Any, Problem, Array, Clock], Any]
    magnetisations: Callable[[Any], Array]
    rate: float
    tolerance: float = 0.0
    units: int = 1
    largest: float = math.inf


class Result(NamedTuple):
    """What came out of runs; every leaf has their batch shape in front.

    Weights and m of a committee are (N, K), a column a unit.

    Attributes:
        solved: boolean, whether a weight vector without errors was met.
        epochs: int32, updates done when the run ended.
        errors: int32, errors of ``weights``.
        best: int32, the fewest errors of any epoch; those of ``best_weights``.
        best_weights: (N,) int8, the first candidate with so few errors.
        weights: (N,) int8, the candidate of the last epoch; the solution if solved.
        m: (N,) float32, magnetisations of the last epoch.
        overlap: float32, self-overlap q* of ``m``.
        trace: int32 and float32 of shape (epochs + 1,), errors and q* at each epoch,
            -1 and NaN after the end; None unless asked for.

    Example:
        >>> keys = jax.random.split(jax.random.key(0))
        >>> one = binary.storage(keys[0], 101, 0.3)
        >>> result = binary.solve(binary.free(), one, keys[1], epochs=100)
        >>> result.weights.shape, int(result.best), bool(result.overlap > 0)
        ((101,), 0, True)
    """

    solved: Array
    epochs: Array
    errors: Array
    best: Array
    best_weights: Array
    weights: Array
    m: Array
    overlap: Array
    trace: tuple[Array, Array] | None


def check_rate(rate: Any) -> float:
    """Return a step or temperature as a float; else raise."""
    return number("rate", rate, "a finite number >= 0", lambda x: 0 <= x < math.inf)


def need_binary(problem: Problem, solver: str) -> None:
    """Raise a ValueError that names the solver unless the inputs are +-1."""
    if problem.batch.packed is None:
        raise ValueError(f"{solver}: expected an instance with +-1 inputs, got real")
