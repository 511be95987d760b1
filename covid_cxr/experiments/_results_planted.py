"""The section on planted shortcuts, and its figure, from the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from covid_cxr.benchmarks.shortcuts import STRENGTHS
from covid_cxr.experiments import RECORDED
from synaptax.reports.drawing import blank
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

NAME = "planted_shortcuts"
#: A letter for each probe in the figure.
LETTERS = {
    "metadata only": "m",
    "name of the source only": "n",
    "linear, border only": "b",
    "linear, boxed out": "x",
    "linear, lungs removed": "r",
    "texture, border only": "t",
    "fine detail, border at the stored size": "d",
    "source from pixels": "s",
    "labels shuffled within source": "w",
}


def record() -> Mapping[str, Any] | None:
    """Return what was recorded, if anything was."""
    path = RECORDED / f"{NAME}.json"
    return read_json(path) if path.exists() else None


def fired(probes: Mapping[str, Any]) -> list[str]:
    """Return the probes that raise an alarm."""
    return [name for name, (*_, fires, _) in probes.items() if fires]


def sections() -> list[str]:
    """Return the section's Markdown lines; nothing if nothing was recorded."""
    data = record()
    if data is None:
        return []
    rates = [
        [name, len(draws), sum(map(bool, draws)), ", ".join(_names(draws)) or "none"]
        for name, draws in data["rates"].items()
    ]
    lines = [
        "## Planted shortcuts: what the probes of data see",
        "",
        "Radiographs with classes dealt among patients at random, so that nothing "
        "tells them, and a shortcut planted in one class at the stored size (512 "
        "pixels; "
        f"{data['stored']['phantom']} in synthetic ones), before they are reduced to "
        f"{data['side']}. How often a probe raises an alarm, 1,000 radiographs a draw:",
        "",
        *markdown(("planted", "draws", "with an alarm", "by"), rates),
        "",
    ]
    columns = list(data["table"])
    if columns:
        lines += _table(data["table"], columns)
    return [*lines, f"`{data['command']}`", ""]


def _table(table: Mapping[str, Any], columns: list[str]) -> list[str]:
    names = list(dict.fromkeys(name for part in table.values() for name in part))
    rows = []
    for name in names:
        row = [name]
        for part in columns:
            kinds = table[part].get(name, {})
            row += [_letters(kinds[w]) if w in kinds else "" for w in STRENGTHS]
        rows.append(row)
    head = [f"{part}: {word}" for part in columns for word in STRENGTHS]
    key = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items())
    return [
        "Which probes raise an alarm, by set, number of radiographs and strength (-: "
        f"none; empty: not planted there or not measured): {key}.",
        "",
        *markdown(("shortcut", *head), rows),
        "",
        *(f"- {part}: {_unseen(table[part])}" for part in columns),
        "",
        "What lies over the lungs alone raises no alarm, as a disease may show there: "
        "the probes of the whole radiograph tell it, and are printed beside the others "
        f"({_over_the_lung(table)}).",
        "",
    ]


def _unseen(part: Mapping[str, Any]) -> str:
    """Return which shortcuts no probe raises an alarm for, whatever their strength."""
    names = [name for name, one in part.items() if not any(map(fired, one.values()))]
    return f"no alarm at any strength for {'; '.join(names) or 'none of them'}"


def _over_the_lung(table: Mapping[str, Any]) -> str:
    """Return the area that the whole radiograph gives for the strongest device."""
    texts = []
    for part, rows in table.items():
        if "device over the lung" in rows:
            probes = rows["device over the lung"][STRENGTHS[-1]]
            value, low, high = map(float, probes["linear, whole radiograph"][:3])
            ends = "none" if low != low else f"{low:.2f} to {high:.2f}"
            texts.append(f"{part}: {value:.2f} ({ends})")
    head = "a strong device over the lung, AUC with its 95 % interval: "
    return head + ", ".join(texts)


def _letters(probes: Mapping[str, Any]) -> str:
    return "".join(LETTERS.get(name, "?") for name in fired(probes)) or "-"


def _names(draws: list[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for one in draws for name in one))


def figure() -> Any:
    """Draw the largest area of a probe that may raise an alarm, by shortcut."""
    data = record()
    if data is None:
        raise FileNotFoundError(f"{RECORDED}: no {NAME}.json")
    table, columns = data["table"], list(data["table"])
    names = list(dict.fromkeys(name for part in table.values() for name in part))
    areas = np.full((len(names), 3 * len(columns)), np.nan)
    canvas = blank(1.9 * len(columns) + 3.4, 0.27 * len(names) + 1.9)
    axis = canvas.subplots()
    for i, name in enumerate(names):
        for j, part in enumerate(columns):
            for k, word in enumerate(STRENGTHS):
                probes = table[part].get(name, {}).get(word)
                if probes is None:
                    continue
                values = [v[0] for v in probes.values() if v[-1] and v[0] is not None]
                areas[i, 3 * j + k] = max(values)
                text = _letters(probes)
                dark = areas[i, 3 * j + k] < 0.75
                axis.text(
                    3 * j + k,
                    i,
                    text,
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if dark else "black",
                )
    image = axis.imshow(
        np.ma.masked_invalid(areas), vmin=0.5, vmax=1, cmap="cividis", aspect="auto"
    )
    axis.set_yticks(range(len(names)), names, fontsize=10)
    axis.set_xticks(
        range(3 * len(columns)), STRENGTHS * len(columns), rotation=45, fontsize=9
    )
    for j, part in enumerate(columns):
        title = f"{part} radiographs"
        axis.text(3 * j + 1, -0.8, title, ha="center", fontsize=10)
        axis.axvline(3 * j - 0.5, color="white", lw=2)
    axis.set_title(
        "Largest AUC of a probe that may raise an alarm", pad=20, fontsize=11
    )
    axis.set_xlabel("strength of the shortcut")
    canvas.colorbar(image, label="AUC (0.5: chance)")
    key = [f"{letter}: {name}" for name, letter in LETTERS.items()]
    rows = [", ".join(key[k : k + 4]) for k in range(0, len(key), 4)]
    canvas.supxlabel("letters, alarms of " + "\n".join(rows), fontsize=9)
    return canvas
