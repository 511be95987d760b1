"""The benchmarks' timing, table and record."""

import json

import pytest

from synaptax import runs
from synaptax.reports import benchmarks, harness


def test_a_record_holds_rows_and_circumstances_and_can_be_read(tmp_path):
    rows = [{"work": "a", "best_ms": 1.5}, {"work": "b", "best_ms": 2.0}]
    path = harness.write(tmp_path / "new" / "benchmark-demo.json", rows)
    record = json.loads(path.read_text())
    assert record == {**runs.environment(), "rows": rows}
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    lines = benchmarks.benchmark_section("pruning", path)
    assert lines[0] == "### demo" and "python -m pruning.benchmarks.demo" in lines[2]
    assert "cores, jax" in lines[2]


def test_times_are_taken_in_turns():
    called, ticks = [], iter(range(100))
    functions = {name: (lambda n=name: called.append(n)) for name in ("a", "b")}
    times = harness.measure(functions, repeats=3, clock=lambda: float(next(ticks)))
    assert called == ["a", "b"] * 4
    assert times == {"a": harness.Timing(1.0, 1.0), "b": harness.Timing(1.0, 1.0)}
    with pytest.raises(ValueError, match="repeats: expected at least 1, got 0"):
        harness.measure(functions, repeats=0)


def test_a_table_lines_up():
    rows = [{"work": "a", "ms": 1.23456}, {"work": "long", "ms": 1234.5}]
    assert harness.table(rows).splitlines() == [
        "work     ms",
        "----  -----",
        "a      1.23",
        "long  1,234",
    ]
    assert harness.table([]) == ""
