"""The sections on the solvers, from the recorded files."""

import shutil

import pytest

from binary.experiments import _results_solvers, record, results

pytestmark = pytest.mark.runs


def test_sections_come_from_records(monkeypatch, tmp_path):
    lines = _results_solvers.sections()
    assert any(line.startswith("## Binary perceptron: success") for line in lines)
    assert set(lines) <= set(results.contribution().pages[0].lines)
    monkeypatch.setattr(_results_solvers, "RECORDED", tmp_path)
    assert _results_solvers.sections() == []


def test_a_plan_writes_its_record(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RECORDED", tmp_path)
    monkeypatch.setattr(record, "_CHUNKS", tmp_path / "runs")
    plan = record.Plan("tiny", 31, 0, 2, {"free": ((0.2, 0.3), 2)})
    assert record.main(plan, []) == 0
    found = record.runs.read_json(tmp_path / "tiny.json")
    assert [row["load"] for row in found["rows"]] == [0.2, 0.3]
    assert found["methods"]["free"]["epochs"] == 300
    assert {"command", "versions", "device", "wall_s"} <= set(found)


def test_a_record_outlives_its_chunks(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RECORDED", tmp_path)
    monkeypatch.setattr(record, "_CHUNKS", tmp_path / "runs")
    loads = {"free": ((0.2,), 2), "power-300": ((0.2,), 2)}
    plan = record.Plan("tiny", 31, 0, 2, loads)
    assert record.main(plan, ["--only", "free"]) == 0
    before = record.runs.read_json(tmp_path / "tiny.json")["rows"]
    shutil.rmtree(tmp_path / "runs")
    assert record.main(plan, []) == 0
    after = record.runs.read_json(tmp_path / "tiny.json")["rows"]
    assert after[:1] == before  # kept as it was, not measured again
    assert [row["method"] for row in after] == ["free", "power-300"]
    assert not (tmp_path / "runs" / "binary-tiny" / "free").exists()


def test_the_row_of_more_instances_counts():
    one = {"method": "b", "load": 0.2, "total": 4}
    fewer, other = one | {"total": 2}, one | {"method": "a"}
    assert record.merged([one], [fewer, other], ["a", "b"]) == [other, one]
    again = one | {"count": 3}
    assert record.merged([one], [again], ["a", "b"]) == [again]
