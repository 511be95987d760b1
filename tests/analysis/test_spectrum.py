"""Densities of eigenvalues: they integrate to 1 and put mass where it belongs."""

import jax.numpy as jnp
import numpy as np
import pytest

from analysis import spectrum
from tests.analysis.test_curvature import operator_of, symmetric


def with_eigenvalues(values, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    matrix = (q * np.asarray(values)) @ q.T
    return jnp.asarray((matrix + matrix.T) / 2, jnp.float32)


def test_two_clusters_share_the_mass(key):
    values = np.concatenate([np.full(30, -1.0), np.full(70, 2.0)])
    found = spectrum.spectral_density(
        operator_of(with_eigenvalues(values)), key, steps=20, probes=16
    )
    np.testing.assert_array_equal(found.valid_steps, 2)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    for low, high, wanted in [(-1.1, -0.9, 0.3), (1.9, 2.1, 0.7)]:
        share, error = spectrum.mass(found, low, high)
        assert abs(share - wanted) < 3 * error
        assert error < 0.05
    assert spectrum.mass(found, -1.1, 2.1)[0] == pytest.approx(1)


def test_the_density_integrates_to_one_and_has_the_mean_of_the_spectrum(key):
    matrix = symmetric(60)
    found = spectrum.spectral_density(operator_of(matrix), key, probes=12)
    bandwidth = 0.3
    curve = spectrum.smoothed(found, bandwidth)
    assert curve.grid.shape == curve.density.shape == curve.standard_error.shape
    assert np.trapezoid(curve.density, curve.grid) == pytest.approx(1, abs=1e-5)
    # Against all eigenvalues smoothed alike, within the band of the probes.
    values = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
    gap = (curve.grid[:, None] - values[None, :]) / bandwidth
    truth = np.exp(-(gap**2) / 2).mean(axis=1) / (bandwidth * np.sqrt(2 * np.pi))
    off = np.abs(curve.density - truth) / (curve.standard_error + 1e-4)
    assert np.mean(off < 3) > 0.95
    mean = np.trapezoid(curve.grid * curve.density, curve.grid)
    error = np.std((found.nodes * found.weights).sum(axis=1), ddof=1) / np.sqrt(12)
    assert abs(mean - values.mean()) < 3 * error


@pytest.mark.parametrize("density", [1.0, 0.5, 0.05])
def test_both_views_of_a_mask(key, density):
    size = 40
    mask = jnp.arange(size) < round(density * size)
    matrix = jnp.diag(jnp.where(mask, jnp.linspace(1.0, 2.0, size), 0))
    operator = operator_of(matrix, mask=mask)
    survivors = spectrum.spectral_density(operator, key, probes=4)
    assert survivors.at_zero == 0
    assert spectrum.mass(survivors, 0.9, 2.1)[0] == pytest.approx(1)
    everything = spectrum.spectral_density(operator, key, probes=4, view="all")
    assert everything.at_zero == pytest.approx(1 - density)
    assert spectrum.mass(everything, -0.1, 0.1)[0] == pytest.approx(1 - density)
    curve = spectrum.smoothed(everything, 0.02)
    assert np.trapezoid(curve.density, curve.grid) == pytest.approx(1, abs=1e-5)
    near = np.abs(curve.grid) < 0.2
    zero = np.trapezoid(np.where(near, curve.density, 0), curve.grid)
    assert zero == pytest.approx(1 - density, abs=1e-3)


def test_the_zeros_of_the_matrix_itself(key):
    values = np.concatenate([np.linspace(1, 2, 5), np.zeros(45)])
    found = spectrum.spectral_density(
        operator_of(with_eigenvalues(values)), key, steps=30, probes=32
    )
    share, error = spectrum.mass(found, -1e-3, 1e-3)
    assert abs(share - 0.9) < 3 * error
    zero = spectrum.spectral_density(operator_of(jnp.zeros((5, 5))), key, probes=2)
    assert spectrum.mass(zero, 0.0, 0.0) == (1, 0)
    np.testing.assert_array_equal(zero.valid_steps, 1)


def test_a_given_grid():
    found = spectrum.Spectrum(
        nodes=np.array([[0.0, 1.0], [0.0, 1.0]]),
        weights=np.array([[0.5, 0.25], [0.25, 0.5]]),
        at_zero=0.25,
        view="all",
        valid_steps=np.array([2, 2]),
        matvecs=4,
        seed=(0, 0),
        dtype="float32",
    )
    curve = spectrum.smoothed(found, 0.1, np.array([0.0, 1.0]))
    peak = 1 / (0.1 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(curve.density, [0.625 * peak, 0.375 * peak], rtol=1e-9)
    np.testing.assert_allclose(curve.standard_error, 0.125 * peak, rtol=1e-9)
    assert curve.bandwidth == 0.1


def test_bad_input(key):
    operator = operator_of(symmetric())
    with pytest.raises(ValueError, match="probes: expected at least 2"):
        spectrum.spectral_density(operator, key, probes=1)
    with pytest.raises(ValueError, match="steps: expected at least 1"):
        spectrum.spectral_density(operator, key, steps=0)
    with pytest.raises(ValueError, match="view: expected one of"):
        spectrum.spectral_density(operator, key, view="some")
    nothing = operator_of(jnp.zeros((3, 3)), mask=jnp.zeros(3, bool))
    with pytest.raises(ValueError, match="its mask keeps no weight"):
        spectrum.spectral_density(nothing, key)
    with pytest.raises(ValueError, match="operator: not symmetric"):
        spectrum.spectral_density(operator_of(jnp.triu(symmetric())), key)
    found = spectrum.spectral_density(operator, key, steps=2, probes=2)
    with pytest.raises(ValueError, match="bandwidth: expected"):
        spectrum.smoothed(found, 0.0)
    with pytest.raises(ValueError, match="low: expected"):
        spectrum.mass(found, 1.0, 0.0)
