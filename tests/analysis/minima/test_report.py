"""Verdicts side by side and curvature at equal loss, from a pair made by hand."""

import numpy as np
import pytest

from analysis import plots
from analysis.minima import compare, pictures, report
from analysis.minima.config import defaults


def pair(seed, losses, ratio):
    """Return a G whose curvature is its loss, beside an S with ``ratio`` times that."""
    sides = [
        {"arm": arm, "seed": seed, "level": None, "error": 0.1}
        for arm in ("gradual", "one-shot")
    ]
    curved = [
        (x, {"top_survivors": x, "trace_survivors": x, "error": 0.1}) for x in losses
    ]
    levels = [
        {"loss": x, "first": one, "second": {**one, "top_survivors": ratio * x}}
        for x, one in curved
    ]
    equal = {"equal_top": -np.log(ratio), "equal_trace": 0.0, "equal_error": 0.0}
    return {
        "losses": {"first": [1.0, 0.1], "second": [2.0, 0.5]},
        "levels": levels,
        "first": sides[0],
        "second": sides[1] | equal,
    }


EQUAL = {
    "one-shot-seed0": pair(0, [1.0, 0.1], 2.0),
    "one-shot-seed1": pair(1, [0.5, 0.05], 2.05),
    "one-shot-seed2": {**pair(2, [], 1.0)},
}


def test_the_band_is_over_the_seeds_that_reach_a_loss():
    curves = pictures.curvature_curves(EQUAL)
    assert list(curves) == ["G, gradual", "S, one-shot"]
    grid, mean, se = plots._log_band(curves["S, one-shot"])
    assert grid.min() == pytest.approx(0.1, rel=0.1) and grid.max() <= 0.5
    expected = np.log(grid) + (np.log(2) + np.log(2.05)) / 2
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    half = (np.log(2.05) - np.log(2)) / 2
    np.testing.assert_allclose(se, half, rtol=1e-6)
    assert plots.curvature_loss(curves, title="by hand").axes
    with pytest.raises(ValueError, match="curves: expected at least one"):
        plots.curvature_loss({})


def test_where_it_meets_s_nowhere_g_is_drawn_beside_the_first_twin():
    ticket = pair(2, [1.0, 0.1], 0.5)
    ticket["second"]["arm"] = "ticket"
    curves = pictures.curvature_curves({"S": pair(2, [], 1.0), "T": ticket})
    assert list(curves) == ["G, gradual", "T, G's mask from the initial weights"]
    assert curves["G, gradual"] == [([1.0, 0.1], [1.0, 0.1])]


def test_a_pair_without_a_common_loss_is_said():
    text = "\n".join(report.equal_lines(EQUAL))
    assert text.count("none in common") == 1
    assert "1 down to 0.1 nats" in text and "2 down to 0.5 nats" in text
    assert "Not compared" in report.equal_lines({})[0]


def test_the_views_judge_at_the_end_and_at_equal_loss():
    measures = {}
    for seed in range(3):
        for arm, top in (("gradual", 2.0 + 0.1 * seed), ("one-shot", 1.0)):
            one = {"arm": arm, "seed": seed, "level": None, "top_survivors": top}
            error = 0.1 if arm == "gradual" else 0.2 + 0.01 * seed
            measures[f"{arm}-seed{seed}"] = {**one, "error": error}
    views = compare.views(measures, EQUAL, defaults("digits"))
    ended, equal = views["one-shot, as they end"], views["one-shot, at equal loss"]
    assert ended["3"] == "supported"
    assert equal["3"] == "not supported" and "2" not in equal
    rows = report.view_lines(views)
    assert "against S, at equal loss" in rows[2]
    assert sum("| 2 |" in row and "| - |" in row for row in rows) == 1
