"""Right and left lungs of synthetic radiographs, trained and judged in three minutes.

Command: ``python -m covid_cxr.experiments.segmentation_phantom``. 160 radiographs train
    a
U-Net of depth 3 and width 8 at 64x64 pixels for 12 epochs; 64 radiographs of other
synthetic patients judge it, plain and then with each of the shortcuts that change a
radiograph's look. About a minute on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from covid_cxr.experiments import RECORDED
from covid_cxr.phantom import Cohort, Hospital, Phantom, generate
from covid_cxr.segmentation import (
    Radiographs,
    SegmentConfig,
    UNetConfig,
    across_sources,
    fit,
    save,
)
from synaptax import runs

CONFIG = SegmentConfig(net=UNetConfig(depth=3, width=8, outputs=2), epochs=12)
SHIFTS = ("border", "intensity", "body", "view", "marker", "jpeg")
SIDE, TRAIN, TEST = 64, 160, 64


def cohort(seed: int, patients: int, trait: str | None = None) -> Phantom:
    """Return synthetic radiographs, all of them with a trait if one is named."""
    traits = {} if trait is None else {trait: 1.0}
    one = Hospital("phantom", traits=traits)
    config = Cohort(patients=patients, size=SIDE, hospitals=(one,))
    return generate(jax.random.key(seed), config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/segment-phantom"))
    options = parser.parse_args(arguments)
    train = cohort(0, TRAIN)
    wall, core = time.monotonic(), time.process_time()
    trained = fit(CONFIG, Radiographs(train.images, train.lungs), quiet=False)
    wall, core = time.monotonic() - wall, time.process_time() - core
    save(trained, options.run_dir)
    sets = {}
    for number, trait in enumerate((None, *SHIFTS), start=1):
        radiographs = cohort(number, TEST, trait)
        sets[trait or "as trained"] = (
            Radiographs(radiographs.images, radiographs.lungs),
            radiographs.index.patient,
        )
    agreements = across_sources(trained, sets, key=jax.random.key(0))
    record = {
        "command": "python -m covid_cxr.experiments.segmentation_phantom",
        "seeds": [CONFIG.seed],
        "config": CONFIG,
        "train_films": TRAIN,
        "training_wall_s": round(wall, 1),
        "training_core_s": round(core, 1),
        "sets": {
            name: {"films": one.radiographs, "unit": one.unit, "mean": one.mean}
            for name, one in agreements.items()
        },
        **runs.environment(),
    }
    runs.write_json(RECORDED / "segmentation_phantom.json", record)


if __name__ == "__main__":
    main()
