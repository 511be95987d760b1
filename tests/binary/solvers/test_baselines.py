"""The baselines: a step by hand, and an easy load solved."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from binary import instances, solvers

module = importlib.import_module("binary.solvers._solve")
SIZE, KEY = 101, jax.random.key(7)
CLOCK = solvers.Clock(jnp.int32(0), jnp.float32(1.0), jnp.int32(7))


@pytest.mark.parametrize(
    ("solver", "load", "epochs"),
    [
        (solvers.sbpi(bound=19), 0.4, 200),
        (solvers.amp(rate=3e-3), 0.4, 400),
        (solvers.amp(rate=3e-3, cycle=200), 0.4, 400),
        (solvers.focusing(), 0.4, 400),
        (solvers.straight_through(batch=10), 0.15, 400),
        (solvers.annealing(), 0.2, 60),
        (solvers.annealing(energy="errors", rate=0.5), 0.1, 60),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_easy_load_is_solved(solver, load, epochs):
    keys = jax.random.split(KEY, 6)
    ones = instances.stack([instances.storage(key, SIZE, load) for key in keys[:3]])
    found = solvers.solve(solver, ones, keys[3:], epochs=epochs, width=None)
    assert int(found.solved.sum()) >= 2
    assert float(jnp.max(jnp.abs(found.m))) <= 1


def test_sbpi_against_a_plain_loop():
    one = instances.storage(KEY, SIZE, 0.5)
    problem = module.problem_of(one)
    solver = solvers.sbpi(bound=3)
    state = solver.init(KEY, problem)
    for seed in range(3):  # until the bound is met
        key = jax.random.key(seed)
        keys = jax.random.split(key)
        order = jax.random.permutation(keys[0], 50)
        lucky = np.asarray(jax.random.uniform(keys[1], (50,)) < 0.3)
        h = np.asarray(state.hidden, int)
        for turn, index in enumerate(np.asarray(order)):
            row = np.asarray(one.patterns[index], int)
            w = np.where(h > 0, 1, -1)
            if w @ row <= 0:
                h = h + 2 * row
            elif w @ row <= 1 and lucky[turn]:
                h = h + 2 * row * (w == row)
            h = np.clip(h, -3, 3)
        state = jax.jit(solver.step)(key, state, problem, jnp.float32(0.3), CLOCK)
        np.testing.assert_array_equal(state.hidden, h)
    assert np.all(h % 2 != 0) and np.any(np.abs(h) == 3)


def test_annealing_at_no_temperature_never_climbs():
    one = instances.storage(KEY, SIZE, 0.5)
    problem = module.problem_of(one)
    solver = solvers.annealing()
    state = solver.init(KEY, problem)
    patterns = np.asarray(one.patterns, int)

    def distance(state):
        fields = patterns @ np.where(np.asarray(state.up), 1, -1)
        np.testing.assert_array_equal(fields, state.fields)
        return np.sum(np.maximum((1 - fields) // 2, 0))

    before = distance(state)
    state = jax.jit(solver.step)(KEY, state, problem, jnp.float32(1.0), CLOCK)
    assert distance(state) < before


def test_amp_at_its_fixed_point_is_that_of_the_equations():
    """Without reinforcement, at a low load, AMP settles, and on TAP's equations."""
    one = instances.storage(KEY, 401, 0.1)
    problem = module.problem_of(one)
    solver = solvers.amp(planes=None)
    state = solver.init(KEY, problem)
    step = jax.jit(solver.step)
    for _ in range(40):
        last, state = state, step(KEY, state, problem, jnp.float32(0.0), CLOCK)
    np.testing.assert_allclose(state.h, last.h, atol=1e-4)
    m, g = np.tanh(np.asarray(state.h, float)), np.asarray(state.g, float)
    x = np.asarray(one.patterns, float) / np.sqrt(401)
    spread = np.mean(1 - m * m)
    omega = x @ m - spread * g
    t = omega / np.sqrt(spread)
    wanted = norm.pdf(t) / norm.cdf(t) / np.sqrt(spread)
    np.testing.assert_allclose(g, wanted, atol=1e-3)
    reaction = np.sum(g * (g + omega / spread)) / 401
    np.testing.assert_allclose(np.arctanh(m), x.T @ g + m * reaction, atol=1e-3)


