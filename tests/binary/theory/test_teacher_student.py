import numpy as np
import pytest

from binary.theory import NotConverged, first_order_point, spinodal, teacher_student
from binary.theory._teacher_student import free_entropy
from tests.binary.theory import reference


@pytest.mark.parametrize("alpha", reference.TEACHER_STUDENT)
def test_reference_table(alpha):
    r, conjugate, entropy, error = reference.TEACHER_STUDENT[alpha]
    point = teacher_student(alpha)
    np.testing.assert_allclose(
        [point.overlap, point.conjugate, point.entropy, point.generalization_error],
        [r, conjugate, entropy, error],
        atol=1e-6,
    )
    assert point.residual < 1e-12


def test_first_order_point():
    point = first_order_point()
    np.testing.assert_allclose(point.alpha, 1.244684, atol=1e-6)
    np.testing.assert_allclose(
        [point.overlap, point.conjugate], [0.693760, 1.564900], atol=1e-6
    )
    assert abs(point.entropy) < 1e-12


def test_spinodal():
    point = spinodal()
    np.testing.assert_allclose(point.alpha, 1.49263, atol=5e-6)
    np.testing.assert_allclose(point.overlap, 0.8937, atol=1e-4)
    np.testing.assert_allclose(point.generalization_error, 0.148, atol=5e-4)


def test_the_state_is_stationary():
    point, step = teacher_student(1.1), 1e-5
    for move in (np.array([step, 0]), np.array([0, step])):
        up = free_entropy(1.1, *(np.array([point.overlap, point.conjugate]) + move))
        down = free_entropy(1.1, *(np.array([point.overlap, point.conjugate]) - move))
        assert abs(up - down) / (2 * step) < 1e-9


def test_slope_is_the_derivative_of_the_entropy():
    step = 1e-5
    rise = teacher_student(0.9 + step).entropy - teacher_student(0.9 - step).entropy
    np.testing.assert_allclose(teacher_student(0.9).slope, rise / (2 * step), rtol=1e-8)


def test_equilibrium_passes_to_the_teacher():
    before = teacher_student(1.24, branch="equilibrium")
    after = teacher_student(1.25, branch="equilibrium")
    assert before == teacher_student(1.24)
    assert (after.overlap, after.entropy, after.generalization_error) == (1.0, 0.0, 0.0)


def test_above_the_spinodal_there_is_no_number():
    with pytest.raises(NotConverged, match="above the spinodal"):
        teacher_student(1.5)


@pytest.mark.parametrize(
    ("alpha", "branch", "message"),
    [(0.0, "metastable", "alpha: expected"), (1.0, "best", "branch: expected")],
)
def test_bad_arguments_are_named(alpha, branch, message):
    with pytest.raises(ValueError, match=message):
        teacher_student(alpha, branch=branch)
