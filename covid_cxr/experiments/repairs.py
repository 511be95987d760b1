"""The published protocol, and each of its repairs alone: what does it change?

Command: ``python -m covid_cxr.experiments.repairs DATA``, DATA as for
:mod:`covid_cxr.experiments.study_real`. Stage 1 learns three classes, as published (no
finding, pneumonia alone and pneumonia beside another finding of NIH: the published set
of children, with bacterial and viral pneumonia, is not here); stage 2 COVID-19 in its
collection alone, and padded with negatives of NIH. A narrow ResNet-18 at 64x64, a few
epochs, 2 seeds; ``--width 64 --side 224 --first-epochs 150 --epochs 100 --seeds 42`` is
the published size. "channel" needs weights of ImageNet, which are not here. With
``--segmenter FOLDER`` also the order of equalising and masking. Resumable.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from covid_cxr.experiments import _studies
from covid_cxr.sources import build
from covid_cxr.study import StudyConfig, parse
from covid_cxr.study.choices import CHOICES

NAME = "repairs"
AS_PUBLISHED, ALL = "as published", "all repairs"
SINGLE = tuple(name for name in CHOICES if name != "channel")
#: Rate and batch of ours, used where the optimizer is.
OURS = {"rate": 0.02, "batch": 16}


def studies(options: argparse.Namespace) -> dict[str, StudyConfig]:
    """Return the published study, one for each repair, and one with all of them."""
    data, tables = options.data.absolute(), options.run_dir / "tables"
    nih = build(data / "nih_pneumonia", "nih").index
    ill = nih.label("pneumonia") == 1
    others = [one for one in nih.labels if one not in ("pneumonia", "no_finding")]
    beside = sum(nih.label(one) == 1 for one in others) > 0
    sets = {
        "collection": {
            "path": str(data / "covid_chestxray"),
            "source": "covid_chestxray",
        },
        "nih-three": _studies.own_set(
            tables / "nih.csv",
            nih,
            covid=nih.label("covid"),
            pneumonia=ill.astype(int),
            alone=(ill & ~beside).astype(int),
            beside=(ill & beside).astype(int),
        ),
    }
    base = {
        "sets": sets,
        "side": options.side,
        "seeds": options.seeds,
        "epochs": options.epochs,
        "replicates": 2000,
        "protocol": "published",
        "allow": ["patients", "duplicates"],
        "bias": False,
        "keep": False,
        "encoders": {"resnet18": {"architecture": "resnet18", "width": options.width}},
        "pretrainings": {
            "three-classes": {
                "set": "nih-three",
                "labels": ["alone", "beside"],
                "epochs": options.first_epochs,
            }
        },
        "mixes": {
            "target": {"kind": "target", "target": "collection"},
            "target+negatives": {
                "kind": "target+negatives",
                "target": "collection",
                "other": "nih-three",
            },
        },
        "tests": ["own", "nih-three"],
    }
    switched = {AS_PUBLISHED: (), **{one: (one,) for one in SINGLE}, ALL: SINGLE}
    configs = {}
    for name, repairs in switched.items():
        ours = OURS if "optimizer" in repairs else {}
        one = {**base, **ours, "name": name, "repairs": list(repairs)}
        if options.segmenter and name == AS_PUBLISHED:
            lungs = {"segmenter": str(options.segmenter.absolute()), "segment": "all"}
            kinds = ["masked", "lungs-equalised"]
            configs["order"] = {**one, **lungs, "name": "order", "preprocessing": kinds}
        configs[name] = one
    return {name: parse(one) for name, one in configs.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--first-epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--segmenter", type=Path)
    _studies.main(NAME, __doc__, studies, parser, arguments)


if __name__ == "__main__":
    main()
