"""Write RESULTS.md from the recorded runs and benchmarks.

Command: ``python -m pruning.experiments.results``. Every figure in RESULTS.md comes
from a JSON file under ``*/experiments/recorded``; nothing is typed in by hand but the
papers' own figures, which carry their evidence tag. The other packages add their
sections when they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments import _results_psp
from pruning.experiments._variants import RECORDED
from synaptax.reports.benchmarks import benchmark_sections, device_of
from synaptax.reports.tables import markdown
from synaptax.runs.folder import read_json

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

# Packages whose experiments.results module, if there is one, adds its sections().
OTHERS = ("analysis", "binary", "covid_cxr")

HEAD = """# Results

Written by `python -m pruning.experiments.results` from the JSON files in
`*/experiments/recorded`; do not edit by hand. Errors are in percent, with the
standard error over seeds. Compression is all parameters (biases included) over those
that are not zero. Operating points and thresholds are chosen on validation data; the
test set is evaluated once, at the end of a run. Figures marked MEM are the papers' as
remembered, not verified; they are set beside ours as hints, not as targets.
"""


def percent(row: Mapping[str, Any]) -> str:
    """Return a mean with its standard error, in percent."""
    mean, error = row["mean"], row["se"]
    spread = "" if error is None else f" ± {100 * error:.2f}"
    return f"{100 * mean:.2f}{spread}"


def target_name(target: float | None) -> str:
    """Return what an operating point was asked to be."""
    return {None: "accepted", 1.0: "dense"}.get(target, f">= {target}x")


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
        rows.append([record["variant"], target_name(point["target"]), *cells, seeds])
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
            rows.append([record["variant"], target_name(point["target"]), *shares])
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


def sections() -> list[str]:
    """Return what this package measured, as Markdown lines."""
    lines: list[str] = []
    for name, title, paper in PAPER:
        lines += experiment_section(name, title, paper)
    notes = RECORDED / "notes.md"
    if notes.exists():
        lines += [notes.read_text().strip(), ""]
    lines += _results_psp.sections()
    return lines + benchmark_sections("pruning", RECORDED)


def document() -> str:
    """Return RESULTS.md as text."""
    lines = [HEAD, *sections()]
    for package in OTHERS:
        name = f"{package}.experiments.results"
        if importlib.util.find_spec(f"{package}.experiments") is None:
            continue
        if importlib.util.find_spec(name) is not None:
            lines += importlib.import_module(name).sections()
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write RESULTS.md from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("RESULTS.md"))
    options = parser.parse_args(arguments)
    options.out.write_text(document())
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
