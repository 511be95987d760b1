import numpy as np
import pytest

from binary.theory import (
    Ensemble,
    NotConverged,
    _franz_parisi,
    binary_entropy,
    control,
    franz_parisi,
    franz_parisi_coupled,
    franz_parisi_curve,
    gardner,
    spherical,
    stochastic,
    typical,
)
from tests.binary.theory import reference


def ensemble_of(key) -> Ensemble:
    if key == "typical":
        return typical(0.55)
    if key == "spherical":
        return spherical(0.55)
    return stochastic(0.55, key, 20.0, window=reference.WINDOW).ensemble


@pytest.mark.parametrize("key", ["typical", 0.7, 0.8, 0.9])
def test_reference_table(key):
    values = reference.FRANZ_PARISI[key]
    points = franz_parisi_curve(ensemble_of(key), reference.DISTANCES)
    np.testing.assert_allclose([p.entropy for p in points], values, atol=1e-4)
    np.testing.assert_allclose(
        [p.distance for p in points], reference.DISTANCES, atol=1e-9
    )
    assert all(p.residual < 1e-9 for p in points)


def test_spherical_column_is_that_of_weights_cut_at_three():
    """The reference's Gaussian weights were cut; 8 standard deviations change S."""
    distances = reference.DISTANCES[:3]
    values = reference.FRANZ_PARISI["spherical"][:3]
    cut = franz_parisi_curve(spherical(0.55, cut=3.0), distances)
    np.testing.assert_allclose([p.entropy for p in cut], values, atol=1e-4)
    wide = [franz_parisi_curve(spherical(0.55, cut=c), [0.1])[0] for c in (6.0, 8.0)]
    np.testing.assert_allclose(wide[0].entropy, wide[1].entropy, atol=1e-6)
    np.testing.assert_allclose(wide[1].entropy, 0.031640, atol=1e-5)


@pytest.mark.parametrize("alpha", reference.TYPICAL_ELSEWHERE)
def test_typical_solutions_at_other_loads(alpha):
    values = reference.TYPICAL_ELSEWHERE[alpha]
    points = franz_parisi_curve(typical(alpha), list(values))
    np.testing.assert_allclose(
        [p.entropy for p in points], list(values.values()), atol=1e-5
    )


def test_control_variables_at_the_norm_the_reference_stands_for():
    ensemble = control(0.55, 1 / 1.1, 20.0, window=reference.WINDOW).ensemble
    values = reference.CONTROL_DISTANCES
    points = franz_parisi_curve(ensemble, list(values))
    np.testing.assert_allclose(
        [p.entropy for p in points], list(values.values()), atol=1e-4
    )


MAKERS = {
    "typical": typical,
    "spherical": spherical,
    "stochastic": lambda alpha: stochastic(alpha, 0.8, 10.0).ensemble,
    "control": lambda alpha: control(alpha, 0.8, 10.0).ensemble,
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_maximum_is_the_gardner_entropy(name):
    ensemble = MAKERS[name](0.55)
    (peak,) = franz_parisi_coupled(ensemble, [0.0])
    np.testing.assert_allclose(peak.entropy, gardner(0.55).entropy, atol=1e-7)
    beside = franz_parisi_curve(ensemble, [peak.distance - 0.02, peak.distance + 0.02])
    assert all(p.entropy < peak.entropy for p in beside)


def test_typical_solutions_meet_at_their_own_overlap():
    (peak,) = franz_parisi_coupled(typical(0.55), [0.0])
    np.testing.assert_allclose(1 - 2 * peak.distance, gardner(0.55).q, atol=1e-7)


def test_coupled_points_of_the_reference():
    ensemble = stochastic(0.55, 0.8, 10.0, window=reference.WINDOW).ensemble
    points = franz_parisi_coupled(ensemble, reference.COUPLINGS)
    for values, name in zip(reference.COUPLED, ("distance", "entropy"), strict=True):
        got = [getattr(p, name) for p in points]
        np.testing.assert_allclose(got, values, atol=2e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_the_coupling_is_the_slope(name):
    step = 1e-3
    low, here, high = franz_parisi_curve(
        MAKERS[name](0.4), [0.2 - step, 0.2, 0.2 + step]
    )
    slope = (high.entropy - low.entropy) / (2 * step)
    np.testing.assert_allclose(2 * here.coupling, slope, rtol=1e-4)


def test_without_patterns_every_weight_counts():
    point = franz_parisi(typical(1e-4), 0.2)
    np.testing.assert_allclose(point.entropy, binary_entropy(0.2), atol=1e-3)
    assert point.entropy < binary_entropy(0.2)


def test_order_of_distances_does_not_matter():
    ensemble = typical(0.4)
    forward = franz_parisi_curve(ensemble, [0.1, 0.48])
    backward = franz_parisi_curve(ensemble, [0.48, 0.1])
    assert [p.entropy for p in forward] == [p.entropy for p in reversed(backward)]


@pytest.mark.parametrize("distances", [[0.6], [-0.1], [0.0], []])
def test_distances_out_of_range_are_named(distances):
    with pytest.raises(ValueError, match="distance: expected"):
        franz_parisi_curve(typical(0.4), distances)


def test_a_negative_coupling_is_named():
    with pytest.raises(ValueError, match="couplings: expected finite numbers >= 0"):
        franz_parisi_coupled(typical(0.4), [-1.0])


@pytest.mark.slow
def test_a_curve_keeps_the_points_that_were_found():
    """Around a spherical reference no solution is left near d = 0.09."""
    points = franz_parisi_curve(spherical(0.55), [0.4, 0.05, 0.3])
    assert [p.converged for p in points] == [True, False, True]
    np.testing.assert_allclose(
        [points[0].entropy, points[2].entropy], [0.267769, 0.260663], atol=1e-6
    )
    assert points[1].distance == 0.05 and np.isnan(points[1].entropy)
    with pytest.raises(NotConverged, match=r"d=0\.05\): no saddle point"):
        franz_parisi(spherical(0.55), 0.05)
    alone = franz_parisi_curve(spherical(0.55), [0.4, 0.3])
    assert [alone[0], alone[1]] == [points[0], points[2]]


def test_couplings_keep_the_points_that_were_found(monkeypatch):
    monkeypatch.setattr(_franz_parisi, "_LIMIT", 2)
    points = franz_parisi_coupled(spherical(0.55), [0.0, 3.0])
    assert [p.converged for p in points] == [False, False]
    assert points[1].coupling == 3.0 and np.isnan(points[1].distance)