def test_bad_options_are_refused():
    for bound in (0, 4, 40001):
        with pytest.raises(ValueError, match="bound: expected an odd number"):
            solvers.sbpi(bound=bound)
    for name, value in (("cycle", 0), ("start", 1.0), ("field", -0.1)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            solvers.amp(**{name: value})
    with pytest.raises(ValueError, match="energy: expected 'distance' or"):
        solvers.annealing(energy="heat")
    with pytest.raises(ValueError, match="batch: expected an integer >= 1"):
        solvers.straight_through(batch=0)
    with pytest.raises(ValueError, match="sharpness: expected a number > 0"):
        solvers.straight_through(sharpness=0.0)


# As users call them: without the checks of annotations, which only the tests switch on.
AMP, FOCUSING, FREE, ANNEALED, COMMITTEE, STRAIGHT, SBPI, ANNEALING, POWER = map(
    inspect.unwrap,
    (
        solvers.amp,
        solvers.focusing,
        solvers.free,
        solvers.annealed,
        solvers.committee,
        solvers.straight_through,
        solvers.sbpi,
        solvers.annealing,
        solvers.power,
    ),
)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (AMP, {"cycle": (2.5, True, "3", 0), "planes": (2.5, 1, np.True_)}),
        (AMP, {"start": ("a", True, None, 1.0), "field": (jnp.ones(1), "1")}),
        (AMP, {"rate": (-1.0, float("nan"), float("inf"), [1, [2]])}),
        (FOCUSING, {"rate": (5.0, -1.0, "1"), "planes": (2.5, "3")}),
        (FOCUSING, {"schedule": ("linear", solvers.power, lambda t: [t], 0.5)}),
        (FREE, {"batch": (2.5, True, "3", 0), "momentum": ("a", True, None, 1.0)}),
        (FREE, {"scale": (0.0, float("inf"), "1"), "planes": (1, 2.5, True)}),
        (ANNEALED, {"rate": (float("nan"), "1"), "schedule": ("linear", 0.5)}),
        (COMMITTEE, {"units": (2.5, True, "3", 0), "planes": (1, True)}),
        (COMMITTEE, {"rate": (float("inf"),), "schedule": (solvers.power,)}),
        (STRAIGHT, {"batch": (True, 0, 2.5), "sharpness": (float("nan"), "1", -1)}),
        (SBPI, {"bound": (2.0, True, "61"), "rate": (1.5, -0.1, float("nan"))}),
        (SBPI, {"threshold": ("1", None, float("inf"))}),
        (ANNEALING, {"rate": (-1.0, float("nan"), "1", True)}),
        (POWER, {"exponent": ("2", True, float("inf"), 0.0)}),
    ],
)
def test_solvers_refuse_options_when_they_are_made(make, options):
    first: dict = {
        POWER: {"exponent": 1.0},
        AMP: {"cycle": 1, "planes": 2},
        FREE: {"batch": 1},
    }  # 1 == True
    first |= {STRAIGHT: {"batch": 1}, COMMITTEE: {"units": 1}, SBPI: {"bound": 1}}
    make(**first.get(make, {}))
    for name, values in options.items():
        for value in values:
            with pytest.raises(ValueError, match=f"^{name}: expected"):
                make(**{name: value})


def test_scalars_of_numpy_and_jax_are_options_and_one_set_is_one_solver():
    wanted = AMP(planes=12, cycle=5, rate=0.25, start=0.5, field=1.0)
    given = {"rate": np.float32(0.25), "start": jnp.array(0.5), "field": 1}
    assert AMP(planes=np.int64(12), cycle=jnp.array(5), **given) is wanted
    other = FOCUSING(rate=jnp.bfloat16(0.5))
    assert other is FOCUSING(rate=0.5) and other.rate == 0.5


