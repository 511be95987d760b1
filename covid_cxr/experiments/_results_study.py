"""RESULTS.md's sections on shortcuts: synthetic radiographs, then real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from covid_cxr import CAUTION
from covid_cxr.experiments import RECORDED, probe_name
from covid_cxr.experiments._results_segmentation import interval
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

_SECTIONS = ("phantom", "real")
FULL = "study_real_full"  # the record at 128 pixels and full width
_CELL = ("covid-v-nih", "own")  # the mix and test that pre-training is judged on
#: Rows of the data probes that stand beside a network.
_BESIDE = (
    "metadata only",
    "name of the source only",
    "linear, border only",
    "linear, whole radiograph",
    "source from pixels",
    "labels shuffled within source",
)


def sections() -> list[str]:
    """Return what was recorded, as Markdown lines; nothing if nothing was."""
    lines: list[str] = []
    for name, section in zip(_SECTIONS, (phantom, real), strict=True):
        path = RECORDED / f"study_{name}.json"
        if path.exists():
            lines += section(read_json(path))
    if not lines:
        return []
    return ["## Shortcuts in chest radiographs", "", f"{CAUTION}", "", *lines]


def full() -> Mapping[str, Any] | None:
    """Return the record of the real radiographs at a real size, if there is one."""
    path = RECORDED / f"{FULL}.json"
    return read_json(path) if path.exists() else None


def phantom(record: Mapping[str, Any]) -> list[str]:
    """Return the part on synthetic radiographs."""
    rows = []
    for name, one in record["shortcuts"].items():
        fired = [probe["name"] for probe in one["probes"] if probe["fires"]]
        areas = [
            interval(one["linear"][kind][where], digits=2) if "linear" in one else "-"
            for kind in ("whole", "masked")
            for where in ("home", "away")
        ]
        rows.append([name, *areas, "; ".join(fired) or "none"])
    head = ("shortcut", "AUC", "elsewhere", "AUC, masked", "elsewhere, masked")
    lines = [
        "### Synthetic radiographs: the probes against known shortcuts",
        "",
        f"{record['films']} synthetic patients a cohort, {record['side']}x"
        f"{record['side']} pixels, a faint disease. One shortcut goes with the disease "
        f"(correlation {record['strength']}), and against it elsewhere. The classifier "
        "is a logistic regression on 16x16 pictures; at home it is judged on patients "
        'it has not seen. "Masked" leaves the lungs alone. "hospital": two sources '
        "with 85 % and 15 % of positives and a marker in most radiographs of the "
        "first.",
        "",
        *markdown((*head, "probes that fire"), rows),
        "",
        "Without a shortcut all probes are silent and what was learnt holds elsewhere. "
        "With one, the score at home rises and the score elsewhere falls below chance. "
        "Masking takes away marker and border entirely; it does not take away what is "
        "in the lungs too (exposure), or in their outline (view, spacing, body). No "
        "probe here sees a shortcut that lives in the lungs alone.",
        "",
    ]
    if record["networks"]:
        lines += _networks(record["networks"])
    else:
        lines += [
            "The table of narrow networks on these radiographs is not recorded yet.",
            "",
        ]
    denied = [name for name, held_up in record.get("claims", {}).items() if not held_up]
    if denied:
        lines += [f"Expected and not found in this record: {'; '.join(denied)}.", ""]
    return [*lines, f"`{record['command']}`", ""]


def real(record: Mapping[str, Any]) -> list[str]:
    """Return the part on real radiographs."""
    lines = [
        "### Real radiographs: COVID-19 collection and NIH",
        "",
        f"Centred squares at {record['side']}x{record['side']} pixels, ResNet-18 of "
        f"width {record['width']} (from random weights unless it says pre-trained: "
        "then from a trunk that learnt NIH's pneumonia, on none of the patients that "
        f"are tested on), {record['epochs']} epochs, best "
        f"by validation, {len(record['seeds'])} seeds, patients split. The licensed "
        "subset of the collection, so no figure here can be held against a paper's.",
        "",
    ]
    missing = []
    for name, study in record["studies"].items():
        lines += _study(name, study)
        missing += [f"{name}: {key.replace('~', ', ')}" for key in study["missing"]]
    absent = {"covid", "pneumonia"} - set(record["studies"])
    missing += [f"{name}: all of it" for name in sorted(absent)]
    if missing:
        lines += ["Not recorded yet: " + "; ".join(missing) + ".", ""]
    large = full()
    judged, narrow = record["studies"], ""
    if large is not None:
        lines += [f"`{record['command']}`", "", *_full(large, record["studies"])]
        judged, narrow = large["studies"], "The rest is of the narrow networks. "
    lines += [
        "**What may be believed.** That one collection can be told from another: yes, "
        "by borders and tables alone. That a network sees COVID-19: nothing here shows "
        f"it. {_contrast(judged)}{_border(judged)}Wherever one source holds the "
        "positives and another the negatives, the area of a network is to be read "
        "against the probes beside it, which never see a lung; only what it has above "
        "them, on negatives of the same source, could be the disease, and there the "
        "intervals are wide and the negatives are other diseases from other "
        "publishers. "
        "Pneumonia against no finding inside NIH has one source and is the fairer "
        "task, but its border probe, where recorded, says that it is not a fair one. "
        f"{narrow}{_pretrained(record['studies'])}{_without(record['studies'])}",
        "",
        f"`{(large or record)['command']}`",
        "",
    ]
    return lines


def _full(record: Mapping[str, Any], narrow: Mapping[str, Any]) -> list[str]:
    """Return the part on networks of full width, beside the narrow ones."""
    rows = []
    for name, study in record["studies"].items():
        before = {
            (row["mix"], row["test"]): row["auc"]
            for row in narrow.get(name, {"rows": ()})["rows"]
        }
        for row in study["rows"]:
            place = (row["mix"], row["test"])
            if row["positives"] and place in before:
                cells = (interval(one, digits=2) for one in (before[place], row["auc"]))
                rows.append([name, *place, *cells])
    head = ("study", "trained on", "tested on", "AUC, narrow", "AUC, full width")
    hours = sum(
        float(one.get("core_s", 0))
        for study in record["studies"].values()
        for one in study["records"].values()
    )
    lines = [
        f"### Real radiographs at {record['side']} pixels and full width",
        "",
        f"The same radiographs and parts at {record['side']}x{record['side']} pixels, "
        f"ResNet-18 of width {record['width']} from random weights, "
        f"{record['epochs']} epochs, those of the best epoch on validation kept (as "
        f"early stopping would), {len(record['seeds'])} seeds, {hours / 3600:.1f} "
        f"core-hours of {record['device']['cores']} {record['device']['kind']} core.",
        "",
        *markdown(head, rows),
        "",
    ]
    for name, study in record["studies"].items():
        lines += _study(name, study)
    return lines


def _contrast(studies: Mapping[str, Any]) -> str:
    """Say what a network of two collections is worth inside one, if recorded."""
    areas = {
        (row["mix"], row["test"]): interval(row["auc"], digits=2)
        for row in studies.get("covid", {}).get("rows", ())
    }
    try:
        own, inside = (areas["covid-v-nih", test] for test in ("own", "collection"))
    except KeyError:
        return ""
    return (
        "The same networks that tell COVID-19 from NIH radiographs with an area of "
        f"{own} "
        f"tell it from the other radiographs of its own collection with {inside}. "
    )


def _border(studies: Mapping[str, Any]) -> str:
    """Say whether the networks tell the label by the border alone, if they do."""
    records = studies.get("covid", {}).get("records", {})
    for key, one in records.items():
        for probe in one["probes"] if "~covid-v-nih~" in key else ():
            if probe_name(probe) == "network, border only" and probe["fires"]:
                return (
                    "Shown nothing but the border they still tell it with "
                    f"{interval(probe['found'], digits=2)}: part of what they learnt "
                    "lies outside the lungs. "
                )
    return ""


def _pretrained(studies: Mapping[str, Any]) -> str:
    """Say what a trunk that learnt pneumonia changes, if both are recorded."""
    pairs = []
    for name in ("covid", "covid, pre-trained"):
        study = studies.get(name, {"rows": (), "records": {}})
        own = [r["auc"] for r in study["rows"] if (r["mix"], r["test"]) == _CELL]
        moved = [
            one["transfer"]["nih"]["auc"]
            for key, one in study["records"].items()
            if f"~{_CELL[0]}~" in key and "nih" in one.get("transfer", {})
        ]
        if not own or not moved:
            return ""
        pairs.append([interval(one[0], digits=2) for one in (own, moved)])
    (before, plain), (after, moved) = pairs
    return (
        f"From a trunk that learnt pneumonia the area is {after} instead of {before}, "
        "and ordinary pneumonia of NIH is told from no finding by the score for "
        f"COVID-19 with an area of {moved} instead of {plain}. "
    )


def _without(studies: Mapping[str, Any]) -> str:
    """Say what is left without the rest of the radiograph, if it is recorded."""
    cut = {name: one for name, one in studies.items() if name.endswith("lungs alone")}
    if not cut:
        return "The rest of the radiograph has not been taken away yet."
    areas = [
        f"{row['mix']} {interval(row['auc'], digits=2)}"
        for one in cut.values()
        for row in one["rows"]
        if row["test"] == "own"
    ]
    sets = next(iter(cut.values()))["sets"]
    shares = [
        f"{one['abstained']} of {one['abstained'] + one['segmented']} ({name})"
        for name, one in sets.items()
    ]
    return (
        "With nothing left but the lungs, each equalised by itself, the areas are "
        f"{', '.join(areas)}. One U-Net drew all of these lungs and abstained on "
        f"{' and '.join(shares)}; it learnt from masks of COVID-19 radiographs alone "
        "(none "
        "of a patient that is tested on), so its outlines may themselves differ by "
        "source, and where the source is still told from such radiographs the area "
        "is no "
        "more the disease's than before."
    )


def _networks(rows: list[Mapping[str, Any]]) -> list[str]:
    body = [
        [row["mix"], row["films"], row["test"], interval(row["auc"], digits=2)]
        for row in rows
    ]
    head = ("shortcut", "radiographs", "tested on", "AUC")
    leak = _leak(rows)
    return [
        "Narrow ResNet-10, mean of three seeds. Radiographs: as they are (none); "
        "the whole radiograph equalised, then all but the lungs black, which the "
        "authors' released "
        "code calls equalized and masked (masked); the "
        "lungs and nothing else (lungs); those, equalised by themselves "
        "(lungs-equalised).",
        "",
        *markdown(head, body),
        "",
        *([leak, ""] if leak else []),
    ]


def _leak(rows: list[Mapping[str, Any]]) -> str:
    """Say what each way of masking leaves of border and exposure, if recorded."""
    areas = {
        (row["mix"], row["films"]): interval(row["auc"], digits=2)
        for row in rows
        if row["test"] == f"away-{row['mix']}"
    }
    try:
        border = [areas["border", kind] for kind in ("none", "masked", "lungs")]
        bright = [areas["intensity", kind] for kind in ("none", "lungs", "masked")]
    except KeyError:
        return ""
    return (
        f"Where the border goes against the disease the area is {border[0]} "
        f"with whole radiographs and {border[2]} with the lungs alone; with the "
        "published "
        f"order, equalise and then mask, it is {border[1]}: equalising the whole "
        "radiograph "
        "carries the border into the contrast of the lungs, where no mask can take it "
        f"out. For the exposure it is {bright[0]} with whole radiographs and "
        f"{bright[1]} "
        f"with the lungs alone: masking leaves it; equalising takes it out "
        f"({bright[2]})."
    )


def _study(name: str, study: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    rows = [
        [
            row["mix"],
            row["test"],
            f"{row['films']} ({row['positives']})",
            interval(row["auc"], digits=2),
            interval(row["specificity"], digits=2),
            _seeds([float(area) for area in row["seeds"]]),
        ]
        for row in study["rows"]
    ]
    if rows:
        head = (
            "trained on",
            "tested on",
            "radiographs (positive)",
            "AUC",
            "specificity",
        )
        lines += [f"Networks, {name}:", "", *markdown((*head, "seeds"), rows), ""]
    body = []
    for key, one in study["records"].items():
        if not key.startswith("data~"):
            body += [
                [key.split("~")[2], probe_name(probe), *_verdict(probe)]
                for probe in one["probes"]
            ]
            continue
        body += [
            [key.split("~")[1], probe_name(probe), *_verdict(probe)]
            for probe in one["probes"]
            if probe_name(probe) in _BESIDE
        ]
    head = ("radiographs of", "probe", "value", "alarm")
    return [*lines, f"Probes, {name}:", "", *markdown(head, body), ""]


def _seeds(areas: list[float]) -> str:
    if any(map(math.isnan, areas)):
        return "-"
    return ", ".join(f"{area:.2f}" for area in areas)


def _verdict(probe: Mapping[str, Any]) -> list[str]:
    return [interval(probe["found"], digits=2), "yes" if probe["fires"] else "no"]
