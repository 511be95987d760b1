import numpy as np
import pytest
from scipy import optimize
from scipy import special as sp

from binary.theory import NotConverged, capacity, gardner
from binary.theory import gardner as exported
from tests.binary.theory import reference


@pytest.mark.parametrize("alpha", reference.GARDNER)
def test_reference_table(alpha):
    q, q_hat, entropy, replicon = reference.GARDNER[alpha]
    point = gardner(alpha)
    np.testing.assert_allclose(
        [point.q, point.q_hat, point.entropy], [q, q_hat, entropy], atol=1e-6, rtol=0
    )
    np.testing.assert_allclose(point.replicon, replicon, atol=6e-5)
    assert point.residual < 1e-12


@pytest.mark.parametrize("kappa", reference.CAPACITY)
def test_capacity_against_the_reference(kappa):
    tolerance = 5e-7 if kappa else 1e-7
    point = capacity(kappa)
    np.testing.assert_allclose(point.alpha, reference.CAPACITY[kappa], atol=tolerance)
    assert abs(point.entropy) < 1e-12


@pytest.mark.parametrize("kappa", [0.0, 0.1, 0.5, 1.0])
def test_capacity_from_the_free_entropy_alone(kappa):
    """Gauss-Hermite averages and numerical stationarity; no saddle-point equation."""
    x, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()

    def phi(q, q_hat, alpha):
        entropic = w @ (
            np.abs(s := np.sqrt(q_hat) * x) + np.log1p(np.exp(-2 * np.abs(s)))
        )
        fields = w @ sp.log_ndtr(-(kappa + np.sqrt(q) * x) / np.sqrt(1 - q))
        return -0.5 * q_hat * (1 - q) + entropic + alpha * fields

    def equations(v, h=1e-4):
        q, q_hat, alpha = v
        return [
            (phi(q + h, q_hat, alpha) - phi(q - h, q_hat, alpha)) / (2 * h),
            (phi(q, q_hat + h, alpha) - phi(q, q_hat - h, alpha)) / (2 * h),
            phi(q, q_hat, alpha),
        ]

    point = capacity(kappa)
    start = np.array([point.q + 0.01, point.q_hat * 1.03, point.alpha * 0.98])
    found = optimize.root(equations, start, tol=1e-12).x
    np.testing.assert_allclose(found[2], point.alpha, atol=1e-6)
    np.testing.assert_allclose(found[0], point.q, atol=1e-5)


def test_slope_is_the_derivative_of_the_entropy():
    step = 1e-5
    rise = gardner(0.4 + step, 0.2).entropy - gardner(0.4 - step, 0.2).entropy
    np.testing.assert_allclose(gardner(0.4, 0.2).slope, rise / (2 * step), rtol=1e-8)


def test_small_load_is_the_annealed_entropy():
    alpha, kappa = 1e-3, 0.3
    annealed = np.log(2) + alpha * sp.log_ndtr(-kappa)
    np.testing.assert_allclose(gardner(alpha, kappa).entropy, annealed, atol=1e-6)


def test_entropy_lies_below_the_annealed_bound_and_falls_with_load_and_margin():
    loads = np.linspace(0.05, 0.8, 12)
    entropies = np.array([gardner(a).entropy for a in loads])
    assert (np.diff(entropies) < 0).all()
    assert (entropies < np.log(2) * (1 - loads)).all()
    assert gardner(0.3, 0.5).entropy < gardner(0.3).entropy


@pytest.mark.parametrize("alpha", [0.0, -0.5, float("nan"), float("inf")])
def test_a_load_out_of_range_is_named(alpha):
    with pytest.raises(ValueError, match="alpha: expected a finite load > 0, got"):
        exported(alpha)


def test_a_margin_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="kappa: expected a finite margin"):
        gardner(0.5, float("nan"))


def test_no_saddle_point_is_an_error():
    with pytest.raises(NotConverged, match="gardner: no solution in range"):
        gardner(5.0)
