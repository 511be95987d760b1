"""The likelihood and its gradient against autodiff, differences and exact sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import norm

from binary import instances, likelihood
from tests.binary import _exact

LIKELIHOOD = jax.jit(likelihood.log_likelihood)
GRADIENT = jax.jit(likelihood.gradient, static_argnames="detach")
DIRECTION = jax.jit(likelihood.ascent_direction, static_argnames=("radial", "planes"))


@pytest.fixture(scope="module", params=["binary", "real", "margin", "padded"])
def drawn(request):
    """An instance of 12 patterns of 21 columns, and an m, in float64."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(3), 2)
        margin = 0.4 if request.param == "margin" else 0.0
        real = request.param == "real"
        one = instances.storage(keys[0], 21, 12 / 21, margin=margin, real=real)
        if request.param == "padded":
            longer = instances.storage(keys[1], 21, 15 / 21)
            one = jax.tree.map(lambda leaf: leaf[0], instances.stack([one, longer]))
        m = jax.random.uniform(keys[1], (21,), jnp.float64, -0.95, 0.95)
        return one, m


def test_likelihood_is_the_sum_over_patterns(drawn):
    with jax.enable_x64(True):
        one, m = drawn
        found = LIKELIHOOD(m, one)
        kept = np.asarray(one.patterns, float)[np.asarray(one.valid)]
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(
            found, _exact.log_likelihood(np.asarray(m), kept, float(one.margin)), 1e-12
        )


def test_gradient_is_that_of_autodiff(drawn):
    with jax.enable_x64(True):
        one, m = drawn
        found = GRADIENT(m, one)
        wanted = jax.jit(jax.grad(likelihood.log_likelihood))(m, one)
        assert found.dtype == jnp.float64
        assert np.max(np.abs(found - wanted)) < 1e-12 * np.max(np.abs(wanted))


def test_gradient_is_that_of_finite_differences(drawn):
    with jax.enable_x64(True):
        one, m = drawn
        found = GRADIENT(m, one)
        small = 1e-6
        for index in range(0, 21, 4):
            step = jnp.zeros(21).at[index].set(small)
            rise = LIKELIHOOD(m + step, one)
            fall = LIKELIHOOD(m - step, one)
            np.testing.assert_allclose(found[index], (rise - fall) / 2 / small, 1e-6)


def test_detached_gradient_holds_the_variance(drawn):
    with jax.enable_x64(True):
        one, m = drawn
        inputs = one.patterns.astype(jnp.float64)
        spread = jnp.square(inputs) @ (1 - m * m)
        bound = likelihood.threshold(one, jnp.float64)

        def held(m):
            terms = jax.scipy.special.log_ndtr((inputs @ m - bound) / jnp.sqrt(spread))
            return jnp.sum(jnp.where(one.valid, terms, 0))

        found = GRADIENT(m, one, detach=True)
        np.testing.assert_allclose(found, jax.jit(jax.grad(held))(m), rtol=1e-11)


def test_gradient_from_bits_is_that_of_float32_to_their_rounding():
    keys = jax.random.split(jax.random.key(0))
    one = instances.storage(keys[0], 201, 0.6)
    m = jax.random.uniform(keys[1], (201,), minval=-1)
    batch = likelihood.batch_of(one)
    wanted = GRADIENT(m, one)
    scale = float(jnp.std(wanted))
    found = {
        planes: DIRECTION(m, batch, radial=True, planes=planes) for planes in (6, 12)
    }
    worst = {p: float(jnp.max(jnp.abs(g - wanted))) / scale for p, g in found.items()}
    assert worst[12] < 1e-2 < worst[6] < 0.5


@pytest.mark.parametrize(
    ("size", "overlap", "bound"),
    [  # the largest of 30 draws, measured once; half as much again is allowed
        (21, 0.0, 6e-4),
        (21, 0.3, 4e-3),
        (21, 0.7, 2e-2),
        (21, 0.9, 7e-2),
        (101, 0.0, 1e-4),
        (101, 0.3, 9e-4),
        (101, 0.7, 4e-3),
        (101, 0.9, 1.3e-2),
        (1001, 0.3, 9e-5),
        (1001, 0.7, 3e-4),
        (1001, 0.9, 1.3e-3),
    ],
)
def test_central_limit_error_is_that_of_the_table(size, overlap, bound):
    rng = np.random.default_rng(0)
    m = np.sqrt(overlap) * rng.choice([-1.0, 1.0], size)
    rows = rng.choice([-1, 1], (30, size))
    one = instances.instance(rows)
    with jax.enable_x64(True):
        delta = np.asarray(likelihood.stabilities(jnp.asarray(m), one))
    exact = [_exact.probability(m, row) for row in rows]
    assert np.max(np.abs(exact - norm.cdf(delta))) < 1.5 * bound


def test_likelihood_of_a_small_system_is_that_of_the_exact_distribution():
    one = instances.storage(jax.random.key(1), 101, 0.2)
    m = 0.5 * jax.random.normal(jax.random.key(2), (101,)).clip(-1, 1)
    exact = [
        _exact.probability(np.asarray(m, float), row)
        for row in np.asarray(one.patterns)
    ]
    found = np.exp(log_ndtr(np.asarray(likelihood.stabilities(m, one), float)))
    assert np.max(np.abs(found - exact)) < 4e-3
    np.testing.assert_allclose(
        likelihood.log_likelihood(m, one), np.sum(np.log(exact)), rtol=1e-2
    )


def test_inverse_mills_is_stable_far_left_in_float32():
    delta = np.linspace(-40, 8, 400)
    wanted = np.exp(-(delta**2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(delta))
    found = likelihood.inverse_mills(jnp.asarray(delta, jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-3)  # exp of a number near 800
    near = delta > -10
    np.testing.assert_allclose(found[near], wanted[near], rtol=2e-5)


def test_saturated_magnetisations_stay_finite():
    one = instances.storage(jax.random.key(1), 101, 0.5)
    m = jnp.where(jnp.arange(101) % 2 == 0, 1.0, -1.0)
    assert np.all(np.isfinite(GRADIENT(m, one)))
    assert float(likelihood.self_overlap(m)) == 1.0


@pytest.mark.parametrize(
    ("m", "message"),
    [
        (jnp.full(21, 1.5), r"m: expected magnetisations in \[-1, 1\], got 1.5"),
        (jnp.full(21, jnp.nan), "m: expected magnetisations"),
        (jnp.zeros(20), "m: expected 21 entries"),
        (jnp.zeros(21, jnp.int32), "m: expected a floating array"),
    ],
)
def test_bad_magnetisations_are_refused(m, message):
    one = instances.storage(jax.random.key(1), 21, 0.5)
    for function in (
        likelihood.log_likelihood,
        likelihood.gradient,
        likelihood.stabilities,
    ):
        with pytest.raises(ValueError, match=message):
            function(m, one)
