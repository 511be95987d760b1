import numpy as np
import pytest

from binary.theory import (
    Ensemble,
    control,
    flip_energy,
    gardner,
    mode_energy,
    mode_overlaps,
    reference,
    replicon,
    spherical,
    stochastic,
    typical,
)
from tests.binary.theory import reference as tables


def ensemble_of(key) -> Ensemble:
    if key == "typical":
        return typical(0.55)
    return stochastic(0.55, key, 20.0, window=tables.WINDOW).ensemble


@pytest.mark.parametrize("key", tables.FLIP_ENERGY)
def test_reference_robustness(key):
    ensemble = ensemble_of(key)
    got = [flip_energy(ensemble, d) for d in tables.FLIPS]
    np.testing.assert_allclose(got, tables.FLIP_ENERGY[key], atol=6e-5)


def test_typical_solutions_make_no_error_and_have_the_gardner_replicon():
    ensemble = typical(0.55)
    assert mode_energy(ensemble) == 0
    np.testing.assert_allclose(mode_overlaps(ensemble), (1, ensemble.q), rtol=1e-12)
    np.testing.assert_allclose(replicon(ensemble), gardner(0.55).replicon, rtol=1e-10)


def test_spherical_reference():
    ensemble = spherical(0.55)
    np.testing.assert_allclose(
        (ensemble.q, ensemble.q_hat), (0.336705, 0.765309), atol=1e-6
    )
    np.testing.assert_allclose(mode_overlaps(ensemble)[0], np.sqrt(2 / np.pi))
    np.testing.assert_allclose(mode_energy(ensemble), 0.2326, atol=5e-5)


@pytest.mark.parametrize("make", [typical, spherical])
def test_half_of_the_weights_flipped_is_chance(make):
    np.testing.assert_allclose(flip_energy(make(0.4), 0.5), 0.5, rtol=1e-10)


def test_flips_by_drawing_the_joint_fields():
    """Draw (z0, u) from their measure, the mode's field given them, and flip."""
    ensemble = stochastic(0.55, 0.6, 10.0).ensemble
    rng = np.random.default_rng(1)
    n = 200_000
    rows = rng.choice(len(ensemble.z.nodes), n, p=ensemble.z.weights)
    picks = (np.cumsum(ensemble.u.weights, axis=1)[rows] < rng.random((n, 1))).sum(
        axis=1
    )
    z0, u = ensemble.z.nodes[rows], ensemble.u.nodes[rows, np.minimum(picks, 119)]
    p_m, t = mode_overlaps(ensemble)
    q, variance = ensemble.q, ensemble.variance
    # sign(m)'s field is Gaussian, of unit variance, jointly with z0 and u
    covariance = np.array([t / np.sqrt(q), (p_m - t) / np.sqrt(variance)])
    rest = np.sqrt(1 - covariance @ covariance)
    mode = covariance[0] * z0 + covariance[1] * u + rest * rng.standard_normal(n)
    flipped = 0.8 * mode + 0.6 * rng.standard_normal(n)
    mean = np.mean(flipped < 0)
    error = np.sqrt(mean * (1 - mean) / n)
    assert abs(mean - flip_energy(ensemble, 0.1)) < 4 * error


def test_mode_of_binary_control_variables_is_the_configuration_itself():
    point = control(0.55, 0.8, 10.0)
    assert point.mean_abs == pytest.approx(1)
    assert point.alignment == pytest.approx(point.q)
    below = point.ensemble.field < 0
    mass = point.ensemble.outer(point.ensemble.field_average(below * 1.0))
    np.testing.assert_allclose(point.energy_mode, mass, rtol=1e-6)


@pytest.mark.parametrize("distance", [-0.01, 0.51, float("nan")])
def test_a_distance_out_of_range_is_named(distance):
    with pytest.raises(ValueError, match=r"distance: expected .* in \[0, 0.5\]"):
        flip_energy(typical(0.4), distance)


def test_references_by_name():
    point = stochastic(0.4, 0.6, 5.0)
    same = reference("stochastic", 0.4, q_star=0.6, beta=5.0)
    assert (same.name, same.q) == ("stochastic", point.q)
    assert reference("control", 0.4, q_star=0.6, beta=5.0).q_self == 1
    for name, make in (("typical", typical), ("spherical", spherical)):
        assert reference(name, 0.4).q == make(0.4).q


def test_an_unknown_reference_is_named():
    with pytest.raises(ValueError, match="reference: expected one of typical"):
        reference("gaussian", 0.4)
