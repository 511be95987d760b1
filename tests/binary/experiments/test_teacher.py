"""The teacher-student record: an overlap by hand, and its table from records alone."""

import shutil

import numpy as np
import pytest

from binary.experiments import record as records
from binary.experiments import teacher_n1001 as teacher

pytestmark = pytest.mark.runs


def test_a_table_is_printed_again_without_measuring(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records, "RECORDED", tmp_path)
    small = {"SIZE": 31, "INSTANCES": 2, "LOADS": (1.0, 1.7), "SHOWN": ("free",)}
    for name, value in small.items():
        monkeypatch.setattr(teacher, name, value)
    assert teacher.main() == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 4 and "| 1.7 |" in table
    shutil.rmtree(tmp_path / "runs")
    monkeypatch.setattr(teacher, "cell", None)
    assert teacher.main() == 0
    assert capsys.readouterr().out == table
    record = teacher.runs.read_json(tmp_path / "teacher_n1001.json")
    assert record["replica"]["1.7"] == [1, 1]
    solution, centre = record["replica"]["1"]
    assert 0.56 < solution < 0.57
    # the sign of a field N(R_hat, R_hat), drawn, where R is the mean of its tanh
    field = np.random.default_rng(0).normal(1.033, 1.033**0.5, 100_000)
    assert abs(np.tanh(field).mean() - solution) < 0.01
    assert abs(np.sign(field).mean() - centre) < 0.01
    # R = W . teacher / N, so that it steps by 2 / 31; a solution above 1.49 is R = 1
    for one in record["cells"]:
        steps = (1 - np.array(one["overlap"])) * 31 / 2
        np.testing.assert_allclose(steps, steps.round(), atol=1e-3)


def test_where_rows_say_how_far_the_overlap_is_from_theory():
    one = {"method": "free", "load": 1.2, "solved": [0, 1], "best": [3, 0]}
    one |= {"overlap": [0.6, 0.8], "last_overlap": [0.1, 0.8]}
    (row,) = teacher.rows({"cells": [one], "replica": {"1.2": [0.65, 0.75]}})
    expected = [
        "1.2",
        "1/2",
        "1.5",
        "0.700 ± 0.100",
        "0.650",
        "+0.050",
        "0.750",
        "0.450",
    ]
    assert row[1:] == expected
