"""``python -m binary theory``: curves to CSV and figure."""

import csv

import numpy as np
import pytest

from binary.commands.theory import draw, main
from binary.commands.theory_curves import CURVES, Theory
from binary.theory import NotConverged, capacity, gardner, spinodal, stochastic

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")


def read(path):
    with open(path) as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", sorted(set(CURVES) - {"replicon"}))
def test_every_curve_is_written_and_drawn(name, tmp_path, capsys):
    code = main(["--curve", name, "--points", "3", "--out", str(tmp_path)])
    assert code == 0
    rows = read(tmp_path / f"{name}.csv")
    assert len(rows) == 3
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 points in" in capsys.readouterr().out


def test_rows_are_the_functions_values_with_every_digit(tmp_path):
    options = ["--low", "0.3", "--high", "0.5", "--points", "2", "--kappa", "0.1"]
    main([*options, "--out", str(tmp_path)])
    rows = read(tmp_path / "gardner.csv")
    assert rows[1]["entropy"] == gardner(0.5, 0.1).entropy


def test_curves_end_where_their_states_do():
    rows = CURVES["gardner"](Theory(points=2)).rows
    assert rows[-1]["alpha"] == capacity().alpha
    students = CURVES["teacher-student"](Theory(points=2)).rows
    assert students[-1]["alpha"] == pytest.approx(spinodal().alpha)


def test_a_panel_shows_one_quantity_and_names_its_lines():
    left, right = draw(CURVES["gardner"](Theory(points=2))).axes
    assert left.get_ylabel() == "entropy per weight (nats)"
    assert right.get_ylabel() == "overlap q of two solutions"
    curve = CURVES["stochastic"](Theory(low=0.3, high=0.5, points=2))
    losses, errors, replicon = draw(curve).axes
    assert len(losses.lines) == 1 and "nats" in losses.get_ylabel()
    names = [text.get_text() for text in errors.get_legend().get_texts()]
    assert names == ["a draw", "sign(m)"]
    styles = {(ln.get_color(), ln.get_marker(), ln.get_ls()) for ln in errors.lines}
    assert len({s[0] for s in styles}) == len({s[2] for s in styles}) == 2
    assert replicon.get_legend() is not None


def test_stability_line_leaves_out_where_there_is_none():
    curve = CURVES["replicon"](Theory(low=0.6, high=0.85, points=2))
    assert curve.missing == (0.6,)
    (row,) = curve.rows
    again = stochastic(0.55, 0.85, row["beta"])
    assert again.replicon == pytest.approx(1, abs=1e-5)
    (axes,) = draw(curve).axes
    assert axes.get_legend().get_texts()[0].get_text() == "no point found: 1"
    with pytest.raises(NotConverged, match="stable up to beta = 100"):
        CURVES["replicon"](Theory(low=0.5, high=0.5, points=1))


@pytest.mark.slow
def test_a_curve_says_which_points_were_lost():
    options = {"reference": "spherical", "low": 0.05, "high": 0.4, "points": 2}
    curve = CURVES["franz-parisi"](Theory(**options))
    assert curve.missing == (0.05,)
    assert [row["distance"] for row in curve.rows] == [0.4]
    with pytest.raises(NotConverged, match="franz-parisi: no point was found"):
        CURVES["franz-parisi"](Theory(**{**options, "high": 0.05, "points": 1}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--curve", "bc", "--beta", "0"], "beta: expected"),
        (["--curve", "bc", "--alpha", "-1"], "alpha: expected"),
        (["--curve", "bc", "--low", "0.5", "--high", "1.2"], "q_star: expected"),
        (["--curve", "robustness", "--high", "0.7"], "distance: expected"),
        (["--curve", "franz-parisi", "--reference", "x"], "reference: expected one of"),
        (["--points", "0"], "points, low, high: expected points >= 1"),
        (["--low", "2", "--high", "1"], "expected points >= 1 and low <= high"),
    ],
)
def test_options_out_of_range_are_named(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        main([*options, "--out", str(tmp_path)])


def test_an_unknown_curve_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--curve", "nothing"])
    assert stop.value.code == 2
    assert "gardner" in capsys.readouterr().err
