"""Success curves and benchmarks of the solvers, as sections of RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binary.experiments import teacher_n1001
from binary.experiments.record import RECORDED
from synaptax.reports.benchmarks import benchmark_section, device_of
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

_CURVES = ("success_n1001", "success_hard_n1001", "success_n10001")
_NOTES = RECORDED / "notes_solvers.md"
_HARD_NOTES = RECORDED / "notes-hard.md"


def sections() -> list[str]:
    """Return the Markdown lines of what is recorded."""
    lines: list[str] = []
    for name in _CURVES:
        path = RECORDED / f"{name}.json"
        if path.exists():
            lines += _curves(read_json(path))
        if path.exists() and name == "success_hard_n1001":
            lines += ["", *_HARD_NOTES.read_text().rstrip().split("\n")]
    path = RECORDED / "teacher_n1001.json"
    if path.exists():
        lines += _teacher(read_json(path))
    path = RECORDED / "benchmark-solvers.json"
    if path.exists():
        lines += _benchmark(
            read_json(path),
            "Binary perceptron: instances solved per second (N = 1001, free ascent)",
        )
    path = RECORDED / "benchmark-epoch.json"
    if path.exists():
        lines += _benchmark(
            read_json(path), "Binary perceptron: one epoch's products at load 0.6"
        )
    # Those of another device, as docs/scale.md writes them.
    for path in sorted(RECORDED.glob("benchmark-*@*.json")):
        lines += ["", *benchmark_section("binary", path)]
    if lines and _NOTES.exists():
        lines += ["", *_NOTES.read_text().rstrip().split("\n")]
    return lines


def _curves(record: Mapping[str, Any]) -> list[str]:
    hard = ", hard loads" if "hard" in record["command"] else ""
    last = record["first_seed"] + max(row["total"] for row in record["rows"]) - 1
    head = ("method", "epochs", "load", "solved", "%", "95 % interval")
    head += ("median epochs to solve", "mean fewest errors", "core s each")
    rows = []
    for row in record["rows"]:
        method = record["methods"][row["method"]]
        epochs = row["median_epochs"]
        rows.append(
            [
                method["label"],
                method["epochs"],
                f"{row['load']:g}",
                f"{row['count']}/{row['total']}",
                f"{100 * row['value']:.1f}",
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                "-" if epochs is None else f"{epochs:.0f}",
                f"{row['mean_best_errors']:.2f}",
                f"{row['median_core_s']:.3g}",
            ]
        )
    return [
        "",
        f"## Binary perceptron: success against load{hard}, N = {record['size']}",
        "",
        f"Random +-1 patterns, seeds {record['first_seed']} to {last} (fewer where the "
        "denominator is smaller), the same for every method; options were tuned on "
        "other instances. Solved: a binary vector without errors was met at some "
        "epoch, and was counted again in integers. Intervals are Wilson's. For scale: "
        "capacity 0.833 (theory); free ascent ends near 0.63, message passing at 0.6 "
        "to 0.74 (both MEM).",
        "",
        *markdown(head, rows),
        "",
        f"{record['core_s'] / 60:.1f} core minutes on a busy machine "
        f"({record['device']['kind']}), jax {record['versions']['jax']}; "
        f"`{record['command']}`",
    ]


def _teacher(record: Mapping[str, Any]) -> list[str]:
    return [
        "",
        f"## Teacher and student, N = {record['size']}: overlap of the best weights",
        "",
        f"{record['instances']} instances a point, seeds from {record['first_seed']}; "
        "best weights are those of the fewest training errors. RS has the overlap of a "
        "random solution, and of the centre (the sign of the mean of all), up to the "
        "spinodal, 1.4926; above it only the teacher is left. Ascent ends near the "
        "centre, so above a random solution. The last column is of the weights that a "
        "run ended with: at q* = 1 an unsolved run has lost what it knew.",
        "",
        *teacher_n1001.table(record),
        "",
        f"jax {record['versions']['jax']}; `{record['command']}`",
    ]


def _benchmark(record: Mapping[str, Any], title: str) -> list[str]:
    rows = record["rows"]
    versions = record["versions"]
    return [
        "",
        f"## {title}",
        "",
        *markdown(list(rows[0]), [list(row.values()) for row in rows]),
        "",
        f"{device_of(record)}, jax {versions['jax']}, numpy {versions['numpy']}; the "
        "machine was shared.",
    ]
