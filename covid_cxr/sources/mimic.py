"""MIMIC-CXR-JPG: three tables, findings mined from a study's report, patients by id.

``mimic-cxr-2.0.0-metadata.csv`` names the radiographs, ``-chexpert.csv`` the findings
of each study (1, 0, -1 for uncertain, blank for not mentioned), ``-split.csv``, if
there, the official split; each plain or as ``.csv.gz``. Radiographs lie at
``files/p10/p10000032/s50414267/NAME.jpg``. Dates are shifted, so none is taken.
"""

from __future__ import annotations

from pathlib import Path

from covid_cxr.index import NEGATIVE, UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Get, Rows, Source, Table, read_table
from covid_cxr.sources.chexpert import FINDINGS, POLICY, labels_of
from synaptax.checks import check_choice

NAME = "mimic"
_STEM = "mimic-cxr-2.0.0-"
_FRONTAL = {"PA": "PA", "AP": "AP"}
_CODES = {"postero-anterior": "PA", "antero-posterior": "AP"}


def build(
    root: Path,
    *,
    files: bool = True,
    uncertain: str | None = None,
    lateral: bool = False,
) -> Built:
    """Build the table.

    Args:
        root: the folder of the tables.
        files: look for the radiographs too.
        uncertain: what a -1 means: "ignore" (unknown), "ones" or "zeros"; no default,
            as for CheXpert.
        lateral: keep lateral radiographs.

    Returns:
        Frontal radiographs with the 14 findings of their study; a blank is unknown;
        covid is 0: they are older. The flag "official_test" as the split says.

    Raises:
        FileNotFoundError: without the metadata or the findings.
        ValueError: for a table that lacks a column, or ``uncertain`` not chosen.
    """
    check_choice("uncertain", uncertain, tuple(POLICY))
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    need = ("dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns")
    metadata = _table(root, "metadata", need, problems)
    findings = _findings(root, str(uncertain), problems)
    official = _official(root, problems)
    for where, get in metadata.rows():
        name, subject, study = (get(c) for c in ("dicom_id", "subject_id", "study_id"))
        if not (name and subject.isdecimal() and study.isdecimal()):
            problems.add("bad value", where, "expected an id, a subject and a study")
            continue
        path = f"files/p{subject[:2]}/p{subject}/s{study}/{name}.jpg"
        view = _view(get)
        if view == "" or (view == "L" and not lateral):
            position = get("ViewPosition")
            problems.add(
                "not a radiograph", path, f"{where}: no frontal view {position}"
            )
            continue
        labels = findings.get((subject, study))
        if labels is None:
            problems.add("unlabelled", path, f"{where}: its study is in no table")
        sides = (get("Rows"), get("Columns"))
        height, width = (int(one) if one.isdecimal() else 0 for one in sides)
        rows.add(
            Row(
                path,
                f"{NAME}/{subject}",
                NAME,
                site="Beth Israel Deaconess",
                view=view,
                height=height,
                width=width,
                labels=(labels or {}) | {"covid": NEGATIVE},
                flags=frozenset({"official_test"} if name in official else ()),
            ),
            where,
        )
    return rows.built()


def _view(get: Get) -> str:
    """Return PA, AP, L or UNKNOWN, "" for another; a blank position by the code."""
    position = get("ViewPosition").upper()
    if position in ("LATERAL", "LL", "RL", "XTABLE LATERAL"):
        return "L"
    if position:
        return _FRONTAL.get(position, "")
    code = get("ViewCodeSequence_CodeMeaning").lower()
    return "L" if "lateral" in code else _CODES.get(code, "UNKNOWN" if not code else "")


def _findings(
    root: Path, uncertain: str, problems: Problems
) -> dict[tuple[str, str], dict[str, int]]:
    """Return a study's findings; of a study that is there twice, unknown ones."""
    need = ("subject_id", "study_id", *FINDINGS)
    by_study: dict[tuple[str, str], dict[str, int]] = {}
    for where, get in _table(root, "chexpert", need, problems).rows():
        study = get("subject_id"), get("study_id")
        labels = labels_of(get, where, uncertain, problems)
        if by_study.setdefault(study, labels) != labels:
            problems.add("ambiguous", where, "contradicts an earlier row of its study")
            by_study[study] = dict.fromkeys(labels, UNKNOWN)
    return by_study


def _official(root: Path, problems: Problems) -> frozenset[str]:
    try:
        table = _table(root, "split", ("dicom_id", "split"), problems)
    except FileNotFoundError:
        return frozenset()
    cells = (get for _, get in table.rows())
    return frozenset(get("dicom_id") for get in cells if get("split") == "test")


def _table(root: Path, kind: str, need: tuple[str, ...], problems: Problems) -> Table:
    """Return one of the tables, packed or not."""
    path = root / f"{_STEM}{kind}.csv"
    if not path.is_file() and path.with_suffix(".csv.gz").is_file():
        path = path.with_suffix(".csv.gz")
    return read_table(path, problems, need=need)


def _detect(root: Path) -> bool:
    name = f"{_STEM}metadata.csv"
    return (root / name).is_file() or (root / f"{name}.gz").is_file()


SOURCE = Source(
    NAME, build, detect=_detect, tables=(f"{_STEM}metadata.csv", f"{_STEM}chexpert.csv")
)
