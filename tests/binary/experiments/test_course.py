"""The course of energy and q*, and solutions near found ones, at tiny sizes."""

import numpy as np
import pytest

from binary.experiments import course_n1001, nearby_n301

pytestmark = pytest.mark.runs


def test_a_course_starts_at_chance_and_stays_where_it_solved():
    found = course_n1001.course("free", 101, 0.3, 3)
    assert found["solved"] == 3
    energy, overlap = np.array(found["energy"]), np.array(found["overlap"])
    assert 0.2 < energy[0] < 0.8 and energy[-1] == found["energy_error"][-1] == 0
    assert overlap[0] < 0.05 and 0.5 < overlap[-1] <= 1 and np.isfinite(overlap).all()
    record = {"courses": [found], "instances": 3}
    assert "3/3" in course_n1001.table(record)[2]


@pytest.mark.slow  # compiles belief propagation
def test_solutions_near_one_are_nearer_the_more_they_are_drawn():
    found = nearby_n301.around("free", 51, 2)
    assert found["solved"] == 2 and found["converged"] == [2] * 5
    assert np.all(np.diff(found["distance"]["mean"]) < 0)
    row = nearby_n301.table({"centres": [found], "instances": 2})[2]
    assert "(2 of 2)" in row and "±" in row
