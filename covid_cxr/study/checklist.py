"""What reporting guidelines ask of a study on imaging with a network, filled in.

The items are those of CLAIM and TRIPOD+AI in our own words, grouped; their numbering is
not repeated. What only the people behind a study can know is said to be open.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covid_cxr.models import ModelConfig
from covid_cxr.study.choices import CHOICES
from covid_cxr.study.config import StudyConfig
from covid_cxr.study.leakage import trained_on
from covid_cxr.study.summaries import Finished

_CUTS = {
    "crop": "centred square",
    "published": "short side 8/7 of the side, centre cut, as published",
}

OPEN = "OPEN: to be stated by the authors"


def items(
    config: StudyConfig, found: Finished, sets: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return (item, answer) pairs.

    Args:
        config: the study.
        found: what is finished.
        sets: the described sets, as the study recorded them.
    """
    return [
        (
            "Purpose and intended use",
            f"research on shortcuts; {OPEN}, if more is meant",
        ),
        ("Design", "retrospective, on radiographs that were there already"),
        *_on_radiographs(config, sets),
        *_on_training(config, found),
        *_on_evaluation(config),
        ("Failure analysis", f"the radiographs have not been read; {OPEN}"),
        (
            "Groups of patients, fairness",
            f"scores by view, sex, age and source, as far as these are known; {OPEN}",
        ),
        ("Ethics, registration, funding", OPEN),
        ("Code and data", "the study's file, versions and seeds are in its folder"),
    ]


def _on_radiographs(
    config: StudyConfig, sets: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return what is asked of the radiographs: whose, which, split, prepared how."""
    size = sum(one["images"] for one in sets.values())
    people = sum(one["patients"] for one in sets.values())
    omissions = {name: one["left_out"] for name, one in sets.items()}
    split = (
        "by image, as published: radiographs of a patient are on both sides"
        if config.keeps("split")
        else "by patient, stratified by label and source; no patient is in two parts"
    )
    return [
        ("Sources of the radiographs", _sources(sets)),
        ("Eligibility, time and place", f"as the sources chose; {OPEN}"),
        ("Radiographs left out", _left(omissions)),
        (
            "Reference standard",
            f"label {config.label!r} as the sources give it; {OPEN}",
        ),
        (
            "Sample size",
            f"{size} radiographs of {people} patients; not planned beforehand",
        ),
        ("Age and sex", "as far as the tables say; see the metadata probe"),
        ("Partition", f"{split}; seed {config.split_seed}"),
        (
            "Independence of test radiographs",
            "patients, radiographs, near-duplicates and known overlaps of sources are "
            "checked against the radiographs of both stages; let pass: "
            + (", ".join(config.allow) or "nothing"),
        ),
        (
            "Preparation of radiographs",
            f"{_CUTS[config.fit]}, {config.side}x{config.side} pixels, "
            + " or ".join(config.preprocessing)
            + _lungs(config),
        ),
        (
            "Missing data",
            "unknown labels left out; unknown table cells kept as unknown",
        ),
    ]


def _on_training(config: StudyConfig, found: Finished) -> list[tuple[str, str]]:
    """Return what is asked of the networks: which, from where, how trained."""
    stages = [one["stage"] for one in found.records.values() if "stage" in one]
    return [
        ("Protocol", _protocol(config)),
        ("Model", "; ".join(_model(n, config.encoder(n)) for n in config.encoders)),
        ("Initial weights", _starts(config)),
        ("Training", _training(config, stages)),
        (
            "Choice of the model",
            "last epoch"
            if config.keeps("epoch")
            else "best epoch by AUC on validation patients",
        ),
    ]


def _on_evaluation(config: StudyConfig) -> list[tuple[str, str]]:
    """Return what is asked of the measures, the external test and the probes."""
    return [
        (
            "Operating point",
            "0.5, as published"
            if config.keeps("threshold")
            else "Youden's, on validation patients, unchanged elsewhere",
        ),
        (
            "Measures and their uncertainty",
            f"95 % by a bootstrap over patients, {config.replicates} resamples; "
            f"seeds {', '.join(map(str, config.seeds))}",
        ),
        (
            "Calibration",
            "Brier score, slope, intercept, temperature of the validation part, "
            "reliability curves",
        ),
        (
            "External test",
            "sets that nothing was trained on, if any: "
            + (_external(config) or "none"),
        ),
        ("Robustness and bias", "probes below" if config.bias else "NOT RUN"),
        ("Explanation", "saliency with its randomisation test, where lungs are known"),
    ]


def _sources(sets: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {', '.join(f'{n} of {s}' for s, n in one['sources'].items())}"
        for name, one in sets.items()
    )


def _left(left: Mapping[str, Mapping[str, int]]) -> str:
    parts = [
        f"{name}: {listed(kinds)}" for name, kinds in left.items() if listed(kinds)
    ]
    return "; ".join(parts) or "none"


def listed(kinds: Mapping[str, int]) -> str:
    """Return what was left out as text, "" if nothing was."""
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)


def _lungs(config: StudyConfig) -> str:
    if not config.segmenter:
        return ""
    which = "all" if config.segment == "all" else "radiographs without a mask"
    return f"; lungs of {which} by a trained network that may abstain"


def _model(name: str, model: ModelConfig) -> str:
    head = f", {model.hidden} units in the head" if model.hidden else ""
    return f"{name}: {model.architecture}, width {model.width}, norm {model.norm}{head}"


def _protocol(config: StudyConfig) -> str:
    """Return what is done as in the paper, how that is known, and what is not."""
    choices = [
        f"{name}: {one.published} ({one.evidence})"
        for name, one in CHOICES.items()
        if config.keeps(name)
    ]
    repaired = f"; repaired: {', '.join(config.repairs)}" if config.repairs else ""
    return config.protocol + (f": {'; '.join(choices)}" if choices else "") + repaired


def _starts(config: StudyConfig) -> str:
    texts = []
    for name, one in config.pretrainings.items():
        label = ", ".join(one.names)
        text = f"{label} on {one.set}, {one.epochs} epochs" if one.set else "random"
        if one.weights:
            file = Path(one.weights).name
            start = f"from {file}; {OPEN}: which radiographs they have seen"
            text = f"{text}, {start}" if one.set else start
        texts.append(f"{name}: {text}")
    return "; ".join(texts)


def _training(config: StudyConfig, stages: list[Any]) -> str:
    if not stages:
        return f"protocol {config.protocol!r}"
    one = stages[0]
    return (
        f"protocol {config.protocol!r}: {one['loss']} loss, {one['optimizer']}, rate "
        f"{one['rate']:g}, batch {one['batch']}, {one['epochs']} epochs, "
        f"{one['sampling']} batches, augmentation "
        + ("on" if one["augmentation"] else "off")
    )


def _external(config: StudyConfig) -> str:
    used = trained_on(config)
    return ", ".join(n for n in config.tests if n in config.sets and n not in used)
