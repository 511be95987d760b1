"""Which cells are compared, and that what is better is found better."""

from typing import Any

import numpy as np

from covid_cxr.study.config import Cell
from covid_cxr.study.differences import differences
from covid_cxr.study.summaries import Row

BASE = Cell("r", "none", "m", "none")


def row(cell, noise, test="own", seed=0, radiographs=None):
    rng = np.random.default_rng(seed)
    label = np.arange(80) % 2
    score = label + noise * rng.normal(size=80)
    number = np.arange(80) if radiographs is None else radiographs
    report: Any = None
    return Row(
        cell, test, report, np.zeros(1), label, score, np.arange(80) // 4, number
    )


def test_cells_apart_in_one_axis_on_equal_radiographs_are_compared():
    masked, other = BASE._replace(preprocessing="lungs"), BASE._replace(encoder="d")
    rows = [
        row(BASE, 2.0),
        row(BASE, 2.0, test="away"),
        row(masked, 0.3, seed=1),
        row(masked._replace(encoder="d"), 1.0, seed=2),
        row(other, 2.0, seed=3, radiographs=np.arange(1, 81)),
    ]
    found = differences(rows, 200)
    pairs = [(one.first, one.second) for one in found]
    # Not: another test set, two axes apart, other radiographs.
    assert pairs == [(BASE, masked), (masked, masked._replace(encoder="d"))]
    better, worse = found
    assert better.found.value > 0.2 and better.found.low > 0 and better.p < 0.05
    assert worse.found.value < 0
    assert better.adjusted == min(1, 2 * better.p) or better.p > worse.p


def test_a_test_set_of_one_class_is_left_out():
    rows = [row(BASE, 1.0), row(BASE._replace(mix="n"), 1.0, seed=4)]
    rows = [one._replace(label=np.zeros(80, int)) for one in rows]
    assert differences(rows, 50) == []


def test_many_comparisons_can_still_tell_a_difference():
    cells = [BASE._replace(encoder=f"e{k}") for k in range(12)]  # 66 pairs
    rows = [row(one, 0.1 if k else 40.0, seed=k) for k, one in enumerate(cells)]
    compared = differences(rows, 50)
    assert len(compared) == 66
    assert all(one.adjusted < 0.05 for one in compared if one.first == cells[0])
