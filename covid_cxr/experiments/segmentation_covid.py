"""Lungs of the COVID-19 image collection: three folds by patient.

Command: ``python -m covid_cxr.experiments.segmentation_covid --data-dir DIR``, DIR in
the layout of ieee8023/covid-chestxray-dataset with its lung masks. Radiographs are cut
square and reduced to 64x64 pixels. Each radiograph is judged once, by the U-Net that
never saw its patient; nothing is chosen on the held-out radiographs (last epoch,
default cleaning and quality limits). Takes up where it was interrupted; ``--only
fold0`` trains one fold and stops. About 3 minutes of one core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from covid_cxr.experiments import RECORDED
from covid_cxr.experiments.segmentation_phantom import cohort
from covid_cxr.segmentation import (
    Radiographs,
    SegmentConfig,
    Segmenter,
    UNetConfig,
    agreement,
    checked,
    evaluate,
    fit,
    load,
    predict,
)
from covid_cxr.sources import build, has_mask
from covid_cxr.sources import load as load_radiographs
from covid_cxr.splits import folds
from synaptax.runs import environment, read_json, write_json

CONFIG = SegmentConfig(net=UNetConfig(depth=3, width=8), epochs=20)
SIDE, FOLDS = 64, 3


def radiographs_of(folder: Path, side: int) -> tuple[Radiographs, Any]:
    """Return the radiographs that have a lung mask, and their table."""
    index = build(folder, "covid_chestxray").index
    rows = [row for row in range(len(index)) if has_mask(index, row)]
    loaded = load_radiographs(index.select(np.array(rows)), side, masks=("lungs",))
    masked = loaded.masked["lungs"]
    radiographs = Radiographs(
        loaded.images[masked], loaded.masks["lungs"][masked][:, None]
    )
    return radiographs, loaded.index.select(np.flatnonzero(masked))


def trained(
    radiographs: Radiographs, held: np.ndarray, folder: Path
) -> tuple[Segmenter, float]:
    """Train on the radiographs that are not held out, or take up that run.

    Args:
        radiographs: all of them.
        held: (N,) bool.
        folder: of the run.

    Returns:
        The network, and the core-seconds that this call took.
    """
    core = time.process_time()
    net = fit(
        CONFIG,
        Radiographs(radiographs.image[~held], radiographs.mask[~held]),
        Radiographs(radiographs.image[held], radiographs.mask[held]),
        folder=folder,
        resume=True,
        quiet=False,
    )
    return net, time.process_time() - core


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the folds, judge, and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/segment-covid"))
    parser.add_argument("--only", help="train this fold alone, e.g. fold0")
    parser.add_argument("--phantom", type=Path, default=Path("runs/segment-phantom"))
    options = parser.parse_args(arguments)
    radiographs, index = radiographs_of(options.data_dir, SIDE)
    fold = folds(index, FOLDS, labels=(), by_source=False)
    probability = np.zeros(radiographs.image.shape, np.float32)
    names = np.unique(fold) if options.only is None else [options.only]
    for name in names:
        test, place = fold == name, options.run_dir / str(name)
        net, core = trained(radiographs, test, place)
        probability[test] = predict(net, radiographs.image[test])[:, 0]
        if not (place / "core.json").exists():
            write_json(place / "core.json", round(core, 1))
    if options.only is None:
        write_json(
            RECORDED / "segmentation_covid.json",
            record_of(radiographs, index, fold, probability, net, options),
        )


def record_of(
    radiographs: Radiographs,
    index: Any,
    fold: np.ndarray,
    probability: np.ndarray,
    last: Segmenter,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return what is recorded of all folds."""
    cores = [read_json(options.run_dir / str(f) / "core.json") for f in np.unique(fold)]
    judged = [checked(one[None]) for one in probability]
    masks = np.stack([one.mask for one in judged])
    truth, key = np.asarray(radiographs.mask)[:, 0], jax.random.key(0)
    result = agreement(masks, truth, key=key, patient=index.patient)
    accepted = np.array([one.quality.accepted for one in judged])
    dice = result.per_radiograph["dice"]
    return {
        "command": "python -m covid_cxr.experiments.segmentation_covid --data-dir DIR",
        "seeds": [CONFIG.seed],
        "config": CONFIG,
        "side": SIDE,
        "folds": FOLDS,
        "films": result.radiographs,
        "patients": result.patients,
        "core_s": round(sum(cores), 1),
        "mean": result.mean,
        "worst": np.sort(dice)[:5].round(3),
        "median": float(np.median(dice)),
        "by_fold": {str(f): float(dice[fold == f].mean()) for f in np.unique(fold)},
        "by_view": {
            str(v): [int((index.view == v).sum()), float(dice[index.view == v].mean())]
            for v in np.unique(index.view)
        },
        "accepted": int(accepted.sum()),
        "dice_accepted": float(dice[accepted].mean()),
        "dice_abstained": float(dice[~accepted].mean()) if not accepted.all() else None,
        "across": _across(radiographs, index, last, options.phantom),
        **environment(),
    }


def _across(
    radiographs: Radiographs,
    index: Any,
    last: Segmenter,
    phantom: str | os.PathLike[str],
) -> dict[str, Any]:
    """Return what either network makes of the other's radiographs."""
    key, synthetic = jax.random.key(1), cohort(1, 64)
    there = Radiographs(synthetic.images, synthetic.lungs)
    dice = {"real on phantom": evaluate(last, there, key=key).mean["dice"]}
    if Path(phantom).exists():
        dice["phantom on real"] = evaluate(
            load(phantom), radiographs, key=key, patient=index.patient
        ).mean["dice"]
    return dice


if __name__ == "__main__":
    main()
