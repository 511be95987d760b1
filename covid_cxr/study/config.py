"""What a study is: sets, encoders, pre-trainings, mixes, test sets, preprocessing."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from covid_cxr.models import ModelConfig, network
from covid_cxr.phantom import Cohort, Hospital
from covid_cxr.protocols import KINDS
from covid_cxr.sources import SOURCES
from covid_cxr.sources.own import FOLDERS, Columns, Label

PREPROCESSING = ("none", "equalised", "masked", "lungs", "lungs-equalised")
MASKING = PREPROCESSING[2:]  # those that need the lungs
PROTOCOLS = ("fixed", "published")
SEGMENT = ("missing", "all")
NONE = "none"  # the pre-training that is none
OWN = "own"  # the test part of the mix itself
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,40}")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class SetConfig:
    """One set of radiographs: of a public layout, of a person's own, or synthetic.

    Attributes:
        path: the folder; empty for synthetic radiographs, or for the table's own.
        source: the public layout's name, "auto" to tell by the folder, or "folders"
            for an own set in which the folder of an image is its class.
        table: of an own set: CSV, TSV or Parquet, a row an image.
        columns: what the table calls its columns.
        labels: how the labels are spelt, by name; default: that of the study, by 1
            and 0, yes and no, true and false, positive and negative.
        patients: without a column for them, a pattern that finds the patient in the
            path of an image: its first group, or all that it matches.
        phantom: fields of :class:`covid_cxr.phantom.Cohort` for synthetic radiographs.
        seed: of the synthetic radiographs.

    Example:
        >>> covid_cxr.study.SetConfig(path="data/home", source="covid_chestxray").seed
        0
    """

    path: str = ""
    source: str = "auto"
    table: str = ""
    columns: Columns = dataclasses.field(default_factory=Columns)
    labels: Mapping[str, Label] = dataclasses.field(default_factory=dict)
    patients: str = ""
    phantom: Cohort | None = None
    seed: int = 0

    @property
    def own(self) -> bool:
        """Whether it is in no public layout."""
        return bool(self.table) or self.source == FOLDERS


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """Stage 1, or what takes its place; neither set nor weights: random weights.

    Attributes:
        set: the set it learns from.
        weights: a file of torchvision weights, instead of a set, see
            :func:`covid_cxr.models.convert`. What they have seen is not checked.
        label: what it learns to tell.
        epochs: passes over the radiographs.

    Example:
        >>> covid_cxr.study.Pretraining(set="rsna", label="pneumonia").epochs
        10
    """

    set: str = ""
    weights: str = ""
    label: str = "pneumonia"
    epochs: int = 10


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
        protocol: "fixed" or "published", see :mod:`covid_cxr.train.stages`.
        epochs: of stage 2.
        batch: radiographs a step.
        rate: learning rate.
        split_seed: of the split by patient.
        segmenter: folder of a trained lung segmentation.
        segment: what it is for: "missing", radiographs without mask, or "all". Where
            the label or the source decides who has a mask, a drawn one tells the label.
        bias: whether the probes are run.
        allow: kinds of overlap between training and test that are let pass.
        replicates: resamples of the patient bootstrap.
        keep: whether networks are kept, for ``predict``.

    Example:
        >>> given = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> covid_cxr.study.parse(given).protocol
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
        >>> given = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> _ = pathlib.Path("study.json").write_text(json.dumps(given))
        >>> covid_cxr.study.read(pathlib.Path("study.json")).name
        'first'
    """
    text = path.read_bytes()
    try:
        if path.suffix.lower() == ".toml":
            given = tomllib.loads(text.decode())
        else:
            given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    try:
        return parse(given, folder=path.parent)
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
        >>> given = {
        ...     "name": "first",
        ...     "sets": {"home": {"phantom": {"patients": 64}}},
        ...     "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        ...     "mixes": {"home": {"kind": "target", "target": "home"}},
        ...     "tests": ["own"],
        ... }
        >>> covid_cxr.study.parse(given).seeds
        (0, 1, 2)
    """
    plain = dict(_table(given, "the study"))
    for name, make in (
        ("sets", lambda one, where: _set(one, where, folder)),
        ("encoders", lambda one, where: _make(ModelConfig, one, where)),
        ("pretrainings", lambda one, where: _pretraining(one, where, folder)),
        ("mixes", lambda one, where: _make(Mix, one, where)),
    ):
        if name in plain:
            table = _table(plain[name], name)
            plain[name] = {k: make(v, f"{name}.{k}") for k, v in table.items()}
    if plain.get("segmenter"):
        plain["segmenter"] = str(folder / str(plain["segmenter"]))
    config = _make(StudyConfig, plain, "the study")
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
        network(one)
    for name, one in config.mixes.items():
        _among(f"mixes.{name}.kind", one.kind, KINDS)
        for side in ("target", "other"):
            unused = "second" if side == "target" else "target"
            if one.kind != unused:
                _among(f"mixes.{name}.{side}", getattr(one, side), config.sets)
    for name, one in config.pretrainings.items():
        if one.set:
            _among(f"pretrainings.{name}.set", one.set, config.sets)
            if one.weights:
                raise ValueError(f"pretrainings.{name}: expected set or weights")
        if one.epochs < 1:
            raise ValueError(f"pretrainings.{name}.epochs: expected at least 1")
        if one.set and one.label == "covid" != config.label:
            raise ValueError(
                f"pretrainings.{name}.label: 'covid' is {config.label!r} in this study"
            )
    for group, allowed in (
        ("tests", (OWN, *config.sets)),
        ("preprocessing", PREPROCESSING),
    ):
        if not getattr(config, group):
            raise ValueError(f"{group}: expected at least one")
        for name in getattr(config, group):
            _among(group, name, allowed)
    for name, one in config.sets.items():
        _check_own(config, name, one)
    drawn: dict[int, str] = {}
    for name, one in config.sets.items():
        if one.phantom is not None and drawn.setdefault(one.seed, name) != name:
            raise ValueError(
                f"sets.{name}.seed: {one.seed} is that of {drawn[one.seed]!r} too: "
                "they would share patients"
            )
    _among("protocol", config.protocol, PROTOCOLS)
    _among("segment", config.segment, SEGMENT)
    if config.segment == "all" and not config.segmenter:
        raise ValueError("segment: 'all' needs a segmenter")
    for name in ("side", "epochs", "batch", "replicates"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1")
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds: expected different numbers, got {config.seeds}")
    if config.side < 32:
        raise ValueError(f"side: expected at least 32, got {config.side}")


def _check_own(config: StudyConfig, name: str, one: SetConfig) -> None:
    """Raise a ValueError for a set of one's own, or fields of one, of no sense."""
    where = f"sets.{name}"
    if not one.own:
        for field in ("labels", "patients"):
            if getattr(one, field):
                raise ValueError(f"{where}.{field}: a public layout has its own")
        return
    if one.source not in ("auto", FOLDERS) or (one.table and one.source == FOLDERS):
        raise ValueError(f"{where}.source: expected none beside a table")
    if name in SOURCES:
        raise ValueError(
            f"{where}: {name!r} is a public set's name; call an own set otherwise"
        )
    if one.labels and config.label not in one.labels:
        _among(f"{where}.labels", config.label, one.labels)


