"""RESULTS.md's sections on the paper's matrix and on the repairs, and the figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from covid_cxr.experiments import RECORDED
from covid_cxr.experiments._results_segmentation import interval
from covid_cxr.study.choices import CHOICES
from synaptax.reports.drawing import COLOURS, GREY, blank
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

Rows = Sequence[Mapping[str, Any]]
_HEAD = ("AUC", "sensitivity", "specificity", "F", "odds ratio", "miss rate")
_KEYS = ("auc", "sensitivity", "specificity", "f_score", "dor", "miss_rate")
STUDIES = ("target", "target, pre-trained", "target, resnet50", "both", "second")
_PARTS = ("value", "low", "high")


def held(name: str) -> Mapping[str, Any] | None:
    """Return a record, if there is one."""
    path = RECORDED / f"{name}.json"
    return read_json(path) if path.exists() else None


def rows_of(record: Mapping[str, Any]) -> Rows:
    """Return the rows of all of a record's studies."""
    return [row for one in record["studies"].values() for row in one["rows"]]


def sections() -> list[str]:
    """Return what was recorded, as Markdown lines; nothing if nothing was."""
    lines: list[str] = []
    for name, section in (("matrix", matrix), ("repairs", repairs)):
        record = held(name)
        if record is not None:
            lines += section(record)
    return lines


def matrix(record: Mapping[str, Any]) -> list[str]:
    """Return the part on the matrix."""
    rows = rows_of(record)
    table = [
        [
            row["encoder"],
            row["pretraining"],
            row["mix"]
            + ("" if (kind := row["preprocessing"]) == "none" else f", {kind}"),
            row["test"],
            f"{row['radiographs']} ({row['positives']})",
            *(interval(row[key], digits=2) for key in _KEYS),
        ]
        for row in rows
    ]
    first = ("encoder", "pre-training", "trained on", "tested on", "radiographs")
    return [
        "## The matrix: training mixes and pre-trainings against test sets",
        "",
        f"{len(rows)} cells, {len(record['seeds'])} seeds from random weights and "
        f"{record['first_seeds']} after pre-training; a score is the mean of the "
        f"seeds', intervals are by patient. {record['side']}x{record['side']} pixels, "
        f"{record['epochs']} epochs (stage 1: {record['first_epochs']}), ResNet-18 of "
        f"width {record['width']}, ResNet-50 of width {record['width'] // 2}, the "
        "repaired protocol, threshold "
        "chosen on the validation part. Target: radiographs of the COVID-19 collection "
        "from Radiopaedia; second: the rest of the collection; nih and children: "
        "without COVID-19. A set that is trained on is tested on its test part. "
        '"Pneumonia taken for it": ordinary pneumonia counts as the positive, so 0.5 '
        "is right. Radiographs without signs in the report, a test set of the paper, "
        "are marked in no table here.",
        "",
        *markdown((*first, *_HEAD), table),
        "",
        _believed(rows),
        "",
        *_unrecorded(record),
        f"`{record['command']}`, {_time(record)}.",
        "",
    ]


def repairs(record: Mapping[str, Any]) -> list[str]:
    """Return the part on the repairs."""
    lines = [
        "## The published protocol and its repairs, one at a time",
        "",
        f"ResNet-18 of width {record['width']}, {record['side']}x{record['side']}, "
        f"{record['first_epochs']} epochs of stage 1 (no finding, pneumonia alone, "
        f"pneumonia beside another finding; NIH), {record['epochs']} of stage 2, "
        f"{len(record['seeds'])} seeds. A repair that changes the split or the crop "
        "changes the test radiographs too. What is published was read in the "
        "released code (one choice derived from it):",
        "",
        *markdown(
            ("choice", "published", "evidence", "repaired"),
            [
                [name, one.published, one.evidence, one.repaired]
                for name, one in CHOICES.items()
            ],
        ),
        "",
    ]
    for mix in ("target", "target+negatives"):
        body = [
            [
                name if row["preprocessing"] == "none" else row["preprocessing"],
                *(interval(row[key], digits=2) for key in _KEYS),
                ", ".join(f"{float(area):.2f}" for area in row["seeds"]),
            ]
            for name, one in record["studies"].items()
            for row in one["rows"]
            if (row["mix"], row["test"]) == (mix, "own")
        ]
        head = ("repaired", *_HEAD, "AUC of seeds")
        lines += [f"Trained and tested on {mix}:", "", *markdown(head, body), ""]
    lines += [_changed(record), ""]
    return [*lines, f"`{record['command']}`, {_time(record)}.", ""]


