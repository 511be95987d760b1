"""The paper's matrix: training mixes and pre-trainings against test sets.

Command: ``python -m covid_cxr.experiments.matrix DATA``, DATA as for
:mod:`covid_cxr.experiments.study_real`; the children's radiographs are read as
``pneumonia_mnist_rebuilt`` by TFDS. The target is what the COVID-19 collection has from
Radiopaedia, both classes from one publisher, for the paper's one hospital; the second
set is the rest of the collection (patients of both left out). NIH and the children
are without COVID-19. Mixes as in the paper: target, padded with negatives of NIH or of
the children, target and second, second. The protocol is "fixed". No table says which
radiographs show no sign of the disease, so the paper's test sets by report are missing.

A narrow ResNet-18 from random weights, from NIH's pneumonia and from the children's; a
narrow ResNet-50 from random weights; with ``--segmenter FOLDER`` (that of
``study_real``) the lungs alone in two orders. Without ``--all`` pre-training (one seed)
is for the three mixes of the target, and ResNet-50 for the target. One network is
tested on all sets. ``--side 128 --width 64`` is a real size: a step of 8 radiographs
takes 0.70 core-seconds there (measured, without augmentation), so the matrix of
ResNet-18 about an hour of one core. Resumable by cell.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covid_cxr.experiments import _studies
from covid_cxr.problems import Problems
from covid_cxr.sources import build
from covid_cxr.sources.base import read_table
from covid_cxr.study import StudyConfig, parse
from synaptax.data.images import load

NAME = "matrix"
CHILDREN = 300  # of each class
PAIRED = ("target", "second")  # sets with COVID-19
TESTS = ("own", "target", "second", "nih", "children")
PRETRAININGS = {
    "none": {},
    "nih": {"set": "nih", "label": "pneumonia"},
    "children": {"set": "children", "label": "pneumonia"},
}
MIXES = {
    "target": {"kind": "target", "target": "target"},
    "target+nih": {"kind": "target+negatives", "target": "target", "other": "nih"},
    "target+children": {
        "kind": "target+negatives",
        "target": "target",
        "other": "children",
    },
    "target+second": {"kind": "target+second", "target": "target", "other": "second"},
    "second": {"kind": "second", "other": "second"},
}
#: A set that a study trains on is tested on its test part, another one whole.
GROUPS = {
    "target": ("target", "target+nih", "target+children"),
    "both": ("target+second",),
    "second": ("second",),
}


def sets(data: Path, folder: Path) -> dict[str, Any]:
    """Write the tables of the sets, and return their fields.

    Args:
        data: as for the command.
        folder: where tables go, and the children's radiographs.
    """
    root = data / "covid_chestxray"
    index = build(root, "covid_chestxray").index
    table = read_table(root / "metadata.csv", Problems(), need=("filename", "url"))
    home = {f"images/{get('filename')}": get("url") for _, get in table.rows()}
    ours = np.array(["radiopaedia.org" in home[path] for path in index.path.tolist()])
    both = np.isin(index.patient, index.patient[ours]) & ~ours
    parts = {"target": index.select(ours), "second": index.select(~ours & ~both)}
    return {
        **{
            name: _studies.own_set(
                folder / f"{name}.csv", one, covid=one.label("covid")
            )
            for name, one in parts.items()
        },
        "nih": {"path": str(data / "nih_pneumonia"), "source": "nih"},
        "children": children(folder / "children"),
    }


def children(folder: Path) -> dict[str, Any]:
    """Write radiographs of the children, each in the folder of its class, once."""
    if not folder.is_dir():
        data = load("pneumonia_mnist_rebuilt", progress=False)
        image = (data.train.image * data.std[0] + data.mean[0]) * 255
        for label in (0, 1):
            (folder / f"{label}").mkdir(parents=True)
            for row in np.flatnonzero(data.train.label == label)[:CHILDREN]:
                pixels = np.rint(image[row, ..., 0]).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{label}" / f"{row}.png")
    return {
        "path": str(folder),
        "source": "folders",
        "patients": "[0-9]+(?=.png)",  # none is given: each counts as its own
        "labels": {
            "covid": {"positive": [], "negative": ["0", "1"]},
            "pneumonia": {"positive": ["1"], "negative": ["0"]},
        },
    }


def studies(options: argparse.Namespace) -> dict[str, StudyConfig]:
    """Return the studies: by what is trained on, by encoder and by preparation."""
    tables = sets(options.data.absolute(), options.run_dir / "sets")
    narrow = {"resnet18": {"architecture": "resnet18", "width": options.width}}
    deep = {"resnet50": {"architecture": "resnet50", "width": options.width // 2}}
    first = {
        name: {**one, "epochs": options.first_epochs}
        for name, one in PRETRAININGS.items()
    }
    plain = {"none": first.pop("none")}
    configs: dict[str, dict[str, Any]] = {}
    for name, mixes in GROUPS.items():
        one = {"mixes": mixes, "encoders": narrow, "pretrainings": plain}
        configs[name] = one
        if options.all or name == "target":
            few = {"pretrainings": first, "seeds": options.seeds[: options.first_seeds]}
            # At 28 pixels radiographs of two children may have one hash.
            let = {"allow": ["duplicates"]}
            configs[f"{name}, pre-trained"] = {**one, **few, **let}
            deeper = {"encoders": deep, "mixes": mixes if options.all else mixes[:1]}
            configs[f"{name}, resnet50"] = {**one, **deeper}
    if options.segmenter:
        configs["target, lungs"] = {
            "mixes": GROUPS["target"][:2],
            "encoders": narrow,
            "pretrainings": plain,
            "segmenter": str(options.segmenter.absolute()),
            "segment": "all",
            "preprocessing": ["masked", "lungs-equalised"],
        }
    common = {
        "sets": tables,
        "tests": list(TESTS),
        "side": options.side,
        "seeds": options.seeds,
        "epochs": options.epochs,
        "batch": 8,
        "rate": 0.02,
        "replicates": 2000,
        "bias": False,
        "keep": False,
    }
    return {
        name: parse(
            {
                **common,
                **one,
                "name": name,
                "mixes": {mix: MIXES[mix] for mix in one["mixes"]},
            }
        )
        for name, one in configs.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--first-epochs", type=int, default=4)
    parser.add_argument(
        "--first-seeds", type=int, default=1, help="of pre-trained ones"
    )
    parser.add_argument("--all", action="store_true", help="every mix from every start")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--segmenter", type=Path)
    _studies.main(NAME, __doc__, studies, parser, arguments)


if __name__ == "__main__":
    main()
