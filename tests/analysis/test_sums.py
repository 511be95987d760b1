"""Sums over eigenvalues against dense matrices, and how often intervals hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
from tests.analysis.test_curvature import operator_of


def wishart(size, rng):
    x = rng.normal(size=(2 * size, size))
    return (x.T @ x / (2 * size)).astype(np.float32)


def truth(matrix, damping):
    values = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
    return np.log(values + damping).sum(), (values / (values + damping)).sum()


SUMS = (analysis.log_determinant, analysis.effective_dimension)


def test_sums_of_a_dense_matrix_and_of_its_survivors(key):
    matrix = wishart(40, np.random.default_rng(0))
    mask = np.arange(40) % 2 == 0
    for kept in (None, mask):
        part = matrix if kept is None else matrix * np.outer(kept, kept)
        own = matrix if kept is None else matrix[np.ix_(kept, kept)]
        held = None if kept is None else jnp.asarray(kept)
        operator = operator_of(jnp.asarray(part), mask=held)
        for function, expected in zip(SUMS, truth(own, 0.1), strict=True):
            found = function(operator, key, damping=0.1, steps=40, probes=32)
            assert abs(found.value - expected) < 4 * found.standard_error + 1e-3
            low, high = found.interval()
            assert low < found.value < high


def test_a_small_or_low_rank_matrix_is_exact(key):
    thin = np.random.default_rng(3).normal(size=(30, 2)).astype(np.float32)
    for matrix in (2.0 * np.eye(8, dtype=np.float32), thin @ thin.T):
        operator = operator_of(jnp.asarray(matrix))
        for function, expected in zip(SUMS, truth(matrix, 1.0), strict=True):
            found = function(operator, key, damping=1.0, probes=8)
            assert found.value == pytest.approx(expected, rel=1e-4)
            assert found.steps <= 4 and found.deflated == 8


def test_what_has_no_real_logarithm_is_refused(key):
    operator = operator_of(jnp.diag(jnp.array([1.0, -0.5])))
    for function in SUMS:
        with pytest.raises(ValueError, match="at or below -damping"):
            function(operator, key, damping=0.4)
        for damping in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="damping: expected a number > 0"):
                function(operator, key, damping=damping)
    found = analysis.log_determinant(operator, key, damping=1.0, probes=2)
    assert found.value == pytest.approx(np.log(2.0) + np.log(0.5), abs=1e-5)
    with pytest.raises(ValueError, match="level"):
        found.interval(1.0)


@pytest.mark.parametrize(
    "count", [60, pytest.param(1000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_intervals_hold_as_often_as_they_say(count):
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    for turn in range(count):
        matrix = wishart(24, rng)
        operator = operator_of(jnp.asarray(matrix))
        for place, (function, expected) in enumerate(
            zip(SUMS, truth(matrix, 0.1), strict=True)
        ):
            key = jax.random.key(turn)
            found = function(operator, key, damping=0.1, steps=24, probes=8)
            low, high = found.interval(0.95)
            hits[place] += low - 1e-3 <= expected <= high + 1e-3
    # Nominal 95 %: at least 93 of 100 in the long run, less what chance takes.
    least = 0.93 * count - 2 * np.sqrt(0.95 * 0.05 * count)
    assert hits.min() >= least, hits / count


def test_few_coordinates_are_added_up_and_rounding_is_no_eigenvalue(key):
    matrix = jnp.diag(jnp.array([1.0, 0.0, 2.0, 3.0, 0.0]))
    mask = jnp.diagonal(matrix) > 0
    operator = operator_of(matrix, mask=mask)
    found = analysis.log_determinant(operator, key, damping=0.5, probes=2)
    expected = np.log([1.5, 2.5, 3.5]).sum()
    assert abs(found.value - expected) < 10 * found.standard_error < 1e-5
    traced = analysis.trace(operator, key, probes=2)
    assert traced.value == pytest.approx(6.0) and traced.deflated == 3
    thin = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    found = analysis.log_determinant(
        operator_of(jnp.asarray(thin @ thin.T)), key, damping=1e-4, probes=4
    )
    values = np.append(np.linalg.eigvalsh(thin.T @ thin), np.zeros(17))
    assert found.value == pytest.approx(np.log(values + 1e-4).sum(), rel=1e-2)


def test_one_coordinate_and_one_step(key):
    one = operator_of(jnp.array([[2.0]]))
    assert analysis.trace(one, key).value == 2
    assert analysis.top_eigenpairs(one, 1, key).values.tolist() == [2.0]
    found = analysis.effective_dimension(one, key, damping=2.0)
    assert found.value == pytest.approx(0.5)
    rules = analysis.spectral_density(
        operator_of(jnp.diag(jnp.array([1.0, 3.0]))), key, steps=1, probes=2
    )
    np.testing.assert_allclose(rules.nodes, 2.0, rtol=1e-6)
