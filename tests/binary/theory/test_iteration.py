import numpy as np
import pytest

from binary.theory.iteration import NotConverged, bracketed_root, fixed_point


def test_a_stiff_linear_map_is_solved_in_few_steps():
    matrix = np.array([[0.97, 0.1, 0.0], [0.0, -0.8, 0.2], [0.1, 0.0, 0.5]])
    shift = np.array([1.0, -2.0, 0.3])
    found = fixed_point(lambda x: matrix @ x + shift, np.zeros(3))
    exact = np.linalg.solve(np.eye(3) - matrix, shift)
    np.testing.assert_allclose(found.value, exact, rtol=1e-7)
    assert found.iterations < 40
    assert found.residual < 1e-10


def test_a_scalar_map_that_damping_alone_barely_moves():
    found = fixed_point(lambda x: 0.995 * np.tanh(x) + 0.01, np.array([2.0]))
    np.testing.assert_allclose(
        found.value, 0.995 * np.tanh(found.value) + 0.01, atol=1e-10
    )


def test_no_convergence_is_an_error_with_the_residual():
    with pytest.raises(NotConverged, match="drift: residual 1 after 30 iterations"):
        fixed_point(lambda x: x + 1, np.zeros(1), limit=30, name="drift")


def test_a_map_that_stops_being_finite_is_an_error():
    with pytest.raises(NotConverged, match="residual nan"):
        fixed_point(lambda x: x * np.nan, np.ones(1))


def test_a_root_needs_a_change_of_sign():
    root, calls = bracketed_root(lambda x: x * x - 2, 0.0, 3.0, name="sqrt")
    assert root == pytest.approx(np.sqrt(2))
    assert calls > 2
    with pytest.raises(NotConverged, match="sqrt: no solution in range"):
        bracketed_root(lambda x: x * x + 2, 0.0, 3.0, name="sqrt")
