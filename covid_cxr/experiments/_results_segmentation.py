"""RESULTS.md's section on lung segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from covid_cxr.experiments import RECORDED
from covid_cxr.metrics.intervals import Estimate
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

_HEAD = ("radiographs", "Dice", "IoU", "95 % Hausdorff distance (px)")


def interval(found: Mapping[str, Any], digits: int = 3) -> str:
    """Return a recorded estimate as text."""
    numbers = (float(found[name]) for name in ("value", "low", "high"))
    return Estimate(*numbers, note=found["note"]).text(digits)


def sections() -> list[str]:
    """Return what was recorded, as Markdown lines; nothing if nothing was."""
    lines: list[str] = []
    for name, section in (("phantom", phantom), ("covid", covid)):
        path = RECORDED / f"segmentation_{name}.json"
        if path.exists():
            lines += section(read_json(path))
    if not lines:
        return []
    return [
        "## Lung segmentation",
        "",
        "Mean over radiographs with its 95 % interval by a bootstrap over patients.",
        "Masks are the largest parts of the probability map at 1/2, holes filled.",
        "",
        *lines,
    ]


def phantom(record: Mapping[str, Any]) -> list[str]:
    """Return the part on synthetic radiographs."""
    rows = [[name, *_row(one["mean"])] for name, one in record["sets"].items()]
    net = record["config"]["net"]
    return [
        "### Synthetic radiographs",
        "",
        f"A U-Net of depth {net['depth']} and width {net['width']}, "
        f"{record['config']['epochs']} epochs on {record['train_films']} plain "
        "radiographs: "
        f"{record['training_core_s']:.0f} core-seconds with compilation, "
        f"{record['training_wall_s']:.0f} s of wall time on a busy machine. Judged on "
        "other synthetic patients, plain or all of them with one shortcut that the "
        "training radiographs lack.",
        "",
        *markdown(_HEAD, rows),
        "",
        f"`{record['command']}`",
        "",
    ]


def covid(record: Mapping[str, Any]) -> list[str]:
    """Return the part on the COVID-19 image collection."""
    radiographs, accepted = record["films"], record["accepted"]
    net, side = record["config"]["net"], record["side"]
    views = ", ".join(
        f"{view} {dice:.3f} ({count} radiographs)"
        for view, (count, dice) in record["by_view"].items()
    )
    refused = ""
    if record["dice_abstained"] is not None:
        refused = f", {record['dice_abstained']:.3f} on the others"
    across = [[name, interval(one)] for name, one in record["across"].items()]
    return [
        "### COVID-19 image collection",
        "",
        f"{radiographs} radiographs with lung masks of {record['patients']} patients, "
        "cut square, "
        f"{side}x{side} pixels; {record['folds']} folds by patient, each radiograph "
        "judged "
        f"by the network that never saw its patient. Depth {net['depth']}, width "
        f"{net['width']}, {record['config']['epochs']} epochs, last epoch, "
        f"{record['core_s'] / 60:.1f} core-minutes in all; one seed.",
        "",
        *markdown(_HEAD, [[f"{radiographs} real radiographs", *_row(record["mean"])]]),
        "",
        f"- Median Dice {record['median']:.3f}; the worst five: "
        + ", ".join(f"{one:.2f}" for one in record["worst"])
        + f". By view: {views}.",
        f"- Quality control with its default limits uses {accepted} of {radiographs} "
        "masks: "
        f"mean Dice {record['dice_accepted']:.3f} on those{refused}.",
        "- Nearly all of these patients have COVID-19, and the masks include the lung",
        "  behind the heart: no statement on other patients or other masks.",
        "",
        "Across sources, without retraining:",
        "",
        *markdown(("trained on, judged on", "Dice"), across),
        "",
        f"`{record['command']}`",
        "",
    ]


def _row(mean: Mapping[str, Any]) -> list[str]:
    return [
        interval(mean["dice"]),
        interval(mean["iou"]),
        interval(mean["hd95"], digits=2),
    ]
