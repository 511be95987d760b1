"""Every shortcut of the synthetic radiographs, switched on alone: which probes fire.

Command: ``python -m covid_cxr.experiments.study_phantom``. For each shortcut a cohort
in which it goes with the disease (correlation 0.9), another hospital's in which it goes
against it, and the same with everything but the lungs masked. A linear classifier of
small pictures is trained on the first and judged on the second; then a narrow ResNet-10
on three of them, with whole radiographs and with three ways of masking. About a
core-minute for the probes and 13 for the networks, whose part is resumable.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from covid_cxr.bias import of_data
from covid_cxr.bias.linear import logistic, out_of_fold, pixels
from covid_cxr.experiments import RECORDED
from covid_cxr.metrics import auc_interval
from covid_cxr.phantom import COVID, TRAITS, Cohort, Hospital, Phantom, generate
from covid_cxr.segmentation import variants
from covid_cxr.study import StudyConfig, parse, run
from covid_cxr.study.probes import recorded
from covid_cxr.study.summaries import collect
from synaptax import runs

NAME = "study_phantom"
SIDE, PATIENTS, STRENGTH, CONTRAST = 48, 300, 0.9, 0.15
NETWORKS = ("none", "border", "intensity")
KINDS = ("none", "masked", "lungs", "lungs-equalised")
#: Hospitals whose share of positives differs, and whose radiographs do.
CONFOUNDED = (
    Hospital("a", covid=0.85, traits={"marker": 0.9}),
    Hospital("b", covid=0.15, traits={"marker": 0.1}),
)


def cohort(seed: int, shortcut: str, strength: float) -> Phantom:
    """Return radiographs in which one shortcut, or none, goes with the disease."""
    tied = {} if shortcut == "none" else {shortcut: strength}
    config = Cohort(PATIENTS, size=SIDE, contrast=CONTRAST, shortcuts=tied)
    return generate(jax.random.key(seed), config)


def linear(home: Phantom, away: Phantom) -> dict[str, Any]:
    """Return the areas of a linear classifier at home, away, and masked.

    Args:
        home: trained on, and judged out of fold.
        away: judged on.
    """
    out: dict[str, Any] = {}
    for kind in ("whole", "masked"):
        here, there = (pixels(_radiographs(one, kind)) for one in (home, away))
        label, other = _label(home), _label(away)
        inside = out_of_fold(home.index, here, label)
        outside = logistic(here, label)(there)
        out[kind] = {
            "home": auc_interval(label, inside),
            "away": auc_interval(other, outside),
        }
    return out


def probed(radiographs: Phantom) -> list[dict[str, Any]]:
    """Return the records of all probes that need no network."""
    lungs = radiographs.lungs.any(axis=1)
    probes = of_data(radiographs.index, _label(radiographs), radiographs.images, lungs)
    return [recorded(one) for one in probes]


def networks() -> StudyConfig:
    """Return the study of narrow networks on three of the cohorts."""
    away = {f"away-{name}": (name, -STRENGTH, 20) for name in NETWORKS}
    home = {name: (name, STRENGTH, 10) for name in NETWORKS}
    sets = {}
    for key, (shortcut, strength, seed) in {**home, **away}.items():
        tied = {} if shortcut == "none" else {shortcut: strength}
        phantom = {"patients": PATIENTS, "contrast": 0.35, "shortcuts": tied}
        sets[key] = {"phantom": phantom, "seed": seed + NETWORKS.index(shortcut)}
    return parse(
        {
            "name": "phantom-networks",
            "side": SIDE,
            "seeds": [0, 1, 2],
            "epochs": 4,
            "batch": 8,
            "rate": 0.03,
            "bias": False,
            "sets": sets,
            "encoders": {"resnet10": {"architecture": "resnet10", "width": 8}},
            "mixes": {name: {"kind": "target", "target": name} for name in NETWORKS},
            "tests": ["own", *away],
            "preprocessing": list(KINDS),
        }
    )


def probes_record() -> dict[str, Any]:
    """Measure what needs no network, and return it as it is recorded."""
    wall, core = time.monotonic(), time.process_time()
    rows: dict[str, Any] = {}
    for name in ("none", *TRAITS):
        home = cohort(1, name, STRENGTH)
        rows[name] = {
            "linear": linear(home, cohort(2, name, -STRENGTH)),
            "probes": probed(home),
        }
    config = Cohort(PATIENTS, size=SIDE, contrast=CONTRAST, hospitals=CONFOUNDED)
    tied = generate(jax.random.key(3), config)
    rows["hospital"] = {"probes": probed(tied)}
    return {
        "command": f"python -m covid_cxr.experiments.{NAME}",
        "seeds": [0, 1, 2],
        "films": PATIENTS,
        "side": SIDE,
        "strength": STRENGTH,
        "shortcuts": rows,
        "networks": [],
        "probes_wall_s": round(time.monotonic() - wall, 1),
        "probes_core_s": round(time.process_time() - core, 1),
        **runs.environment(),
    }


def networks_record(folder: Path) -> dict[str, Any]:
    """Train the networks that are not trained yet, and return what is recorded."""
    config = networks()
    run(config, folder, report=lambda text: print(text, flush=True))
    results = collect(config, folder)
    rows = [
        {
            "mix": row.cell.mix,
            "films": row.cell.preprocessing,
            "test": row.test,
            "auc": row.report.metrics["auc"],
            "seeds": row.seeds,
        }
        for row in results.rows
        if row.test in ("own", f"away-{row.cell.mix}")
    ]
    cores = [one["core_s"] for one in results.records.values() if "core_s" in one]
    return {"networks": rows, "networks_core_s": round(sum(cores), 1)}


def claims(record: Mapping[str, Any]) -> dict[str, bool]:
    """Return what the record was made to show, and whether it shows it.

    A shortcut is gone where the whole interval of the area elsewhere is above 1/2, and
    there where it is below.
    """
    shortcuts = record["shortcuts"]
    fired = {
        name: any(probe["fires"] for probe in one["probes"])
        for name, one in shortcuts.items()
    }
    away = {
        (name, kind): one["linear"][kind]["away"]
        for name, one in shortcuts.items()
        if "linear" in one
        for kind in ("whole", "masked")
    }
    verdicts = {
        "off, no probe fires": not fired["none"],
        "on, probes fire for every shortcut": all(fired[name] for name in TRAITS),
        "on, the linear area elsewhere falls below chance": all(
            _below(away[name, "whole"]) for name in TRAITS
        ),
        "linear, masking removes the border": _above(away["border", "masked"]),
        "linear, masking leaves the exposure": _below(away["intensity", "masked"]),
    }
    areas = {
        (row["mix"], row["films"]): row["auc"]
        for row in record["networks"]
        if row["test"] != "own"
    }
    if areas:
        border, bright = (
            {kind: areas[name, kind] for kind in KINDS} for name in NETWORKS[1:]
        )
        verdicts |= {
            "network, the area elsewhere falls below chance": _below(border["none"])
            and _below(bright["none"]),
            "network, the lungs alone: the border is gone": _above(border["lungs"]),
            "network, the lungs alone: the exposure stays": _below(bright["lungs"]),
            "network, equalised then masked as published: the border is gone": _above(
                border["masked"]
            ),
            "network, equalised then masked as published: the exposure stays": _below(
                bright["masked"]
            ),
            "network, lungs equalised by themselves: both are gone": _above(
                border["lungs-equalised"]
            )
            and _above(bright["lungs-equalised"]),
        }
    return verdicts


def _below(found: Any) -> bool:
    return bool(_ends(found)[1] < 0.5)


def _above(found: Any) -> bool:
    return bool(_ends(found)[0] > 0.5)


def _ends(found: Any) -> tuple[float, float]:
    one = found if isinstance(found, Mapping) else found._asdict()
    return float(one["low"]), float(one["high"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/study-phantom"))
    parser.add_argument("--probes-only", action="store_true", help="train no network")
    parser.add_argument(
        "--networks-only", action="store_true", help="keep the recorded probes"
    )
    options = parser.parse_args(arguments)
    target = RECORDED / f"{NAME}.json"
    record = runs.read_json(target) if options.networks_only else probes_record()
    if not options.networks_only:
        runs.write_json(target, {**record, "claims": claims(record)})
    if not options.probes_only:
        record = {**record, **networks_record(options.run_dir)}
        runs.write_json(target, {**record, "claims": claims(record)})


def _label(radiographs: Phantom) -> np.ndarray:
    return (radiographs.finding == COVID).astype(np.int64)


def _radiographs(radiographs: Phantom, kind: str) -> Any:
    if kind == "whole":
        return radiographs.images
    return variants(radiographs.images, radiographs.lungs.any(axis=1))["lungs_only"]


if __name__ == "__main__":
    main()
