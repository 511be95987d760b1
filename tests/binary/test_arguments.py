"""Arguments as a newcomer gives them: each is named, and none is computed with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfcx

import binary
from binary import network, success, theory
from binary.likelihood import inverse_mills
from binary.network import committee
from binary.overlay import jobs, sampler
from binary.projection import rescale
from binary.statistics import wilson
from tests import unchecked

KEY = jax.random.key(0)
ONE = binary.storage(KEY, 9, 0.6)
W = binary.mode(jnp.arange(-4.0, 5.0))
M = 0.5 * W.astype(jnp.float32)
LAYERS = network.Dense(7), network.Dense(3)
PARAMS = network.init(KEY, LAYERS, (9,))
PACKED = network.pack(LAYERS, PARAMS)
X = np.arange(45, dtype=np.uint8).reshape(5, 9)
NO_ARRAYS = [None, "abc", object(), [[1, 1], [1]], np.ones(3) * 1j, np.array(["a"])]


def refused(call, *names):
    """Check that a call raises a ValueError that begins with a name."""
    with unchecked(), pytest.raises(ValueError, match="^({})".format("|".join(names))):
        call()


def with_layer(**change):
    """Return the parameters of a network with something else in its first layer."""
    return PARAMS | {"layer_0": {**PARAMS["layer_0"], **change}}


ARRAYS = {
    "inputs": (
        binary.instance,
        lambda v: binary.predict(W, v),
        lambda v: binary.mean_predict(M, v),
    ),
    "labels": (lambda v: binary.instance([[1, 1, 1]] * 3, v),),
    "weights": (
        lambda v: binary.predict(v, ONE.patterns),
        lambda v: binary.errors(v, ONE),
        lambda v: binary.verify(v, ONE),
        lambda v: binary.local_entropy(ONE, v, [0.0]),
        committee.pack,
    ),
    "centre": (lambda v: binary.distance_counts(ONE, v),),
    "couplings": (lambda v: binary.local_entropy(ONE, W, v),),
    "m": (
        binary.mode,
        lambda v: binary.draw(KEY, v),
        lambda v: binary.gradient(v, ONE),
        lambda v: binary.mean_predict(v, ONE.patterns),
        lambda v: committee.stabilities(v, X, np.ones(5)),
    ),
    "x": (
        lambda v: network.propagate(LAYERS, PARAMS, v),
        lambda v: committee.errors(jnp.ones((9, 3)), v, np.ones(5)),
    ),
    "y": (lambda v: committee.log_likelihood(jnp.ones((9, 3)), X, v),),
    "rates": (lambda v: binary.solve(binary.free(), ONE, KEY, rates=v),),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_array_of_real_numbers_is_named(name):
    for call in ARRAYS[name]:
        for value in NO_ARRAYS:
            if not (name in ("labels", "rates") and value is None):  # their default
                refused(functools.partial(call, value), name)


def test_integers_that_jax_would_wrap_are_refused():
    wraps = np.full((1, 9), 2**32 + 1)
    refused(lambda: binary.instance(wraps), "inputs: expected numbers within int32")
    refused(lambda: binary.instance([[1, 1, 1]], wraps[0, :1]), "labels")
    refused(lambda: network.run_signs(LAYERS, network.mode(PARAMS), wraps), "x")
    refused(lambda: binary.mean_predict(M, wraps), "inputs")
    refused(lambda: binary.predict(W, 1e300 * X), "inputs: expected numbers within fl")


@pytest.mark.parametrize("value", ["False", 1, 0, 2.5])
def test_a_flag_is_true_or_false(value):
    refused(lambda: binary.storage(KEY, 9, 0.6, real=value), "real")
    refused(lambda: binary.teacher_student(KEY, 9, 0.6, real=value), "real")
    refused(lambda: binary.instance([[1, 1, 1]], binary=value), "binary")
    refused(lambda: binary.gradient(M, ONE, detach=value), "detach")
    refused(lambda: binary.free(detach=value), "detach")
    refused(lambda: binary.solve(binary.free(), ONE, KEY, trace=value), "trace")


NUMBERS = {
    "margin": (
        lambda v: binary.storage(KEY, 9, 0.6, margin=v),
        lambda v: binary.instance([[1, 1, 1]], margin=v),
    ),
    "load": (
        lambda v: binary.storage(KEY, 9, v),
        lambda v: success.Point("free", v, 1),
    ),
    "rate": tuple(
        lambda v, make=make: make(rate=v)
        for make in (
            *(binary.free, binary.annealed, binary.amp, binary.annealing),
            *(binary.committee, binary.focusing, binary.replicated, binary.sbpi),
            binary.straight_through,
        )
    ),
    "overlap": (binary.project_magnetisations,),
    "damping": (lambda v: binary.local_entropy(ONE, W, [0.0], damping=v),),
    "tolerance": (lambda v: binary.local_entropy(ONE, W, [0.0], tolerance=v),),
    "level": (lambda v: wilson(1, 5, level=v),),
    "wanted": (lambda v: network.init(KEY, LAYERS, (9,), wanted=v),),
    "scale": (lambda v: network.pack(LAYERS, PARAMS, scale=v),),
    "alpha": (theory.gardner, theory.spherical, lambda v: theory.control(v, 0.5, 1.0)),
    "kappa": (theory.capacity,),
    "q_star": (lambda v: theory.stochastic(0.5, v, 1.0),),
    "beta": (lambda v: theory.stochastic(0.5, 0.5, v),),
    "cut": (lambda v: theory.spherical(0.5, cut=v),),
    "distance": (theory.binary_entropy,),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_finite_real_and_no_text(name):
    values = ["0.5", object(), 1j, True, [0.5], np.ones(2), np.inf, -1.0, np.nan]
    for call in NUMBERS[name]:
        for value in values:
            if not (name in ("kappa", "scale") and type(value) is float and value < 0):
                refused(functools.partial(call, value), name)


INTEGERS = {
    "size": (lambda v: binary.storage(KEY, v, 0.6),),
    "epochs": (lambda v: binary.solve(binary.free(), ONE, KEY, epochs=v),),
    "slack": (lambda v: binary.solve(binary.free(), ONE, KEY, slack=v),),
    "width": (
        lambda v: binary.solve(binary.free(), ONE, KEY, width=v),
        lambda v: binary.local_entropy(ONE, W, [0.0], width=v),
    ),
    "sweeps": (lambda v: binary.local_entropy(ONE, W, [0.0], sweeps=v),),
    "total": (lambda v: wilson(1, v),),
    "count": (lambda v: wilson(v, 9),),
    "units": (network.Dense, binary.committee),
    "stride": (lambda v: network.Conv(2, 3, stride=v),),
    "chunk": (lambda v: network.predict(PACKED, X, chunk=v),),
    "grid": (lambda v: theory.stochastic(0.5, 0.5, 1.0, grid=v),),
    "instances": (lambda v: success.Point("free", 0.5, v),),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_a_count_is_a_whole_number(name):
    for call in INTEGERS[name]:
        for value in (-1, 2.5, 3.0, "3", True, np.nan, [3]):
            refused(functools.partial(call, value), name)


@pytest.mark.parametrize("key", [None, 0, np.zeros(3), jax.random.split(KEY)])
def test_a_key_is_one_key(key):
    refused(lambda: binary.storage(key, 9, 0.6), "key")
    refused(lambda: binary.draw(key, M), "key")
    refused(lambda: network.init(key, LAYERS, (9,)), "key")
    refused(lambda: network.sampled(LAYERS, PARAMS, X, key), "key")
    refused(lambda: network.draw(PARAMS, key), "key")


@pytest.mark.parametrize(
    "one",
    [
        None,
        tuple(ONE),
        ONE.patterns,
        binary.stack([ONE] * 5),  # as many as patterns, so that shapes broadcast
        ONE._replace(margin=jnp.float32(jnp.nan)),
        ONE._replace(margin=jnp.float32(-1)),
        ONE._replace(margin=jnp.ones(5)),
        ONE._replace(valid=jnp.ones(5, jnp.int32)),
        ONE._replace(valid=ONE.valid[:3]),
        ONE._replace(patterns=ONE.patterns[0]),
        ONE._replace(patterns=2 * ONE.patterns),
        ONE._replace(patterns=ONE.patterns.astype(jnp.complex64)),
        ONE._replace(patterns=jnp.full((5, 9), jnp.nan)),
    ],
    ids=range(13),
)
def test_what_is_no_whole_instance_is_refused_by_all(one):
    for call in (
        functools.partial(binary.errors, W),
        functools.partial(binary.verify, W),
        functools.partial(binary.stabilities, M),
        functools.partial(binary.log_likelihood, M),
        functools.partial(binary.gradient, M),
        binary.count_solutions,
        binary.solutions,
        lambda one: binary.distance_counts(one, W),
    ):
        refused(lambda call=call: call(one), "one")
    if getattr(getattr(one, "patterns", None), "ndim", 0) != 3:
        refused(lambda: binary.solve(binary.free(), one, KEY, epochs=1), "instances")
        refused(lambda: binary.local_entropy(one, W, [0.0]), "instances")
        refused(lambda: binary.stack([one]), "instances")


@pytest.mark.parametrize("solver", [binary.free, "free", None, binary.Solver])
def test_what_is_no_solver_is_named(solver):
    refused(lambda: binary.solve(solver, ONE, KEY), "solver")


@pytest.mark.parametrize("keys", [None, 0, "abc", [KEY, KEY], np.zeros(2, np.uint32)])
def test_what_are_no_keys_is_named(keys):
    refused(lambda: binary.solve(binary.free(), ONE, keys), "keys: expected typed keys")


@pytest.mark.parametrize(
    "weights", [M, 0 * M, 2 * W, W.astype(jnp.int16) * 257, jnp.ones((9, 2)), W[:5]]
)
def test_weights_are_signs_that_fit(weights):
    for inputs in (ONE.patterns, 0.5 * ONE.patterns.astype(jnp.float32)):
        refused(lambda x=inputs: binary.predict(weights, x), "weights", "inputs")
    refused(lambda: binary.errors(weights, ONE), "weights")


def test_a_committee_votes_over_its_units_whatever_the_shape_of_the_inputs():
    units = jnp.stack([W, -W, jnp.roll(W, 2)], axis=1)
    labels = binary.predict(units, ONE.patterns)
    assert labels.shape == (5,)
    pair = jnp.stack([ONE.patterns, -ONE.patterns])
    with unchecked():
        assert int(binary.predict(units, ONE.patterns[0])) == int(labels[0])
        assert binary.predict(units, pair).shape == (2, 5)
        assert binary.predict(W, pair).shape == (2, 5)
    hard = binary.instance(np.asarray(ONE.patterns), margin=0.5)
    refused(lambda: binary.errors(units, hard), "one: expected no margin")


def test_a_committee_counts_the_errors_of_real_inputs():
    rng = np.random.default_rng(0)
    m, x = rng.uniform(-0.9, 0.9, (9, 3)), 0.3 * rng.normal(size=(40, 9))
    y = np.sign(np.sign(x @ np.sign(m)).sum(axis=1))
    y[:7] *= -1
    arrays = [jnp.asarray(value, jnp.float32) for value in (m, x, y)]
    assert int(committee.errors(*arrays)) == 7
    for labels in (y[:, None], y[:1], y > 0):  # a column would broadcast to M x M
        refused(lambda y=labels: committee.log_likelihood(m, x, y), "y")
    refused(lambda: committee.errors(m[:, :2], x, y), "m")


@pytest.mark.parametrize(("size", "margin"), [(9, 5 / 3), (25, 1.4)])
def test_exact_and_recount_agree_on_a_pattern_at_the_margin(size, margin):
    """In float32 kappa sqrt(N) is a whole number here, in float64 a little less."""
    one = binary.instance(np.ones((1, size), int), margin=margin)
    edge = int(np.float32(margin) * np.float32(size**0.5))
    w = np.where(np.arange(size) < (size + edge) // 2, 1, -1)
    assert w.sum() == edge and binary.verify(w, one).errors == 1
    assert binary.distance_counts(one, w)[0] == 0


def test_the_mills_ratio_far_to_the_left():
    delta = -np.geomspace(40, 3e4, 60)
    expected = np.sqrt(2 / np.pi) / erfcx(-delta / np.sqrt(2))
    found = inverse_mills(jnp.asarray(delta, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    one = binary.instance(-np.ones((3, 9), int))  # Delta is -9 / sqrt(9e-5) at the top
    slope = jax.grad(binary.log_likelihood)(jnp.ones(9), one)
    np.testing.assert_allclose(slope, binary.gradient(jnp.ones(9), one), rtol=1e-4)
    np.testing.assert_allclose(slope, -3 * 9 / 9e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sixteen_bits_are_computed_in_more(dtype):
    m = M.astype(dtype)
    for function in (binary.gradient, binary.log_likelihood, binary.stabilities):
        found = function(m, ONE)
        assert found.dtype == dtype
        expected = np.asarray(function(M, ONE))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            np.asarray(found, float), expected, atol=scale * float(jnp.finfo(dtype).eps)
        )
    mean = dtype(-0.99)  # a uniform number of bfloat16 is a multiple of 1 / 128
    layer = {"m": jnp.full((100, 400), mean), "bias": jnp.zeros(400, dtype)}
    alone = binary.draw(KEY, layer["m"].ravel())
    draws = alone, network.draw({"l": layer}, KEY)["l"]["m"]
    for drawn in draws:
        error = np.sqrt((1 - float(mean) ** 2) / 40000)
        assert abs(np.mean(np.asarray(drawn, float)) - float(mean)) < 4 * error


def test_a_projection_in_float16_does_not_overflow():
    m = jax.random.uniform(KEY, (70000,), jnp.float16, -1, 1)
    found = np.asarray(rescale(m, jnp.float16(0.5)), float)
    np.testing.assert_allclose(np.mean(found**2), 0.5, rtol=2e-3)


def test_a_projection_takes_floating_leaves_and_one_overlap():
    tx = binary.project_magnetisations()
    for m, update in ((jnp.array([1, 0]), jnp.ones(2)), (jnp.ones(2), jnp.array([1]))):
        refused(lambda m=m, u=update: tx.update(u, tx.init(m), m), "updates", "params")
    ramp = binary.project_magnetisations(lambda count: jnp.array([0.1, 0.2]))
    refused(lambda: ramp.update(M[:2], ramp.init(M[:2]), M[:2]), "overlap")


@pytest.mark.parametrize(
    ("solver", "rate"),
    [
        (binary.free(), -0.1),
        (binary.amp(), -1.0),
        (binary.annealing(), -1.0),
        (binary.sbpi(bound=9), 2.0),
        (binary.focusing(), 1.5),
        (binary.replicated(2, pull=2.0), 0.6),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_rates_of_runs_are_those_that_the_solver_takes(solver, rate):
    refused(lambda: binary.solve(solver, ONE, KEY, rates=rate, epochs=1), "rates")


@pytest.mark.parametrize("schedule", [0.5, binary.power, lambda t: 1j * t])
def test_a_schedule_gives_a_real_scalar(schedule):
    refused(lambda: binary.annealed(schedule=schedule), "schedule")
    refused(lambda: binary.replicated(coupling=schedule), "coupling")


@pytest.mark.parametrize("given", [theory.gardner(0.5), "typical", None, 0.5])
def test_theory_names_what_is_no_ensemble(given):
    for call in (
        *(theory.mode_energy, theory.draw_energy, theory.loss, theory.replicon),
        lambda e: theory.franz_parisi(e, 0.3),
        lambda e: theory.franz_parisi_coupled(e, [0.3]),
    ):
        refused(functools.partial(call, given), "ensemble")


def test_theory_names_its_lists_its_window_and_its_ends():
    typical = theory.typical(0.5)
    for values in (0.3, None, "ab", []):
        refused(lambda v=values: theory.franz_parisi_curve(typical, v), "distance")
        refused(lambda v=values: theory.franz_parisi_coupled(typical, v), "couplings")
    for window in (3, (1, 2, 3)):
        refused(lambda w=window: theory.control(0.5, 0.5, 1.0, window=w), "window")
    refused(lambda: theory.critical_beta(0.5, 0.9, low=9.0, high=3.0), "high")
    refused(lambda: theory.critical_beta(0.5, 0.9, low=-1.0), "low")
    for cut in (0.5, 1000.0):  # too short for the variance, too long for the nodes
        refused(lambda c=cut: theory.spherical(0.5, cut=c), "cut")


@pytest.mark.parametrize("layers", [None, "ab", (), (7, 3), network.Dense(3)])
def test_layers_are_layers(layers):
    for call in (
        lambda: network.init(KEY, layers, (9,)),
        lambda: network.propagate(layers, PARAMS, X),
        lambda: network.pack(layers, PARAMS),
    ):
        refused(call, "layers")


@pytest.mark.parametrize(
    "params",
    [
        None,
        {"layer_0": PARAMS["layer_0"]},
        PARAMS | {"layer_2": PARAMS["layer_1"]},
        with_layer(m=PARAMS["layer_0"]["m"][:, :5]),
        with_layer(m=PARAMS["layer_0"]["m"].astype(jnp.int32)),
        with_layer(m=jnp.full((9, 7), jnp.nan)),
        with_layer(m="abc"),
        with_layer(bias=jnp.zeros(1)),
        with_layer(bias=jnp.full(7, jnp.nan)),
    ],
    ids=range(9),
)
def test_parameters_are_those_of_the_layers(params):
    for call in (
        lambda: network.propagate(LAYERS, params, X),
        lambda: network.sampled(LAYERS, params, X, KEY),
        lambda: network.run_signs(LAYERS, params, X),
        lambda: network.pack(LAYERS, params),
    ):
        refused(call, "params")


def test_networks_name_the_rest():
    refused(lambda: network.run_signs(LAYERS, PARAMS, X), "weights: layer_0/m")
    for size in (9, (0,), (9.0,), ("a",), ()):
        refused(lambda s=size: network.init(KEY, LAYERS, s), "input_shape")
    for what in (None, PARAMS, (1, 2)):
        refused(lambda w=what: network.predict(w, X), "network")
        refused(lambda w=what: network.save("never.npz", w), "network")
    for m in (jnp.full((9, 7), 2.0), jnp.full((9, 7), jnp.nan)):
        for call in (network.mode, network.self_overlaps, network.pull):
            refused(lambda c=call, m=m: c(with_layer(m=m)), "params")
    assert network.predict(PACKED, X[:0]).shape == (0,)  # NumPy knows no (0, -1)


def test_a_sampler_takes_what_it_was_derived_for():
    both = binary.stack([ONE, ONE])
    draw = functools.partial(sampler.sample, KEY, warm=1, kept=1)
    for one in (
        ONE,
        both._replace(margin=jnp.full(2, 0.5)),
        both._replace(valid=both.valid.at[1, 0].set(False)),
        both._replace(patterns=both.patterns.astype(jnp.float32)),
    ):
        refused(lambda one=one: draw(one, 0.5, 5.0), "instances")
    refused(lambda: draw(both, 1.0, 5.0), "q_star")
    refused(lambda: draw(both, 0.5, 0.0), "beta")
    refused(lambda: draw(both, 0.5, 5.0, kept=0), "kept")  # a mean of nothing
    once = jobs.Overlay(teacher_instances=1)  # an error of one row is NaN
    refused(lambda: jobs.check(once), "teacher_instances: expected at least 2")


def test_a_load_without_patterns_is_not_solved():
    for load in (0.0, -0.5):
        refused(lambda a=load: success.Point("free", a, 1), "load")
    refused(lambda: success.Point("nope", 0.5, 1), "method")
    refused(lambda: success.chunks([success.Point("free", 0.5, 3)], 0, 0), "size")
    chunk = success.Chunk(success.Point("free", 0.01, 1), 0, 1)
    refused(lambda: success.measure(chunk, 9, 5), "load")
    refused(lambda: success.measure(chunk._replace(count=1), 901, 5), "rows")
