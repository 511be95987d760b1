import itertools

import numpy as np
import pytest
from scipy import integrate
from scipy import special as sp

from binary.theory import special
from binary.theory.fields import satisfied_fields, tilted_fields
from binary.theory.quadrature import gaussian_rule, split_rule, truncated_rule


def test_hazard_against_its_definition_and_its_tail():
    x = np.linspace(-30, 25, 221)
    plain = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) / sp.ndtr(-x)
    np.testing.assert_allclose(special.hazard(x), plain, rtol=1e-12)
    np.testing.assert_allclose(special.hazard(np.array([1e4])), 1e4, rtol=1e-7)


def test_log_tail_and_log_2cosh_do_not_overflow():
    assert np.isfinite(special.log_tail(np.array([1e3]))).all()
    np.testing.assert_allclose(
        special.log_2cosh(np.array([-900.0, 0.0])), [900, np.log(2)]
    )


def test_gaussian_rule_has_the_moments_of_a_normal():
    z, w = gaussian_rule(241)
    for power, moment in ((0, 1), (2, 1), (4, 3), (6, 15)):
        np.testing.assert_allclose(w @ z**power, moment, rtol=1e-10)


def test_split_rule_integrates_a_jump_at_zero():
    m, w = split_rule(20)
    np.testing.assert_allclose(w @ (np.sign(m) * np.exp(m)), np.e + 1 / np.e - 2)


@pytest.mark.parametrize("edge", [-12.0, -3.0, 0.0, 2.0, 15.0])
def test_truncated_rule_against_closed_form(edge):
    u, w = truncated_rule(np.array([edge]))
    hazard = special.hazard(np.array([edge]))[0]
    np.testing.assert_allclose(w[0] @ u[0], hazard, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        w[0] @ u[0] ** 2, 1 + edge * hazard, rtol=1e-11, atol=1e-11
    )
    assert (u > edge).all()


@pytest.mark.parametrize("z0", [-8.0, -3.0, 0.0, 4.0])
@pytest.mark.parametrize(("q", "variance", "gain", "beta"), [(0.65, 0.15, 2.2, 20.0)])
def test_tilted_fields_against_adaptive_quadrature(z0, q, variance, gain, beta):
    def density(u, power=0):
        delta = gain * (np.sqrt(q) * z0 + np.sqrt(variance) * u)
        return (
            u**power
            * np.exp(-u * u / 2 + beta * sp.log_ndtr(delta))
            / np.sqrt(2 * np.pi)
        )

    rule, log_norm = tilted_fields(q, variance, gain, beta, np.array([z0]))
    centre = float(rule.weights[0] @ rule.nodes[0])
    ends = (centre - 9, centre, centre + 9)
    exact = [
        sum(
            integrate.quad(density, a, b, args=(k,), epsabs=0, epsrel=1e-12)[0]
            for a, b in itertools.pairwise(ends)
        )
        for k in (0, 1, 2)
    ]
    np.testing.assert_allclose(log_norm[0], np.log(exact[0]), rtol=1e-9, atol=1e-10)
    for k in (1, 2):
        mean = float(rule.weights[0] @ rule.nodes[0] ** k)
        np.testing.assert_allclose(mean, exact[k] / exact[0], rtol=1e-8, atol=1e-10)


def test_a_fixed_window_loses_the_tail_that_the_nodes_follow():
    z = np.array([-5.0])
    followed, _ = tilted_fields(0.67, 0.13, 2.2, 20.0, z)
    cut, _ = tilted_fields(0.67, 0.13, 2.2, 20.0, z, window=gaussian_rule(641))
    mean = float(np.sum(followed.weights * followed.nodes))
    assert mean > 9
    assert float(np.sum(cut.weights * cut.nodes)) < 8


def test_satisfied_fields_are_satisfied():
    z = gaussian_rule(61).nodes
    u, w = satisfied_fields(0.4, 0.6, z)
    assert (np.sqrt(0.4) * z[:, None] + np.sqrt(0.6) * u > 0).all()
    np.testing.assert_allclose(w.sum(axis=1), 1)
