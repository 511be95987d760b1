import numpy as np
import pytest

from binary.theory import (
    NotConverged,
    StochasticPoint,
    control,
    critical_beta,
    stochastic,
)
from binary.theory._stochastic import solve_multiplier
from binary.theory.fields import tilted_nodes
from binary.theory.quadrature import gaussian_rule, split_rule
from binary.theory.special import log_gaussian, log_tail, tail
from tests.binary.theory import reference

NAMES = ("q", "q_hat", "multiplier", "free_entropy", "loss", "energy_draw")


@pytest.mark.parametrize("q_star", reference.STOCHASTIC)
def test_reference_table_with_its_own_window(q_star):
    *values, mode = reference.STOCHASTIC[q_star]
    point = stochastic(0.55, q_star, 20.0, window=reference.WINDOW)
    got = [getattr(point, name) for name in NAMES]
    np.testing.assert_allclose(point.q, values[0], atol=1e-6)
    np.testing.assert_allclose(got, values, rtol=3e-6, atol=1e-6)
    np.testing.assert_allclose(point.energy_mode, mode, rtol=1e-4)
    np.testing.assert_allclose(point.replicon, reference.REPLICON[q_star], atol=6e-5)
    if q_star in reference.MODE_OVERLAPS:
        np.testing.assert_allclose(
            (point.mean_abs, point.alignment),
            reference.MODE_OVERLAPS[q_star],
            atol=2e-6,
        )


@pytest.mark.parametrize(("alpha", "q_star"), reference.OTHER_LOADS)
def test_other_loads_with_the_window(alpha, q_star):
    q, mode, replicon = reference.OTHER_LOADS[alpha, q_star]
    point = stochastic(alpha, q_star, 20.0, window=reference.WINDOW)
    np.testing.assert_allclose(point.q, q, atol=1e-5)
    np.testing.assert_allclose(point.energy_mode, mode, rtol=1e-3)
    np.testing.assert_allclose(point.replicon, replicon, atol=6e-4)


@pytest.mark.parametrize("q_star", reference.REPLICON_AT_30)
def test_replicon_at_beta_30_with_the_window(q_star):
    point = stochastic(0.55, q_star, 30.0, window=reference.WINDOW)
    np.testing.assert_allclose(
        point.replicon, reference.REPLICON_AT_30[q_star], atol=1e-3
    )


@pytest.fixture(scope="module")
def point() -> StochasticPoint:
    return stochastic(0.55, 0.8, 20.0)


def test_nodes_that_follow_the_measure_are_converged(point):
    fine = stochastic(0.55, 0.8, 20.0, grid=2)
    for name in (*NAMES, "energy_mode", "replicon"):
        np.testing.assert_allclose(
            getattr(point, name), getattr(fine, name), rtol=2e-8, err_msg=name
        )


def test_cold_states_get_the_grid_they_need():
    """At beta 1000 the default nodes are too few; beyond the finest is an error."""
    cold = stochastic(0.55, 0.7, 1000.0)
    fine = stochastic(0.55, 0.7, 1000.0, grid=3)
    coarse = stochastic(0.55, 0.7, 1000.0, grid=1)
    np.testing.assert_allclose(cold.energy_mode, fine.energy_mode, rtol=1e-5)
    assert abs(coarse.energy_mode / fine.energy_mode - 1) > 1e-3
    with pytest.raises(NotConverged, match="needs a grid"):
        stochastic(0.55, 0.7, 1e5)


def test_cold_control_variables_beyond_the_grid_are_an_error():
    with pytest.raises(NotConverged, match="too close to 1 for the grid"):
        control(0.55, 0.5, 1e5)


def test_a_wider_window_approaches_the_default(point):
    wide = stochastic(0.55, 0.8, 20.0, window=gaussian_rule(1281, 20.0))
    np.testing.assert_allclose(wide.q, point.q, rtol=1e-8)
    np.testing.assert_allclose(wide.energy_mode, point.energy_mode, rtol=1e-6)
    narrow = stochastic(0.55, 0.8, 20.0, window=reference.WINDOW)
    assert abs(narrow.q - point.q) > 3e-4


def test_loss_is_the_derivative_of_the_free_entropy(point):
    step = 0.01
    up = stochastic(0.55, 0.8, 20 + step).free_entropy
    down = stochastic(0.55, 0.8, 20 - step).free_entropy
    np.testing.assert_allclose(-point.loss * 0.55, (up - down) / (2 * step), rtol=1e-6)


def test_free_entropy_grows_with_load_as_the_log_norm(point):
    """By stationarity d phi / d alpha is the energetic term, here by brute force."""
    step = 1e-4
    up = stochastic(0.55 + step, 0.8, 20.0).free_entropy
    down = stochastic(0.55 - step, 0.8, 20.0).free_entropy
    z, w = gaussian_rule(241)
    u, wu = gaussian_rule(2561, 30.0)
    gain = 1 / np.sqrt(0.2)
    field = np.sqrt(point.q) * z[:, None] + np.sqrt(0.8 - point.q) * u
    inner = np.exp(20 * log_tail(-gain * field)) @ wu
    np.testing.assert_allclose((up - down) / (2 * step), w @ np.log(inner), rtol=1e-6)