def _changed(record: Mapping[str, Any]) -> str:
    """Say which repairs move a figure by more than the intervals, and in which mix."""
    own = lambda study: {
        (row["mix"], row["preprocessing"]): row
        for row in study["rows"]
        if row["test"] == "own"
    }
    base = own(record["studies"].get("as published", {"rows": ()}))
    changes = [
        f"{name}, {title} on {place[0]}: {interval(row[key], digits=2)} for "
        f"{interval(base[place][key], digits=2)}"
        for name, study in record["studies"].items()
        for place, row in own(study).items()
        for title, key in zip(_HEAD[:3], _KEYS[:3], strict=True)
        if place in base and _apart(row[key], base[place][key])
    ]
    return (
        "**What a repair changes alone**, by more than the 95 % intervals (AUC, "
        f"sensitivity, specificity): {'; '.join(changes) or 'nothing'}. The rest is "
        "within them. They are over patients; chance in training, which the areas of "
        "the seeds show, is not in them."
    )


def _apart(one: Any, other: Any) -> bool:
    """Say whether two intervals have no number in common."""
    low, high = sorted((one, other), key=lambda side: float(side["value"]))
    return float(low["high"]) < float(high["low"])


def _unrecorded(record: Mapping[str, Any]) -> list[str]:
    """Say which studies of the matrix are not recorded, or not to the end."""
    studies = record["studies"]
    lacking = [name for name in STUDIES if name not in studies]
    lacking += [
        f"{k} of {name}" for name, one in studies.items() for k in one["missing"]
    ]
    return [f"Not recorded yet: {'; '.join(lacking)}.", ""] if lacking else []


def _time(record: Mapping[str, Any]) -> str:
    spent = sum(one["core_s"] for one in record["studies"].values())
    return f"{spent / 60:.0f} core-minutes on a {record['device']['kind']}"


def cell(rows: Rows, mix: str, test: str, key: str = "auc", **where: str) -> Any:
    """Return a recorded estimate, of a ResNet-18 from random weights if not said."""
    usual = {"encoder": "resnet18", "pretraining": "none", "preprocessing": "none"}
    keys = {**usual, **where, "mix": mix, "test": test}
    return next(
        (row[key] for row in rows if all(row[n] == v for n, v in keys.items())), None
    )


def _verdict(lower: Any, higher: Any) -> str:
    """Say whether one estimate is below another: intervals apart, or values alone."""
    if float(lower["high"]) < float(higher["low"]):
        return "borne out, the intervals are apart"
    if float(lower["value"]) < float(higher["value"]):
        return "in the direction only, the intervals overlap"
    return "not borne out"


