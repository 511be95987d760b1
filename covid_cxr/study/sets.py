"""The sets of a study: of a public layout, of a person's own, or synthetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covid_cxr.phantom import Cohort, Hospital
from covid_cxr.sources import SOURCES
from covid_cxr.sources.own import FOLDERS, Columns, Label
from covid_cxr.sources.registry import UNCERTAIN
from covid_cxr.study._fields import located, make, mapping, plain
from synaptax.checks import check_choice


@dataclasses.dataclass(frozen=True)
class SetConfig:
    """One set of radiographs: of a public layout, of a person's own, or synthetic.

    Attributes:
        path: the folder; empty for synthetic radiographs, or for the table's own.
        source: the public layout's name, "auto" to tell by the folder, "folders" for
            an own set in which the folder of an image is its class, or "tfds" for
            what :mod:`covid_cxr.tfds_builder` prepared.
        table: of an own set: CSV, TSV or Parquet, a row an image.
        columns: what the table calls its columns.
        labels: how the labels are spelt, by name; default: that of the study, by 1
            and 0, yes and no, true and false, positive and negative.
        patients: without a column for them, a pattern that finds the patient in the
            path of an image: its first group, or all that it matches.
        uncertain: what an uncertain label of CheXpert or MIMIC-CXR means: "ignore"
            (unknown), "ones" or "zeros"; no default, and of no other set.
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
    uncertain: str = ""
    phantom: Cohort | None = None
    seed: int = 0

    @property
    def own(self) -> bool:
        """Whether it is in no public layout."""
        return bool(self.table) or self.source == FOLDERS


def set_of(given: Any, where: str, folder: Path) -> SetConfig:
    """Return a set of a table; relative folders in it are relative to a folder."""
    fields = dict(mapping(given, where))
    if bool(fields.get("path") or fields.get("table")) == ("phantom" in fields):
        raise ValueError(f"{where}: expected either path or phantom")
    if "phantom" in fields:
        cohort = dict(mapping(fields["phantom"], f"{where}.phantom"))
        if "hospitals" in cohort:
            place = f"{where}.phantom.hospitals"
            given = plain(cohort["hospitals"], "tuple[Hospital, ...]", place)
            cohort["hospitals"] = tuple(make(Hospital, one, place) for one in given)
        fields["phantom"] = make(Cohort, cohort, f"{where}.phantom")
    located(fields, "table", folder, where)
    located(fields, "path", folder, where)
    if fields.get("table"):
        fields.setdefault("path", str(Path(fields["table"]).parent))
    if "columns" in fields:
        fields["columns"] = make(Columns, fields["columns"], f"{where}.columns")
    labels = mapping(fields.get("labels", {}), f"{where}.labels")
    fields["labels"] = {
        name: make(Label, one, f"{where}.labels.{name}") for name, one in labels.items()
    }
    return make(SetConfig, fields, where)


def check_own(name: str, one: SetConfig, label: str) -> None:
    """Raise a ValueError for a set of one's own, or fields of one, of no sense."""
    where = f"sets.{name}"
    if not one.own:
        for field in ("labels", "patients"):
            if getattr(one, field):
                raise ValueError(f"{where}.{field}: a public layout has its own")
        if one.uncertain:
            check_choice(f"{where}.source, with uncertain", one.source, UNCERTAIN)
        return
    if one.uncertain:
        raise ValueError(f"{where}.uncertain: spell it in labels of an own set")
    if one.source not in ("auto", FOLDERS) or (one.table and one.source == FOLDERS):
        raise ValueError(f"{where}.source: expected none beside a table")
    if name in SOURCES:
        raise ValueError(
            f"{where}: {name!r} is a public set's name; call an own set otherwise"
        )
    if one.labels:
        check_choice(f"{where}.labels", label, one.labels)