def _set(given: Any, where: str, folder: Path) -> SetConfig:
    plain = dict(_table(given, where))
    if bool(plain.get("path") or plain.get("table")) == ("phantom" in plain):
        raise ValueError(f"{where}: expected either path or phantom")
    if "phantom" in plain:
        cohort = dict(_table(plain["phantom"], f"{where}.phantom"))
        if "hospitals" in cohort:
            cohort["hospitals"] = tuple(
                _make(Hospital, one, f"{where}.phantom.hospitals")
                for one in cohort["hospitals"]
            )
        plain["phantom"] = _make(Cohort, cohort, f"{where}.phantom")
    else:
        if plain.get("table"):
            plain["table"] = str(folder / str(plain["table"]))
            plain.setdefault("path", Path(plain["table"]).parent)
        plain["path"] = str(folder / str(plain["path"]))
    if "columns" in plain:
        plain["columns"] = _make(Columns, plain["columns"], f"{where}.columns")
    labels = _table(plain.get("labels", {}), f"{where}.labels")
    plain["labels"] = {
        name: _make(Label, one, f"{where}.labels.{name}")
        for name, one in labels.items()
    }
    return _make(SetConfig, plain, where)


def _pretraining(given: Any, where: str, folder: Path) -> Pretraining:
    plain = dict(_table(given, where))
    if plain.get("weights"):
        plain["weights"] = str(folder / str(plain["weights"]))
    return _make(Pretraining, plain, where)


def _make(kind: type[_T], given: Any, where: str) -> _T:
    """Return a dataclass of a table, or raise a ValueError naming the wrong field."""
    table = _table(given, where)
    fields: Any = dataclasses.fields(kind)  # pyright: ignore
    known = {field.name for field in fields}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(
            f"{where}: unknown field {unknown[0]!r}, expected some of "
            f"{', '.join(sorted(known))}"
        )
    types = {field.name: str(field.type) for field in fields}
    values = {name: _plain(value, types[name]) for name, value in table.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _plain(value: Any, kind: str) -> Any:
    """Return a value of a file as its field's type has it: 1 may stand for 1.0."""
    if isinstance(value, list):
        return tuple(value)
    if kind.startswith("Mapping[str, float") and isinstance(value, Mapping):
        return {name: _plain(one, "float") for name, one in value.items()}
    if kind == "float" and type(value) is int:
        return float(value)
    return value


def _table(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: expected a table, got {type(given).__name__}")
    return given


def _among(where: str, value: Any, allowed: Any) -> None:
    if value not in tuple(allowed):
        raise ValueError(
            f"{where}: expected one of {', '.join(allowed)}, got {value!r}"
        )
