"""What the comparisons of minima found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.experiments._minima import RECORDED
from analysis.minima.claims import TEXTS, Claim, Effect
from analysis.minima.config import Config
from analysis.minima.report import (
    equal_lines,
    measure_lines,
    title,
    verdict_lines,
    view_lines,
)
from synaptax.runs import read_json

INTRODUCTION = """## Two minima: gradual against one-shot pruning (arXiv 2004.14765)

G is pruned gradually by LOBSTER; S is the same dense network cut once by magnitude to
exactly G's number of parameters and trained for as many epochs; R is S rewound to its
initial weights. The paper's claims are from memory (MEM, but claim 8: read in
the abstract), its text was not at hand: it shows figures, not tables, and no number of
its own can be set beside ours. The rules of the verdicts are fixed in
`analysis.minima.claims`. `minima_lenet300_digits` is compared at exactly equal
sparsity and at equal training loss, with errors as ratios; the others were recorded
before and keep their verdicts: curvature at unequal loss, errors in points, one form of
second-order entropy, and levels of "at least".
"""


def sections() -> list[str]:
    """Return the recorded comparisons as Markdown lines."""
    paths = sorted(RECORDED.glob("minima_*.json"))
    if not paths:
        return [INTRODUCTION, "No comparison has been recorded yet.", ""]
    lines = [INTRODUCTION]
    for path in paths:
        lines += comparison(read_json(path))
    notes = RECORDED / "notes_minima.md"
    if notes.exists():
        lines += [notes.read_text().strip(), ""]
    return lines


def comparison(record: Mapping[str, Any]) -> list[str]:
    """Return one recorded comparison as Markdown lines."""
    config, device = config_of(record), record["device"]
    lines = [f"### {title(config)} (`{record['experiment']}`)", ""]
    lines += [
        f"`{record['command']}`; {record['wall_s'] / 60:.0f} min on "
        f"{device['platform']}, {device['cores']} cores (shared with other work), jax "
        f"{record['versions']['jax']}. {record['note']}".strip(),
        "",
        f"Rate {config.rate:g}, patience {config.patience}, tolerance "
        f"{config.tolerance:g}, batch {config.batch}; epochs: {config.dense_epochs} "
        f"dense + {config.prune_epochs} pruning + {config.tune_epochs} tuning.",
        "",
    ]
    lines += [*verdict_lines(claims_of(record), config.level), ""]
    if "views" in record:
        lines += [*view_lines(record["views"]), "", *equal_lines(record["equal"]), ""]
    lines += [*measure_lines(record["measures"], None), ""]
    for level in config.levels:
        at = measure_lines(record["measures"], level)
        head = f"exactly {level:g}x" if "views" in record else f"{level:g}x or more"
        lines += [f"At {head}:", "", *at, ""]
    return lines


def config_of(record: Mapping[str, Any]) -> Config:
    """Return the config of a recorded comparison."""
    fields = record["config"]
    lists = {key: tuple(value) for key, value in fields.items() if type(value) is list}
    return Config(**{**fields, **lists})


def claims_of(record: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return the claims of a recorded comparison."""

    def effect(fields: Mapping[str, Any]) -> Effect:
        numbers = {key: float(fields[key]) for key in ("mean", "low", "high")}
        values = tuple(float(value) for value in fields["values"])
        return Effect(**{**fields, **numbers, "values": values})

    return tuple(
        Claim(
            claim["number"],
            TEXTS[claim["number"]],
            tuple(map(effect, claim["parts"])),
            tuple(map(effect, claim["variants"])),
            claim["verdict"],
        )
        for claim in record["claims"]
    )
