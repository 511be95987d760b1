"""``python -m binary success``: chunks, interruption, resumption."""

import json

import pytest

from binary import __main__ as program
from binary import success

pytestmark = pytest.mark.runs

OPTIONS = ("--size", "61", "--loads", "0.2", "0.4", "--instances", "3", "--chunk", "2")
CALL = ("success", "--methods", "free", *OPTIONS, "--run-dir")


def rows(folder):
    return json.loads((folder / "summary.json").read_text())["results"]["rows"]


def timeless(found):
    return [
        {name: value for name, value in row.items() if "core" not in name}
        for row in found
    ]


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert program.main([*CALL, str(whole)]) == 0
    assert (whole / "success.png").stat().st_size > 5000
    measure, count = success.measure, []

    def limited(*arguments):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr(success, "measure", limited)
    assert program.main([*CALL, str(cut)]) == 130
    assert "--resume --run-dir" in capsys.readouterr().err
    assert not (cut / "summary.json").exists()
    assert len((cut / "metrics.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(success, "measure", measure)
    assert program.main([*CALL, str(cut), "--resume"]) == 0
    assert timeless(rows(cut)) == timeless(rows(whole))
    assert [(row["load"], row["total"]) for row in rows(cut)] == [(0.2, 3), (0.4, 3)]


def test_patterns_are_the_same_at_every_load():
    seeds = success.jax.numpy.arange(2)
    few, _ = success.drawn(seeds, 31, 20, success.jax.numpy.int32(10))
    many, _ = success.drawn(seeds, 31, 20, success.jax.numpy.int32(20))
    assert (few.patterns == many.patterns).all()
    assert few.valid.sum(1).tolist() == [10, 10]
    assert many.valid.sum(1).tolist() == [20, 20]


def test_chunks_cover_the_seeds_once():
    points = [success.Point("free", 0.5, 5)]
    found = success.chunks(points, 100, 2)
    assert [(one.first, one.count) for one in found] == [(100, 2), (102, 2), (104, 1)]


def test_curves_pool_the_chunks():
    base = {"method": "free", "load": 0.5, "core_s": 1.0, "count": 2}
    records = [
        {**base, "first": 0, "solved": [1, 0], "epochs": [10, 300], "best": [0, 2]},
        {**base, "first": 2, "solved": [1, 1], "epochs": [20, 30], "best": [0, 0]},
    ]
    (row,) = success.curves([*records, records[0]])
    assert (row["count"], row["total"], row["median_epochs"]) == (3, 4, 20.0)
    assert row["mean_best_errors"] == 0.5
    assert row["low"] < row["value"] == 0.75 < row["high"]
    none = [{**base, "first": 0, "solved": [0, 0], "epochs": [9, 9], "best": [1, 1]}]
    assert success.curves(none)[0]["median_epochs"] is None
    assert success.curves(none)[0]["high"] == pytest.approx(0.6576, abs=1e-3)
