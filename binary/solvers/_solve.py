"""Solve many instances at once: one program, each run stopped when it is done."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from binary._checks import array
from binary.bits import sign_product
from binary.instances import Instance, check_instance
from binary.likelihood import batch_of, is_binary, self_overlap
from binary.perceptron import errors, majority, mode, verify
from binary.solvers.types import Clock, Problem, Result, Solver
from synaptax.checks import check_flags, check_integer
from synaptax.typing import Array


class _Carry(NamedTuple):
    epoch: Array
    state: Any
    errors: Array
    best: Array
    best_up: Array  # where the weights of ``best`` are +1
    moving: Array
    trace: tuple[Array, Array] | None


def solve(
    solver: Solver,
    instances: Instance,
    keys: Array,
    *,
    rates: Any = None,
    epochs: int = 300,
    slack: int = 0,
    width: int | None = 1,
    trace: bool = False,
) -> Result:
    """Run a solver on every instance, with every key and rate, in one program.

    Runs that are solved, or that have stopped moving, are frozen; the program ends when
    none is left. The errors of the best weights are counted again in NumPy's integers.

    Args:
        solver: :func:`free`, :func:`annealed`, :func:`committee`, or a baseline.
        instances: one instance, or a batch of B by :func:`binary.instances.stack`,
            whose members may differ in load.
        keys: typed keys: () for one run; (B,) for a run an instance; (B, R), or (R,)
            for one instance, for R runs each, which share their passes over the
            patterns.
        rates: the solver's knob, of a shape that broadcasts to that of the keys;
            default: the solver's own.
        epochs: passes over the patterns until a schedule is at its end.
        slack: passes after that.
        width: instances run side by side; the others wait. 1 is the fastest where a
            core's cache holds one instance and overhead is small; None for all.
        trace: record errors and q* at every epoch.

    Returns:
        The results, of the shape of ``keys``.

    Raises:
        ValueError: for shapes that do not fit, fewer than 1 epoch, rates that the
            solver would not take, or inputs that are not +-1 where they are int8.
        AssertionError: if a recount differs, which would be a bug.

    Example:
        >>> keys = jax.random.split(jax.random.key(0))
        >>> one = binary.storage(keys[0], 101, 0.3)
        >>> result = binary.solve(binary.free(), one, keys[1], epochs=100)
        >>> bool(result.solved), binary.verify(result.weights, one).errors
        (True, 0)
    """
    if not isinstance(solver, Solver):
        raise ValueError(
            f"solver: expected a Solver, such as binary.free(), got {solver!r}"
        )
    _check(instances, keys)
    check_flags(trace=trace)
    epochs = check_integer("epochs", epochs, 1, expected="at least 1")
    slack = check_integer("slack", slack, 0)
    if width is not None:
        width = check_integer("width", width, 1, expected="at least 1")
    if solver.units > 1 and np.any(np.asarray(instances.margin) != 0):
        raise ValueError(f"instances: {solver.name} knows no margin; expected 0")
    single = instances.patterns.ndim == 2
    shape = keys.shape
    if single:
        instances = jax.tree.map(lambda leaf: leaf[None], instances)
        keys = keys[None]
    keys = keys.reshape(keys.shape[0], -1)
    rates = _rates(solver, rates)
    try:
        rates = jnp.broadcast_to(rates, shape).reshape(keys.shape)
    except ValueError as error:
        raise ValueError(
            f"rates: expected a shape that broadcasts to the keys' {shape}, got "
            f"{rates.shape}"
        ) from error
    result = _run(solver, instances, keys, rates, epochs, slack, width, trace)
    _recount(result, instances)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[2:]), result)


def _rates(solver: Solver, rates: Any) -> Array:
    """Return the rates of runs, float32, each one that the solver takes."""
    rates = array(solver.rate if rates is None else rates, "rates").astype(jnp.float32)
    top = np.float32(solver.largest)
    if not np.all((rates >= 0) & (rates <= top)):
        raise ValueError(
            f"rates: expected numbers from 0 to {top:g} for {solver.name}, got {rates}"
        )
    return rates


def _check(instances: Instance, keys: Array) -> None:
    check_instance(instances, "instances", (2, 3))
    typed = isinstance(keys, jax.Array)
    if not (typed and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)):
        kind = keys.dtype if typed else type(keys).__name__
        raise ValueError(f"keys: expected typed keys, got {kind}")
    batched = instances.patterns.ndim == 3
    count = len(instances.patterns) if batched else None
    wrong = keys.ndim > 1 + batched or (batched and keys.shape[:1] != (count,))
    if wrong:
        expected = f"({count},) or ({count}, R)" if batched else "() or (R,)"
        raise ValueError(f"keys: expected shape {expected}, got {keys.shape}")


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6, 7))
def _run(
    solver: Solver,
    instances: Instance,
    keys: Array,
    rates: Array,
    epochs: int,
    slack: int,
    width: int | None,
    trace: bool,
) -> Result:
    def one(row: tuple[Instance, Array, Array]) -> Result:
        problem = problem_of(row[0])
        once = functools.partial(run, solver, problem, epochs, slack, trace)
        return jax.vmap(once)(*row[1:])

    rows = (instances, keys, rates)
    if width is None or width >= len(keys):
        return jax.vmap(one)(rows)
    return lax.map(one, rows, batch_size=None if width == 1 else width)


def problem_of(one: Instance) -> Problem:
    """Return an instance in the forms that steps want."""
    return Problem(one, batch_of(one))


def count_errors(m: Array, problem: Problem) -> Array:
    """Return the errors of sign(m)."""
    batch = problem.batch
    if batch.packed is None:
        return errors(mode(m), problem.given)
    if m.ndim == 2:
        # Integers below 2^24, exact in float32.
        fields = jax.vmap(sign_product, (None, 1))(batch.packed.rows, m >= 0)
        exact = majority(fields, axis=0).astype(jnp.float32)
    else:
        exact = sign_product(batch.packed.rows, m >= 0).astype(jnp.float32)
    wrong = (exact <= batch.threshold) & batch.valid
    return jnp.sum(wrong, dtype=jnp.int32)


def run(
    solver: Solver,
    problem: Problem,
    epochs: int,
    slack: int,
    trace: bool,
    key: Array,
    rate: Array,
) -> Result:
    """Run a solver once on one instance; pure, to be batched by ``vmap``."""
    first, rest = jax.random.split(key)
    state = solver.init(first, problem)
    total = epochs + slack

    def more(carry: _Carry) -> Array:
        return (carry.epoch < total) & (carry.errors > 0) & carry.moving

    def body(carry: _Carry) -> _Carry:
        epoch = carry.epoch + 1
        progress = jnp.minimum(epoch.astype(jnp.float32) / epochs, 1)
        clock = Clock(carry.epoch, progress, carry.errors)
        turn = jax.random.fold_in(rest, carry.epoch)
        state = solver.step(turn, carry.state, problem, rate, clock)
        m = solver.magnetisations(state)
        wrong = count_errors(m, problem)
        moving = carry.moving
        if solver.tolerance:
            shift = jnp.abs(m - solver.magnetisations(carry.state))
            moving = jnp.max(shift) > solver.tolerance
        better = wrong < carry.best
        return _Carry(
            epoch=epoch,
            state=state,
            errors=wrong,
            best=jnp.where(better, wrong, carry.best),
            best_up=jnp.where(better, m >= 0, carry.best_up),
            moving=moving,
            trace=_record(carry.trace, epoch, wrong, m),
        )

    m = solver.magnetisations(state)
    wrong = count_errors(m, problem)
    record = None
    if trace:
        blank = (jnp.full(total + 1, -1, jnp.int32), jnp.full(total + 1, jnp.nan))
        record = _record(blank, jnp.int32(0), wrong, m)
    # The start counts, too: a run that begins at a solution does no epoch.
    start = _Carry(jnp.int32(0), state, wrong, wrong, m >= 0, jnp.bool_(True), record)
    end = lax.while_loop(more, body, start)
    m = solver.magnetisations(end.state)
    return Result(
        solved=end.errors == 0,
        epochs=end.epoch,
        errors=end.errors,
        best=end.best,
        best_weights=jnp.where(end.best_up, 1, -1).astype(jnp.int8),
        weights=mode(m),
        m=m,
        overlap=self_overlap(m.ravel()),
        trace=end.trace,
    )


def _record(
    trace: tuple[Array, Array] | None, epoch: Array, wrong: Array, m: Array
) -> tuple[Array, Array] | None:
    if trace is None:
        return None
    return trace[0].at[epoch].set(wrong), trace[1].at[epoch].set(
        self_overlap(m.ravel())
    )


def _recount(result: Result, instances: Instance) -> None:
    """Raise unless the weights of +-1 patterns err as often as the solver counted."""
    if not is_binary(instances):
        return
    # In NumPy, by verify(), which shares no code with what counted before.
    host, runs = jax.tree.map(np.asarray, (instances, result._replace(trace=None)))
    for at in np.ndindex(runs.best.shape):
        one = Instance(*(leaf[at[0]] for leaf in host))
        verdict = verify(runs.best_weights[at], one)
        if verdict.errors != runs.best[at]:
            raise AssertionError(
                f"run {at[0]}, {at[1]}: the best weights make {verdict.errors} errors, "
                f"counted as {runs.best[at]}"
            )
        if runs.solved[at]:
            verdict = verify(runs.weights[at], one)
            if not verdict.solved:
                raise AssertionError(
                    f"run {at[0]}, {at[1]}: {verdict.errors} errors in a solution"
                )
