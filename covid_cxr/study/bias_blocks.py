"""What the report of a study says of its bias probes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covid_cxr.study import figures
from covid_cxr.study.blocks import Block, Figure, Heading, Table, Text
from covid_cxr.study.summaries import Finished, estimate

_SIDES = ("same", "reversed")  # of a point of the sweep


def of_probes(found: Finished) -> list[Block]:
    """Say what each probe of each mix and cell found."""
    blocks: list[Block] = [
        Text(
            "An alarm is a probe that should be silent and whose whole interval lies "
            "more than 0.05 above silence (0.5 for an area, 0 for a gain). Linear "
            "probes are judged on patients they have not seen; networks on their test "
            "radiographs."
        )
    ]
    for key, record in found.records.items():
        if not record.get("probes"):
            continue
        rows = [
            [
                one["name"],
                estimate(one["found"]).text(),
                one["verdict"],
                one["note"],
            ]
            for one in record["probes"]
        ]
        title = (
            key.replace("data~", "radiographs of ~")
            .replace("~", ", ")
            .replace(" , ", " ")
        )
        blocks.append(Heading(3, title))
        if record.get("probed_on"):
            blocks.append(Text(f"Test set: {record['probed_on']}."))
        blocks.append(Table(("probe", "value", "verdict", "note"), rows))
        blocks += _sweep(record) + _transfer(record) + _saliency(record)
    return blocks


def _sweep(record: Mapping[str, Any]) -> list[Block]:
    if not record.get("sweep"):
        return []
    rows = [
        [one["ratio"], one["radiographs"], *(estimate(one[k]).text(2) for k in _SIDES)]
        for one in record["sweep"]
    ]
    head = ("source follows label", "radiographs", "AUC, same ratio", "ratio reversed")
    return [Text("Ratio sweep, linear classifier:"), Table(head, rows)]


def _transfer(record: Mapping[str, Any]) -> list[Block]:
    names = ("auc", "called", "called_pneumonia", "called_healthy", "shift")
    rows = [
        [test, one["images"], *(estimate(one[name]).text(2) for name in names)]
        for test, one in record.get("transfer", {}).items()
    ]
    if not rows:
        return []
    head = ("test", "radiographs", "AUC for pneumonia", "called positive")
    head += ("with pneumonia", "without", "shift of the score")
    return [
        Text("Radiographs without the disease, pneumonia scored as it:"),
        Table(head, rows),
    ]


def _saliency(record: Mapping[str, Any]) -> list[Block]:
    rows = [
        [
            one["method"],
            one["radiographs"],
            estimate(one["inside"]).text(2),
            f"{one['area']:.2f}",
            estimate(one["pointing"]).text(2),
            ", ".join(f"{part} {value:.2f}" for part, value in one["redrawn"].items()),
        ]
        for one in record.get("saliency", ())
    ]
    if not rows:
        return []
    head = ("method", "radiographs", "fraction inside the lungs", "lungs' share of all")
    head += ("peak inside", "correlation after redrawing down to")
    return [Text("Saliency of the first seed:"), Table(head, rows)]


def of_panels(folder: Path, found: Finished) -> list[Block]:
    """Show where networks look, a figure a cell."""
    blocks: list[Block] = []
    for key, arrays in found.panels.items():
        path = folder / "figures" / f"saliency-{key}.png"
        figures.panel(path, arrays)
        caption = f"Saliency, {key.replace('~', ', ')}; lungs outlined"
        blocks.append(Figure(path, caption))
    return blocks
