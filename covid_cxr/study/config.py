"""What a study is: sets, encoders, pre-trainings, mixes, test sets, preprocessing."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from covid_cxr.models import ModelConfig, network, published
from covid_cxr.protocols import KINDS
from covid_cxr.study._fields import located, make, mapping
from covid_cxr.study.choices import CHOICES
from covid_cxr.study.sets import SetConfig, check_own, set_of
from synaptax.checks import check_choice, check_integer

PREPROCESSING = ("none", "equalised", "masked", "lungs", "lungs-equalised")
MASKING = PREPROCESSING[2:]  # those that need the lungs
PROTOCOLS = ("fixed", "published")
PUBLISHED_NETWORKS = ("resnet18", "resnet50")
SEGMENT = ("missing", "all")
NONE = "none"  # the pre-training that is none
OWN = "own"  # the test part of the mix itself
_LONGEST = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,40}")


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """Stage 1, or what takes its place; neither set nor weights: random weights.

    Attributes:
        set: the set it learns from.
        weights: a file of torchvision weights that stage 1 starts from, or, without a
            set, stage 2: see :func:`covid_cxr.models.convert`. What they have seen is
            not checked.
        label: what it learns to tell.
        labels: several instead: class k is the k-th alone, class 0 none of them.
        epochs: passes over the radiographs.

    Example:
        >>> covid_cxr.study.Pretraining(set="rsna", label="pneumonia").epochs
        10
    """

    set: str = ""
    weights: str = ""
    label: str = "pneumonia"
    labels: tuple[str, ...] = ()
    epochs: int = 10

    @property
    def names(self) -> tuple[str, ...]:
        """What it learns to tell, in any case several."""
        return self.labels or (self.label,)

    @property
    def classes(self) -> int:
        """Outputs of its network: one for a yes or no."""
        return len(self.labels) + 1 if self.labels else 1


@dataclasses.dataclass(frozen=True)
class Mix:
    """What stage 2 is trained on.

    Attributes:
        kind: a mix of the paper (:data:`covid_cxr.protocols.MIXES`), or "versus": the
            positives of one set against negatives of another, as many of them.
        target: the first set.
        other: the second.

    Example:
        >>> covid_cxr.study.Mix("target", "home").kind
        'target'
    """

    kind: str = "target"
    target: str = ""
    other: str = ""


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """A study; every combination of the axes is a cell.

    Attributes:
        name: of the study.
        sets: name to set.
        encoders: name to network.
        pretrainings: name to stage 1.
        mixes: name to what stage 2 is trained on.
        tests: names of sets, and "own" for the test part of the cell's own mix. A set
            that is trained on is tested on its test part, another one whole.
        preprocessing: some of "none", "equalised", "masked" (as published: the whole
            radiograph equalised, then all but the lungs black), "lungs" (all but the
            lungs black, nothing else) and "lungs-equalised" (that, the lungs equalised
            by themselves). Equalising a whole radiograph carries what is outside the
            lungs, such as a black border, into their contrast, where no mask removes
            it.
        label: what is to be told.
        side: pixels a side.
        seeds: a network for each.
        protocol: "fixed", or "published": what was read in the paper's released code,
            choice by choice in :data:`covid_cxr.study.choices.CHOICES`. Both stages
            then have their own rate and batch, and those of the study are refused;
            epochs and seeds hold. The encoders are ResNet-18 and -50 with the
            published head, see :func:`covid_cxr.models.published`, of any width.
        repairs: choices of the published protocol to take from the fixed one.
        epochs: of stage 2.
        batch: radiographs a step, of the fixed protocol.
        rate: learning rate, of the fixed protocol.
        split_seed: of the split by patient.
        segmenter: folder of a trained lung segmentation.
        segment: what it is for: "missing", radiographs without mask, or "all". Where
            the label or the source decides who has a mask, a drawn one tells the label.
        bias: whether the probes are run.
        allow: kinds of overlap between training and test that are let pass.
        replicates: resamples of the patient bootstrap.
        keep: whether networks are kept, for ``predict``.

    Example:
        >>> fields = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> covid_cxr.study.parse(fields).protocol
        'fixed'
    """

    name: str
    sets: Mapping[str, SetConfig]
    encoders: Mapping[str, ModelConfig]
    mixes: Mapping[str, Mix]
    tests: tuple[str, ...]
    pretrainings: Mapping[str, Pretraining] = dataclasses.field(
        default_factory=lambda: {NONE: Pretraining()}
    )
    preprocessing: tuple[str, ...] = ("none",)
    label: str = "covid"
    side: int = 64
    seeds: tuple[int, ...] = (0, 1, 2)
    protocol: str = "fixed"
    repairs: tuple[str, ...] = ()
    epochs: int = 10
    batch: int = 16
    rate: float = 0.01
    split_seed: int = 42
    segmenter: str = ""
    segment: str = "missing"
    bias: bool = True
    allow: tuple[str, ...] = ()
    replicates: int = 5000
    keep: bool = True

    def keeps(self, choice: str) -> bool:
        """Say whether a choice (:data:`covid_cxr.study.choices.CHOICES`) is theirs."""
        assert choice in CHOICES, choice
        return self.protocol == "published" and choice not in self.repairs

    @property
    def fit(self) -> str:
        """How a radiograph is made square; as published: short side 8/7, then cut."""
        return "published" if self.keeps("crop") else "crop"

    def encoder(self, name: str) -> ModelConfig:
        """Return a network of the study, with the published head where it is kept."""
        model = self.encoders[name]
        if not self.keeps("head"):
            return model
        theirs = published(int(model.architecture.removeprefix("resnet")), model.width)
        return dataclasses.replace(model, hidden=theirs.hidden)


class Cell(NamedTuple):
    """One combination of the axes of training; its test sets are its rows.

    Attributes:
        encoder: name of a network.
        pretraining: name of a stage 1.
        mix: name of a mix.
        preprocessing: what is done to radiographs.

    Example:
        >>> covid_cxr.study.Cell("small", "none", "all", "equalised").key
        'small~none~all~equalised'
    """

    encoder: str
    pretraining: str
    mix: str
    preprocessing: str

    @property
    def key(self) -> str:
        """Return the name of its files."""
        return "~".join(self)


def read(path: Path) -> StudyConfig:
    """Read a study from a JSON or TOML file.

    Args:
        path: the file; relative folders in it are relative to it.

    Returns:
        The study.

    Raises:
        OSError: if it cannot be read.
        ValueError: naming the file and the field that makes no sense.

    Example:
        >>> import json, pathlib
        >>> fields = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> _ = pathlib.Path("study.json").write_text(json.dumps(fields))
        >>> covid_cxr.study.read(pathlib.Path("study.json")).name
        'first'
    """
    text = path.read_bytes()
    try:
        if path.suffix.lower() == ".toml":
            content = tomllib.loads(text.decode())
        else:
            content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    try:
        return parse(content, folder=path.parent)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def parse(given: Any, *, folder: Path = Path()) -> StudyConfig:
    """Return the study that plain dictionaries and lists describe.

    Args:
        given: as a JSON file gives it; see :class:`StudyConfig`.
        folder: what relative paths are relative to.

    Returns:
        The study, checked.

    Raises:
        ValueError: naming the field that makes no sense.

    Example:
        >>> fields = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> covid_cxr.study.parse(fields).seeds
        (0, 1, 2)
    """
    plain = dict(mapping(given, "the study"))
    for group, read_one in (
        ("sets", lambda one, where: set_of(one, where, folder)),
        ("encoders", lambda one, where: make(ModelConfig, one, where)),
        ("pretrainings", lambda one, where: _pretraining(one, where, folder)),
        ("mixes", lambda one, where: make(Mix, one, where)),
    ):
        if group in plain:
            table = mapping(plain[group], group)
            plain[group] = {k: read_one(v, f"{group}.{k}") for k, v in table.items()}
    located(plain, "segmenter", folder, "the study")
    config = make(StudyConfig, plain, "the study")
    check(config)
    return config


def check(config: StudyConfig) -> None:
    """Raise a ValueError that names the first field that makes no sense."""
    for group in ("sets", "encoders", "pretrainings", "mixes"):
        table = getattr(config, group)
        if not table:
            raise ValueError(f"{group}: expected at least one")
        for name in table:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{group}: {name!r} is no name for a file")
    for name, one in config.encoders.items():
        if one.classes != 1:
            raise ValueError(f"encoders.{name}.classes: expected 1, got {one.classes}")
        try:
            network(one)
        except ValueError as error:
            raise ValueError(f"encoders.{name}.{error}") from error
    for name, one in config.mixes.items():
        check_choice(f"mixes.{name}.kind", one.kind, KINDS)
        for side in ("target", "other"):
            unused = "second" if side == "target" else "target"
            if one.kind != unused:
                check_choice(f"mixes.{name}.{side}", getattr(one, side), config.sets)
    for name, one in config.pretrainings.items():
        if one.set:
            check_choice(f"pretrainings.{name}.set", one.set, config.sets)
        if one.epochs < 1:
            raise ValueError(f"pretrainings.{name}.epochs: expected at least 1")
        if one.set and not all(one.names):
            raise ValueError(f"pretrainings.{name}.label: expected a name, got ''")
        if one.set and "covid" in one.names and config.label != "covid":
            raise ValueError(
                f"pretrainings.{name}.label: 'covid' is {config.label!r} in this study"
            )
        if one.labels and len(set(one.labels)) < max(2, len(one.labels)):
            raise ValueError(
                f"pretrainings.{name}.labels: expected several different ones, or label"
            )
    for group, allowed in (
        ("tests", (OWN, *config.sets)),
        ("preprocessing", PREPROCESSING),
    ):
        if not getattr(config, group):
            raise ValueError(f"{group}: expected at least one")
        for name in getattr(config, group):
            check_choice(group, name, allowed)
        if len(set(getattr(config, group))) < len(getattr(config, group)):
            raise ValueError(f"{group}: {name!r} or another one is there twice")
    if OWN in config.sets:
        raise ValueError(f"sets: {OWN!r} is the test part of a mix, so no set's name")
    for name, one in config.sets.items():
        check_own(name, one, config.label)
    owners: dict[int, str] = {}
    for name, one in config.sets.items():
        if one.phantom is not None and owners.setdefault(one.seed, name) != name:
            raise ValueError(
                f"sets.{name}.seed: {one.seed} is that of {owners[one.seed]!r} too: "
                "they would share patients"
            )
    _check_scalars(config)


def _check_scalars(config: StudyConfig) -> None:
    """Raise a ValueError that names the first field of no sense by itself."""
    for name in ("name", "label"):
        text = getattr(config, name)
        if not text.strip() or "/" in text or "\\" in text:
            raise ValueError(f"{name}: expected text without a slash, got {text!r}")
        if not text.isprintable() or len(text) > _LONGEST:  # part of a file's name
            raise ValueError(f"{name}: expected a short line of text, got {text!r}")
    if not config.rate > 0:
        raise ValueError(f"rate: expected a number above 0, got {config.rate}")
    _check_protocol(config)
    check_choice("segment", config.segment, SEGMENT)
    if config.segment == "all" and not config.segmenter:
        raise ValueError("segment: 'all' needs a segmenter")
    for name in ("side", "epochs", "batch", "replicates"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1")
    for seed in config.seeds:
        check_integer("seeds", seed, -(2**31), 2**32 - 1)
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds: expected different numbers, got {config.seeds}")
    if config.side < 32:
        raise ValueError(f"side: expected at least 32, got {config.side}")


def _check_protocol(config: StudyConfig) -> None:
    """Raise a ValueError for what the protocol has otherwise, or cannot repair."""
    check_choice("protocol", config.protocol, PROTOCOLS)
    for name in config.repairs:
        check_choice("repairs", name, CHOICES)
        if config.protocol != "published":
            raise ValueError("repairs: those of protocol 'published'; 'fixed' has all")
    for name in ("batch", "rate"):
        value, default = getattr(config, name), getattr(StudyConfig, name)
        if config.keeps("optimizer") and value != default:
            raise ValueError(
                f"{name}: protocol 'published' has its own and would ignore {value}; "
                "leave it out"
            )
    for name, one in config.encoders.items() if config.keeps("head") else ():
        where = f"encoders.{name}"
        check_choice(f"{where}.architecture", one.architecture, PUBLISHED_NETWORKS)
        if one.hidden:
            raise ValueError(
                f"{where}.hidden: protocol 'published' has its own; leave it out"
            )


def _pretraining(given: Any, where: str, folder: Path) -> Pretraining:
    plain = dict(mapping(given, where))
    located(plain, "weights", folder, where)
    return make(Pretraining, plain, where)