def test_energy_of_a_draw_is_the_response_to_its_own_field(point):
    """Reweight patterns by exp(eps H(Delta)): d log norm / d eps is the mean of H."""
    z, w = gaussian_rule(241)
    q, variance, gain = point.q, 0.8 - point.q, 1 / np.sqrt(0.2)
    edge = -np.sqrt(q / variance) * z
    u, plain = tilted_nodes(edge, gain * np.sqrt(variance), 20.0, 60)
    delta = gain * (np.sqrt(q) * z[:, None] + np.sqrt(variance) * u)

    def log_norm(eps):
        log_density = log_gaussian(u) + 20 * log_tail(-delta) + eps * tail(delta)
        return float(w @ np.log(np.sum(plain * np.exp(log_density), axis=1)))

    slope = (log_norm(1e-4) - log_norm(-1e-4)) / 2e-4
    np.testing.assert_allclose(point.energy_draw, slope, rtol=1e-7)


def test_replicon_is_the_growth_of_a_broken_overlap(point):
    """Split q into two levels that differ by little; one turn multiplies the gap."""
    z, w = gaussian_rule(241)
    x, wx = np.polynomial.hermite_e.hermegauss(9)
    wx = wx / wx.sum()
    q, q_star, gain, gap = point.q, 0.8, 1 / np.sqrt(0.2), 1e-6

    # energetic: g = d/dh log E_u Phi^beta(gain (h + sqrt(V) u)), V fixed at q* - q
    variance = q_star - q
    u, wu = gaussian_rule(1281, 20.0)

    def response(h):
        delta = gain * (h[:, None] + np.sqrt(variance) * u)
        mass = wu * np.exp(20 * log_tail(-delta))
        return (mass @ u) / mass.sum(axis=1) / np.sqrt(variance)

    def split(function, low, extra):
        values = np.stack(
            [function(np.sqrt(low) * z + np.sqrt(extra) * t) for t in x], axis=1
        )
        return w @ (values**2 @ wx) - w @ (values @ wx) ** 2

    gap_hat = point.alpha * split(response, q, gap)
    m, wm = split_rule(100)

    def magnetisation(h):
        mass = wm * np.exp(0.5 * point.multiplier * m**2 + h[:, None] * m)
        return (mass @ m) / mass.sum(axis=1)

    grown = split(magnetisation, point.q_hat, gap_hat)
    np.testing.assert_allclose(grown / gap, point.replicon, rtol=1e-4)


def test_the_almeida_thouless_line_has_replicon_one():
    line = critical_beta(0.55, 0.9, low=15.0, high=40.0)
    assert 20 < line.beta < 30
    np.testing.assert_allclose(line.replicon, 1, atol=1e-4)
    with pytest.raises(NotConverged, match="critical_beta"):
        critical_beta(0.55, 0.3, low=15.0, high=20.0)


def test_small_beta_is_the_free_measure():
    """At beta -> 0 nothing is learned: errors are a coin's and overlaps vanish."""
    free = stochastic(0.55, 0.4, 1e-4)
    assert free.q < 1e-6
    np.testing.assert_allclose([free.energy_draw, free.energy_mode], 0.5, atol=1e-3)


@pytest.mark.parametrize("q_hat", [0.5, 20.0, 90.0])
def test_multiplier_meets_the_norm(q_hat):
    z, rule = gaussian_rule(241), split_rule(60)
    a = solve_multiplier(q_hat, 0.6, z, rule, 0.0)
    mass = rule.weights * np.exp(
        0.5 * a * rule.nodes**2 + np.sqrt(q_hat) * z.nodes[:, None] * rule.nodes
    )
    square = (mass @ rule.nodes**2) / mass.sum(axis=1)
    np.testing.assert_allclose(z.weights @ square, 0.6, atol=1e-12)


@pytest.mark.parametrize("q_star", reference.CONTROL)
def test_control_variables_at_the_norm_the_reference_stands_for(q_star):
    q, phi, mode, replicon = reference.CONTROL[q_star]
    point = control(0.55, 1 / (2 - q_star), 20.0, window=reference.WINDOW)
    np.testing.assert_allclose(point.q, q, atol=1e-5)
    np.testing.assert_allclose(point.free_entropy, phi, atol=5e-5)
    np.testing.assert_allclose(point.energy_mode, mode, rtol=0.05)
    np.testing.assert_allclose(point.replicon, replicon, atol=1e-3)


def test_control_likelihood_has_the_gain_of_its_own_magnetisations():
    """Delta of m = sqrt(q*) sigma, from the definition, at finite N."""
    rng = np.random.default_rng(0)
    sigma, x = rng.choice([-1, 1], 101), rng.choice([-1, 1], (7, 101))
    m = np.sqrt(0.7) * sigma
    delta = x @ m / np.sqrt(np.sum(1 - m**2))
    gain = control(0.55, 0.7, 20.0).ensemble.gain
    np.testing.assert_allclose(delta, gain * (x @ sigma) / np.sqrt(101))


@pytest.mark.parametrize("solve", [stochastic, control])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.5, 20.0), "alpha: expected a finite load > 0"),
        ((0.55, 0.0, 20.0), "q_star: expected a number strictly between 0 and 1"),
        ((0.55, 1.0, 20.0), "q_star: expected a number strictly between 0 and 1"),
        ((0.55, 0.5, 0.0), "beta: expected a finite inverse temperature > 0"),
        ((0.55, 0.5, -3.0), "beta: expected a finite inverse temperature > 0"),
    ],
)
def test_arguments_out_of_range_are_named(solve, arguments, message):
    with pytest.raises(ValueError, match=message):
        solve(*arguments)
