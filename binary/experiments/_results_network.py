"""What deep binary networks came to, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from binary.experiments.network import RECORDED, VARIANTS
from synaptax.reports.tables import markdown
from synaptax.runs import read_json

_HEAD = ("variant", "binarised", "propagated", "gap", "ensemble", "seeds", "min each")


def sections() -> list[str]:
    """Return the section on deep networks; empty if nothing is recorded."""
    variants = {
        name: [read_json(p) for p in sorted(RECORDED.glob(f"network_{name}-?.json"))]
        for name in VARIANTS
    }
    variants = {name: records for name, records in variants.items() if records}
    if not variants:
        return []
    some = next(iter(variants.values()))[0]
    device, config = some["device"], some["config"]
    widths = "-".join(map(str, config["widths"]))
    lines = [
        "## Deep networks of binary weights and sign activations (1710.09825)",
        "",
        f"Hidden layers {widths}, {config['epochs']} epochs, batch {config['batch']}; "
        "test error in percent, mean and standard deviation over the seeds. Binarised: "
        "the mode of the weights, sign activations, checked in integer arithmetic. "
        "Ensemble: networks drawn from the distribution of the weights. The paper is "
        "remembered at about 1.7 % on MNIST (MEM), BinaryNet with three layers of "
        "4,096 and 1,000 epochs read at about 0.96 %.",
        "",
        *markdown(_HEAD, [_row(name, records) for name, records in variants.items()]),
        "",
        f"{device['platform']}, {device['cores']} cores, jax "
        f"{some['versions']['jax']}; `python -m binary.experiments.network`.",
        "",
    ]
    notes = RECORDED / "notes-network.md"
    return [*lines, notes.read_text().strip(), ""] if notes.exists() else lines


def _row(name: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
    networks = [one for r in records for one in r["results"]["networks"]]
    hard = [one["test_binarised"] for one in networks]
    mean = [one["test_propagated"] for one in networks]
    minutes = sum(r["wall_s"] for r in records) / 60 / len(records)
    straight = name.endswith("straight-through")
    return [
        name,
        _percent(hard),
        "-" if straight else _percent(mean),
        "-" if straight else _percent([h - m for h, m in zip(hard, mean, strict=True)]),
        "-" if straight else _percent([one["test_ensemble"] for one in networks]),
        str(len(networks)),
        f"{minutes:.0f}",
    ]


def _percent(values: Sequence[float]) -> str:
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return f"{100 * mean:.2f}"
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{100 * mean:.2f} ± {100 * spread:.2f}"
