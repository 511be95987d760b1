"""Success curves and benchmarks of the solvers, as sections of RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binary.experiments import course_n1001, nearby_n301, teacher_n1001
from binary.experiments.record import RECORDED
from synaptax.reports.benchmarks import benchmark_section, device_of
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

# record: what its heading adds
_CURVES = {
    "success_n1001": "",
    "success_hard_n1001": ", hard loads",
    "success_others_n1001": ", ascent on h, focusing, replicas, annealing",
    "success_n10001": "",
}
_NOTES = RECORDED / "notes_solvers.md"
_AFTER = {"success_hard_n1001": "notes-hard", "success_others_n1001": "notes-others"}


def sections() -> list[str]:
    """Return the Markdown lines of what is recorded."""
    lines: list[str] = []
    for name, more in _CURVES.items():
        path = RECORDED / f"{name}.json"
        if path.exists():
            lines += _curves(read_json(path), more)
        if path.exists() and name in _AFTER:
            notes = RECORDED / f"{_AFTER[name]}.md"
            lines += ["", *notes.read_text().rstrip().split("\n")]
    for name, section in _SECTIONS.items():
        path = RECORDED / f"{name}.json"
        if path.exists():
            lines += section(read_json(path))
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


def _curves(record: Mapping[str, Any], more: str) -> list[str]:
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
        f"## Binary perceptron: success against load{more}, N = {record['size']}",
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


def _committees(record: Mapping[str, Any]) -> list[str]:
    head = ("K", "epochs", "M / N", "M / (K N)", "solved", "%", "95 % interval")
    head += ("mean fewest errors", "core s each")
    rows = []
    for row in record["rows"]:
        units = int(row["method"].rpartition("-")[2])
        rows.append(
            [
                units,
                record["methods"][row["method"]]["epochs"],
                f"{row['load']:g}",
                f"{row['load'] / units:.3g}",
                f"{row['count']}/{row['total']}",
                f"{100 * row['value']:.1f}",
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                f"{row['mean_best_errors']:.2f}",
                f"{row['median_core_s']:.3g}",
            ]
        )
    return [
        "",
        f"## Committee machines: success against load, N = {record['size']}",
        "",
        "K units of N binary weights each, all on the same inputs, the majority of "
        "their signs; annealed ascent on the means. Random patterns, seeds from "
        f"{record['first_seed']}; few instances where an epoch is long, hence wide "
        "intervals (Wilson's). Solved as above: counted again in integers.",
        "",
        *markdown(head, rows),
        "",
        f"{record['core_s'] / 60:.1f} core minutes on a busy machine; "
        f"`{record['command']}`",
    ]


def _course(record: Mapping[str, Any]) -> list[str]:
    return [
        "",
        f"## Energy and q* against epochs, N = {record['size']}, load "
        f"{record['load']:g}",
        "",
        f"Mean over {record['instances']} instances, seeds from "
        f"{record['first_seed']}: the share of patterns that sign(m) gets wrong, then "
        "q*. A run that has solved its instance stays where it is.",
        "",
        *course_n1001.table(record),
        "",
        f"`{record['command']}`",
    ]


def _nearby(record: Mapping[str, Any]) -> list[str]:
    return [
        "",
        f"## Solutions around those of SBPI and AMP, N = {record['size']}, load "
        f"{record['load']:g}",
        "",
        "Belief propagation around solutions found, on the same instances: the mean "
        "distance d of the weighted solutions and their entropy S(d), mean ± standard "
        "error over instances, at each field gamma towards the centre. A dash: not "
        "every instance converged. Theory's curves are in the figure of the overlay.",
        "",
        *nearby_n301.table(record),
        "",
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


_SECTIONS = {
    "success_committee_n1001": _committees,
    "course_n1001": _course,
    "nearby_n301": _nearby,
    "teacher_n1001": _teacher,
}
