"""The sections on the solvers, from the recorded files."""

from binary.experiments import _results_solvers, record, results


def test_sections_come_from_records(monkeypatch, tmp_path):
    lines = _results_solvers.sections()
    assert any(line.startswith("## Binary perceptron: success") for line in lines)
    assert set(lines) <= set(results.sections())
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
