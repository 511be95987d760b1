"""Schedules at every step, against the formulas in plain Python."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import schedules


def updates_of(schedule, steps=30):
    return [t for t in range(steps) if bool(schedule.update(t))]


def test_one_shot():
    schedule = schedules.one_shot(3, 0.25)
    assert [float(schedule(t)) for t in range(6)] == [1, 1, 1, 0.25, 0.25, 0.25]
    assert updates_of(schedule) == [3]
    kept = [int(schedule.kept(t, 200_000_000)) for t in (2, 3, 4)]
    assert kept == [200_000_000, 50_000_000, 50_000_000]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.7, 0.9, 0.001])
def test_the_last_count_is_python_round_even_at_200_million(density):
    total = 200_000_003
    exact = round(density * total)
    assert int(schedules.one_shot(5, density).kept(5, total)) == exact
    gradual = schedules.polynomial(0, 5, density)
    traced = jax.jit(lambda step: gradual.kept(step, total))
    assert int(traced(5)) == exact == int(traced(99))


@pytest.mark.parametrize("power", [1, 3])
def test_polynomial(power):
    schedule = schedules.polynomial(4, 14, 0.2, power=power, every=3)
    for t in range(20):
        part = min(max((t - 4) / 10, 0), 1)
        assert float(schedule(t)) == pytest.approx(0.2 + 0.8 * (1 - part) ** power)
    assert updates_of(schedule) == [4, 7, 10, 13, 14]
    assert float(schedule(0)) == 1 and float(schedule(14)) == np.float32(0.2)


def test_polynomial_never_leaves_the_unit_interval_nor_rises():
    for density in np.linspace(0, 1, 23):
        schedule = schedules.polynomial(0, 50, float(density))
        path = np.asarray(jax.vmap(schedule)(jnp.arange(60)))
        assert path.min() >= np.float32(density) and path.max() <= 1
        assert (np.diff(path) <= 0).all()


def test_periodic():
    schedule = schedules.periodic(5, 0.5, begin=2, end=12)
    assert updates_of(schedule) == [2, 7, 12]
    found = [float(schedule(t)) for t in (0, 1, 2, 6, 7, 12, 17, 25)]
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125]
    late = schedules.periodic(5, 0.5, begin=16)
    assert [float(late(t)) for t in (0, 5, 15, 16)] == [1, 1, 1, 0.5]
    assert updates_of(schedules.periodic(10, 0.5)) == [0, 10, 20]
    assert int(schedule.kept(12, 80)) == 10


def test_int32_is_used_to_its_end():
    last = 2**31 - 1
    assert int(schedules.one_shot(last, 0.5).last(last)) == last
    assert int(schedules.one_shot(0, 1).kept(last, last)) == last
    with pytest.raises(ValueError, match="below 2"):
        schedules.one_shot(last + 1, 0.5)
    with pytest.raises(ValueError, match="below 2"):
        schedules.one_shot(0, 1).kept(0, last + 1)


def test_manual_never_updates():
    schedule = schedules.manual()
    assert updates_of(schedule) == []
    assert float(schedule(7)) == 1 and int(schedule.kept(7, 10)) == 10


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.one_shot(2, 0.5),
        schedules.polynomial(1, 5, 0.5),
        schedules.periodic(2, 0.5),
        schedules.manual(),
    ],
    ids=lambda s: type(s).__name__,
)
def test_types_under_jit(schedule):
    step = jnp.int32(3)
    target, due, kept = jax.jit(
        lambda t: (schedule(t), schedule.update(t), schedule.kept(t, 100))
    )(step)
    assert (target.dtype, due.dtype, kept.dtype) == (jnp.float32, bool, jnp.int32)
    assert (target.shape, due.shape, kept.shape) == ((), (), ())
    # Traced and eager are two programs: the target agrees to rounding.
    assert float(target) == pytest.approx(float(schedule(3)), rel=1e-6)
    assert bool(due) == bool(schedule.update(3))
    assert hash(schedule) == hash(schedule) and not target.weak_type


def test_the_class_begins_where_its_function_does():
    assert schedules.Periodic(2, 0.5) == schedules.periodic(2, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.one_shot(-1, 0.5), "step: expected an integer >= 0, got -1"),
        (lambda: schedules.one_shot(1, 1.5), r"density: expected a number in \[0, 1\]"),
        (lambda: schedules.one_shot(1, math.nan), "density: .* got nan"),
        (lambda: schedules.polynomial(5, 5, 0.5), "end: expected more than begin=5"),
        (lambda: schedules.polynomial(0, 5, -0.1), "density: expected a number"),
        (lambda: schedules.polynomial(0, 5, 0.1, power=0), "power: expected a number"),
        (
            lambda: schedules.polynomial(0, 5, 0.1, every=0),
            "every: expected an integer",
        ),
        (lambda: schedules.periodic(0, 0.5), "every: expected an integer >= 1, got 0"),
        (lambda: schedules.periodic(2, 1.0), r"factor: expected a number in \(0, 1\)"),
        (lambda: schedules.periodic(2, math.nan), "factor: .* got nan"),
        (lambda: schedules.periodic(2, 0.5, begin=4, end=3), "end: expected at least"),
        (lambda: schedules.periodic(2, 0.5, begin=-4), "begin: expected an integer"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
