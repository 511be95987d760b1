"""What this package adds to the results: the sensitivity paper's frontier, and PSP.

Everything comes from the records; :mod:`synaptax.reports.results` puts it together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pruning.experiments import (
    _findings,
    _results_compare,
    _results_frontier,
    _results_psp,
)
from pruning.experiments._variants import RECORDED
from synaptax.reports.benchmarks import benchmark_sections, device_of
from synaptax.reports.results import Contribution, Page
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

# (experiment, title, paper's rows: method, compression, test error in %).
# All from memory of arXiv 1810.11764, tables 1 to 3: hints, not targets.
PAPER: tuple[tuple[str, str, tuple[tuple[str, float, float], ...]], ...] = (
    (
        "lenet300_mnist",
        "LeNet-300-100 on MNIST (Table 1 of 1810.11764)",
        (
            ("sensitivity, unspecific", 27.87, 1.65),
            ("sensitivity, specific", 13.73, 1.56),
            ("sensitivity, unspecific, longer", 103.0, 1.95),
            ("sensitivity, specific, longer", 80.0, 1.96),
            ("magnitude (Han et al.)", 12.2, 1.6),
        ),
    ),
    (
        "lenet5_mnist",
        "LeNet-5 on MNIST (Table 2 of 1810.11764)",
        (
            ("sensitivity, unspecific", 51.1, 0.78),
            ("sensitivity, specific", 41.9, 0.8),
            ("magnitude (Han et al.)", 11.9, 0.77),
        ),
    ),
    (
        "lenet5_fashion",
        "LeNet-5 on Fashion-MNIST (Table 3 of 1810.11764)",
        (("sensitivity, unspecific", 11.74, 8.5),),
    ),
)

_HEAD = """Compression is all parameters (biases included) over those that are not zero.
Operating points and thresholds are chosen on validation data; the test set is
evaluated once, at the end of a run. Errors are in percent, ± the standard error over
seeds. A point is named by the least compression that was asked for; of one-shot
pruning, which cuts the weights alone to that compression and keeps the biases, by
"weights at".
"""


def percent(row: Mapping[str, Any]) -> str:
    """Return a mean with its standard error, in percent."""
    mean, error = row["mean"], row["se"]
    spread = "" if error is None else f" ± {100 * error:.2f}"
    return f"{100 * mean:.2f}{spread}"


def target_name(target: float | None, method: str) -> str:
    """Return what an operating point was asked to be."""
    prefix = "weights at" if method.startswith("one-shot") else ">="
    return {None: "accepted", 1.0: "dense"}.get(target, f"{prefix} {target}x")


def frontier_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the operating points of one variant as table rows."""
    rows = []
    for point in record["frontier"]:
        seeds = f"{point['seeds_reached']}/{point['seeds']}"
        cells = ["-", "-", "-"]
        if point["seeds_reached"]:
            cells = [
                f"{point['compression']['mean']:.1f}x",
                percent(point["test_error"]),
                percent(point["validation_error"]),
            ]
        name = target_name(point["target"], record["config"]["method"])
        rows.append([record["variant"], name, *cells, seeds])
    return rows


def layer_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the share of each leaf that is kept, in percent, per target."""
    rows = []
    for point in record["frontier"]:
        if point["seeds_reached"] and point["target"] != 1.0:
            shares = [
                f"{100 * point['kept'][leaf] / size:.2f}"
                for leaf, size in record["sizes"].items()
            ]
            name = target_name(point["target"], record["config"]["method"])
            rows.append([record["variant"], name, *shares])
    return rows


def settings(record: Mapping[str, Any]) -> str:
    """Return one line on how a variant was run."""
    config = record["config"]
    where = device_of(record)
    return (
        f"`{record['variant']}`: rate {config['rate']:g}, refresh "
        f"{config['refresh']}, patience {config['patience']}, tolerance "
        f"{config['tolerance']:g}, epochs {config['dense_epochs']} dense + "
        f"{config['prune_epochs']} pruning + {config['tune_epochs']} tuning; "
        f"{len(record['seeds'])} seeds; {record['wall_s'] / 60:.0f} min on {where}, "
        f"jax {record['versions']['jax']}; "
        f"`{record['command']}`"
    )


def experiment_section(
    name: str, title: str, paper: Sequence[tuple[str, float, float]]
) -> list[str]:
    """Return the section of one experiment, saying so if nothing is recorded."""
    records = [read_json(path) for path in sorted(RECORDED.glob(f"{name}-*.json"))]
    lines = [f"## {title}", ""]
    if not records:
        return [*lines, "No run has been recorded yet.", ""]
    columns = ("variant", "point", "compression", "test", "validation", "seeds")
    lines += markdown(columns, [row for r in records for row in frontier_rows(r)])
    lines += ["", "The paper's figures (MEM):", ""]
    remembered = [[method, f"{ratio}x", error] for method, ratio, error in paper]
    lines += markdown(("method", "compression", "test"), remembered)
    lines += ["", "Kept per leaf, in percent:", ""]
    leaves = ("variant", "point", *records[0]["sizes"])
    lines += markdown(leaves, [row for r in records for row in layer_rows(r)])
    lines += ["", "How each was run:", ""]
    return [*lines, *[f"- {settings(record)}" for record in records], ""]


def sensitivity_page() -> Page:
    """Return the page on arXiv 1810.11764."""
    lines: list[str] = [_HEAD]
    for name, title, paper in PAPER:
        lines += experiment_section(name, title, paper)
    lines += _results_frontier.section()
    notes = (RECORDED / "notes.md").read_text().strip()
    lines += [notes, "", *benchmark_sections("pruning", RECORDED)]
    title = "Sensitivity-driven regularisation (arXiv 1810.11764)"
    return Page("sensitivity", title, tuple(lines))


def psp_page() -> Page:
    """Return the page on arXiv 1907.08544."""
    title = "Post-synaptic-potential regularisation (arXiv 1907.08544)"
    return Page("psp", title, tuple(_results_psp.sections()))


def contribution() -> Contribution:
    """Return what this package adds to the results."""
    return Contribution(
        (sensitivity_page(), psp_page(), _results_compare.page()),
        (
            *_findings.frontier(),
            *_results_frontier.findings(),
            *_findings.penalty(),
        ),
        _findings.ratios(),
        (
            *_findings.pictures(),
            _results_frontier.PICTURE,
            *_results_compare.pictures(),
        ),
        (*_findings.misses(), *_results_frontier.misses()),
    )
