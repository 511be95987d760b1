"""Sections of a report of the recorded benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synaptax.reports.tables import markdown
from synaptax.runs import read_json


def device_of(record: Mapping[str, Any]) -> str:
    """Return what a record was made on, in words."""
    device = record["device"]
    return f"{device['platform']} ({device['kind']}), {device['cores']} cores"


def benchmark_section(package: str, path: Path) -> list[str]:
    """Return the section of one recorded benchmark."""
    record = read_json(path)
    name = path.stem.removeprefix("benchmark-")
    where = f"{device_of(record)}, jax {record['versions']['jax']}"
    rows = record["rows"]
    # benchmark-NAME@DEVICE.json: the same benchmark on another device.
    command = f"python -m {package}.benchmarks.{name.partition('@')[0]}"
    lines = [f"### {name}", "", f"`{command}`; {where}.", ""]
    cells = [[row[key] for key in rows[0]] for row in rows]
    lines += [*markdown(list(rows[0]), cells), ""]
    for key, value in record.items():
        if key not in ("versions", "device", "rows"):
            lines += [f"- {key}: {value}"]
    return [*lines, ""]


def benchmark_sections(package: str, recorded: Path) -> list[str]:
    """Return the recorded benchmarks of one package, as Markdown lines."""
    lines: list[str] = []
    paths = sorted(recorded.glob("benchmark-*.json"))
    if paths:
        lines += [
            f"## Benchmarks of `{package}`",
            "",
            "Times of one run, side by side; trust the ratios.",
            "",
        ]
    for path in paths:
        lines += benchmark_section(package, path)
    return lines