def _believed(rows: Rows) -> str:
    """Say which of the paper's warnings the record bears out."""
    texts = ["**Which warnings are borne out** (ResNet-18 from random weights)."]

    def warn(text: str, lower: Any, higher: Any) -> None:
        if lower is not None and higher is not None:
            numbers = (interval(one, digits=2) for one in (lower, higher))
            texts.append(text.format(*numbers) + f": {_verdict(lower, higher)}.")

    own = cell(rows, "target", "own")
    called = cell(rows, "target", "own", "specificity")
    for name, who in (("nih", "NIH"), ("children", "the children")):
        mixed = f"target+{name}"
        warn(
            f"Negatives of {who} make the score look better: AUC on its own test part "
            "{0} without and {1} with them",
            own,
            cell(rows, mixed, "own"),
        )
        warn(
            "The same networks inside the target, where no negative is theirs: {0} "
            f"against {{1}} on the mix (with {who})",
            cell(rows, mixed, "target"),
            cell(rows, mixed, "own"),
        )
        warn(
            f"Specificity on the target's negatives falls with negatives of {who}: "
            "{0} with and {1} without them",
            cell(rows, mixed, "target", "specificity"),
            called,
        )
        warn(
            f"Radiographs of {who} are called COVID-19 where the training had none: "
            "specificity there {0}, and {1} where it had",
            cell(rows, "target", name, "specificity"),
            cell(rows, mixed, name, "specificity"),
        )
    warn(
        "Between the two COVID-19 sets a network loses: trained on the target, AUC {0} "
        "on the second set and {1} at home",
        cell(rows, "target", "second"),
        own,
    )
    warn(
        "And the reverse: trained on the second, {0} on the target and {1} at home",
        cell(rows, "second", "target"),
        cell(rows, "second", "own"),
    )
    for name in ("nih", "children"):
        warn(
            f"Pre-training on {name} helps on the target: {{0}} without, {{1}} with it",
            own,
            cell(rows, "target", "own", pretraining=name),
        )
    warn(
        "A deeper network gains (the paper: no clear gain): {0} of the ResNet-18, {1} "
        "of the ResNet-50",
        own,
        cell(rows, "target", "own", encoder="resnet50"),
    )
    return " ".join(texts)


def figure() -> Any:
    """Draw the matrix: a panel a test set, a row a training, intervals by patient."""
    record = held("matrix")
    assert record is not None
    rows = [row for row in rows_of(record) if row["preprocessing"] == "none"]
    panels = (
        ("own", "auc", "own test part: AUC"),
        ("target", "auc", "target: AUC"),
        ("second", "auc", "second: AUC"),
        ("target", "specificity", "target: specificity"),
        ("nih", "specificity", "NIH: specificity"),
        ("children", "specificity", "children: specificity"),
    )
    names = list(dict.fromkeys((row["mix"], row["encoder"]) for row in rows))
    starts = list(dict.fromkeys(row["pretraining"] for row in rows))
    middle = (len(starts) - 1) / 2
    canvas = blank(13.0, 0.42 * len(names) + 1.6)
    axes = canvas.subplots(1, len(panels), sharey=True)
    for panel, (test, key, title) in zip(axes, panels, strict=True):
        for row in rows:
            at_home = row["test"] == "own" and row["mix"] == test
            value, low, high = (float(row[key][part]) for part in _PARTS)
            if not (row["test"] == test or at_home) or math.isnan(value):
                continue
            kind = starts.index(row["pretraining"])
            y = names.index((row["mix"], row["encoder"])) + 0.22 * (kind - middle)
            panel.plot([low, high], [y, y], color=COLOURS[kind], linewidth=1.5)
            panel.plot(value, y, "osD"[kind], color=COLOURS[kind], markersize=4)
        panel.axvline(0.5, color=GREY, linewidth=1)
        panel.set(xlim=(-0.02, 1.02), xticks=(0, 0.5, 1), title=title)
        panel.grid(alpha=0.3, axis="x")
        panel.spines[["top", "right"]].set_visible(False)
    labels = [f"{mix}, {encoder}" for mix, encoder in names]
    axes[0].set_yticks(range(len(names)), labels)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    for kind, name in enumerate(starts):
        start = "random weights" if name == "none" else f"pneumonia of {name}"
        axes[0].plot([], [], "osD"[kind], color=COLOURS[kind], label=f"from {start}")
    canvas.legend(loc="outside lower center", ncols=len(starts), frameon=False)
    return canvas