def test_real_inputs_are_refused_where_they_cannot_be():
    one = instances.storage(KEY, 10, 0.5, real=True)
    for solver in (
        solvers.sbpi(),
        solvers.amp(),
        solvers.focusing(),
        solvers.annealing(),
    ):
        with pytest.raises(ValueError, match=r"expected an instance with \+-1 inputs"):
            solvers.solve(solver, one, KEY)


def plain_replies(h, g, patterns):
    """AMP's fields by loops over sums, in float64."""
    m = np.tanh(h)
    spread = np.mean(1 - m * m)
    t = (patterns @ m / np.sqrt(len(m)) - spread * g) / np.sqrt(spread)
    new = np.exp(norm.logpdf(t) - norm.logcdf(t)) / np.sqrt(spread)
    reaction = np.sum(new * (new + t / np.sqrt(spread))) / len(m)
    return patterns.T @ new / np.sqrt(len(m)) + m * reaction, new


def test_restarts_against_plain_equations():
    one = instances.storage(KEY, SIZE, 0.5)
    problem, patterns = module.problem_of(one), np.asarray(one.patterns, float)
    solver = solvers.amp(planes=None, cycle=3, field=0.4, start=0.2, rate=0.05)
    state, step = solver.init(KEY, problem), jax.jit(solver.step)
    fields = []
    for epoch in range(7):
        attempt, turn = divmod(epoch, 3)
        lean = 0.4 * np.asarray(
            instances.random_signs(jax.random.fold_in(KEY, attempt), (SIZE,)), float
        )
        if turn == 0:
            h, g = lean, np.zeros(50)
            fields.append(lean)
        said, g = plain_replies(h, g, patterns)
        r = 0.2 + 0.05 * turn
        h = said + r * h + (1 - r / 0.6) * lean
        clock = CLOCK._replace(epoch=jnp.int32(epoch))
        state = step(KEY, state, problem, jnp.float32(0.05), clock)
        np.testing.assert_allclose(state.h, h, rtol=2e-3, atol=2e-3)
    assert not np.array_equal(fields[0], fields[1])


def test_focusing_against_plain_equations():
    one = instances.storage(KEY, SIZE, 0.5)
    problem, patterns = module.problem_of(one), np.asarray(one.patterns, float)
    solver = solvers.focusing(planes=None)
    state = solver.init(KEY, problem)
    step, h, g = jax.jit(solver.step), np.asarray(state.h, float), np.zeros(50)
    for rho in (0.1, 0.4, 0.7):
        a, g = plain_replies(h, g, patterns)
        # y - 1 messages through the centre, each tanh^2 gamma = rho
        centre = np.tanh(np.arctanh(np.sqrt(rho) * np.tanh(a)) / (1 - rho))
        f = np.arctanh(np.sqrt(rho) * centre)
        h = (1 - rho) * (a + f) + rho * h
        clock = CLOCK._replace(progress=jnp.float32(rho))
        state = step(KEY, state, problem, jnp.float32(1.0), clock)
        np.testing.assert_allclose(state.h, h, rtol=2e-3, atol=2e-3)


def test_the_field_through_the_centre_is_finite_where_everything_saturates():
    focus = importlib.import_module("binary.solvers._focusing")
    pulled = focus.through_centre(jnp.array([-50.0, 0.0, 50.0]), jnp.float32(0.9999))
    assert np.all(np.isfinite(pulled)) and float(pulled[1]) == 0


def test_restarts_take_paths_that_the_key_decides():
    one = instances.storage(KEY, SIZE, 1.2)  # beyond capacity: every attempt fails
    solver = solvers.amp(cycle=15, rate=0.03)
    keys = jax.random.split(KEY, 2)[jnp.array([0, 1, 0])]
    found = solvers.solve(solver, one, keys, epochs=40, trace=True)
    assert found.trace is not None
    first, other, again = np.asarray(found.trace[0])
    assert not found.solved.any() and np.all(found.epochs == 40)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first[1:15], first[16:30])  # another field
