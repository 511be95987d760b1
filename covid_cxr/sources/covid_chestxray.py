"""COVID-19 image data collection (ieee8023/covid-chestxray-dataset), both eras.

``metadata.csv`` and ``images/``, with lung masks in ``annotations/lungs`` (named by
the image's stem), ``annotations/lungVAE-masks`` or a V7 folder (named as the image, PNG
bytes whatever the suffix). The March 2020 table has flat findings, no modality, and a
blank before "url"; the later one has findings as paths.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from covid_cxr import overlaps
from covid_cxr.index import UNKNOWN, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    PICTURES,
    Built,
    Get,
    Rows,
    Source,
    Table,
    age_of,
    child,
    patient_id,
    read_table,
    sex_of,
)
from synaptax.checks import check_choice

NAME = "covid_chestxray"
_VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "AP SUPINE": "AP_SUPINE",
    "AP ERECT": "AP",
    "L": "L",
}
_UNLABELLED = ("", "todo", "unknown", "nan")
#: Flat findings that are a pneumonia; ARDS alone may have another cause.
_PNEUMONIAS = frozenset(
    (
        "pneumonia",
        "covid-19",
        "sars",
        "mers",
        "mers-cov",
        "streptococcus",
        "pneumocystis",
        "klebsiella",
        "e.coli",
        "legionella",
        "varicella",
        "lipoid",
        "influenza",
        "mycoplasma",
        "mycoplasma bacterial pneumonia",
        "bacterial",
        "viral",
        "fungal",
        "chlamydophila",
        "herpes",
        "nocardia",
        "staphylococcus",
        "aspergillosis",
        "aspiration",
        "h1n1",
    )
)
#: Findings that speak neither for COVID-19 nor against it, but are no pneumonia.
_OTHERS = frozenset(("ards", "tuberculosis", "mrsa", "no finding"))
_COVID = "covid-19"
_MASKS = (
    ("annotations/lungs", "{stem}.png"),
    ("annotations/lungVAE-masks", "{stem}_mask.png"),
    ("annotations/semantic_masks_v7labs_lungs", "{name}"),
)


def findings(text: str) -> tuple[str, ...]:
    """Return the parts of a finding, lower-case: a path, or a flat list by commas.

    Nothing is looked for inside a part: "E.Coli" is one part, and no pattern.
    """
    parts = re.split(r"/|,\s*", text.strip().lower())
    return tuple(part.strip() for part in parts if part.strip())


def unknown_parts(text: str) -> tuple[str, ...]:
    """Return the parts of a finding that are none of the set's: misspelt, or new."""
    vocabulary = _PNEUMONIAS | _OTHERS | set(_UNLABELLED)
    return tuple(part for part in findings(text) if part not in vocabulary)


def labels(text: str) -> dict[str, int]:
    """Return covid, pneumonia and no_finding of a finding; {} if it is no label.

    A part that is not known may be any disease under another spelling, so beside it
    nothing is absent: what is not said to be present is unknown.
    """
    parts = findings(text)
    if not parts or all(part in _UNLABELLED for part in parts):
        return {}
    if parts == ("no finding",):
        return {"covid": 0, "pneumonia": 0, "no_finding": 1}
    if "no finding" in parts:  # beside a finding: it contradicts itself
        return {}
    unsure = any(part in _UNLABELLED for part in parts) or unknown_parts(text)
    ill = any(part in _PNEUMONIAS for part in parts)
    return {
        "covid": 1 if _COVID in parts else UNKNOWN if unsure else 0,
        "pneumonia": 1 if ill else UNKNOWN,
        "no_finding": UNKNOWN if set(parts) == set(unknown_parts(text)) else 0,
    }


def build(
    root: Path,
    *,
    files: bool = True,
    group: str = "patient",
    lateral: bool = False,
) -> Built:
    """Build the table.

    Args:
        root: the folder of ``metadata.csv``.
        files: look for the files too.
        group: "patient", or "article" to count all radiographs of one doi or url as one
            patient: ids are known to be reused, for two people or a whole article.
        lateral: keep lateral radiographs.

    Returns:
        Frontal radiographs with labels covid, pneumonia and no_finding (all -1 for
        "todo" and "Unknown"), and what was left out.

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table without patient, finding, view or filename.
    """
    check_choice("group", group, ("patient", "article"))
    problems = Problems()
    table = read_table(
        root / "metadata.csv",
        problems,
        need=("patientid", "finding", "view", "filename"),
    )
    rows = Rows(NAME, root, problems, files)
    modern = table.has("modality")
    for where, get in table.rows():
        kind, cell = get("modality"), get("view")
        view = _VIEWS.get(cell.upper())
        other = modern and kind.lower() not in ("x-ray", "")
        if other or view is None or (view == "L" and not lateral):
            problems.add(
                "not a radiograph",
                get("filename") or where,
                f"{where}: modality {kind!r}, view {cell!r}",
            )
            continue
        path = _image(rows, get("folder") or "images", get("filename"), where)
        patient = get("patientid")
        if path is None:
            continue
        if not patient:
            problems.add("bad value", where, "patientid: expected text, got none")
            continue
        person = overlaps.person(NAME, patient_id(patient))
        if group == "article":
            person = f"{NAME}/{get('doi') or get('url') or patient}"
        rows.add(_row(rows, path, person, view, get, where), where)
    rows.unlisted(_unclaimed(rows, table))
    return rows.built()


def _row(rows: Rows, path: str, person: str, view: str, get: Get, where: str) -> Row:
    """Return an image's row; a finding that is no label leaves all labels unknown."""
    values = labels(get("finding"))
    unknown = unknown_parts(get("finding"))
    if unknown:
        detail = f"{where}: finding {get('finding')!r}: {unknown[0]!r} is not known"
        rows.problems.add("bad value", path, detail)
    elif not values:
        rows.problems.add("unlabelled", path, f"{where}: finding {get('finding')!r}")
    age = age_of(get("age"), where, rows.problems)
    return Row(
        path,
        person,
        NAME,
        site=get("location"),
        view=view,
        sex=sex_of(get("sex")),
        licence=get("license"),
        age=age,
        labels=values,
        masks=_mask(rows, path) if rows.files else {},
        flags=child(age),
    )


def _image(rows: Rows, folder: str, name: str, where: str) -> str | None:
    """Return the path of a row's image; some names lack their suffix."""
    path = f"{folder}/{name}"
    if not name:
        rows.problems.add("bad value", where, "filename: expected text, got none")
        return None
    if not rows.files or rows.listing.has(path):
        return path
    if PurePosixPath(name).suffix.lower() in PICTURES:
        return path  # absent, or leading out: Rows says so
    same = [other for other in rows.listing.names(folder) if _stem(other) == name]
    if len(same) == 1:
        return f"{folder}/{same[0]}"
    if same:
        rows.problems.add(
            "ambiguous", path, f"{where}: no suffix, and {len(same)} files fit"
        )
        return None
    return path


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in PICTURES else name


def _mask(rows: Rows, path: str) -> dict[str, str]:
    """Return the lung mask of an image, if there is one."""
    name = PurePosixPath(path).name
    for folder, pattern in _MASKS:
        mask = f"{folder}/{pattern.format(stem=_stem(name), name=name)}"
        if rows.listing.has(mask):
            return {"lungs": mask}
    return {}


def _unclaimed(rows: Rows, table: Table) -> list[str]:
    """Return the images that no row names, be it as a CT or a lateral radiograph."""
    if not rows.files:
        return []
    claimed = set()
    for _, get in table.rows():
        name = get("filename")
        claimed |= {name, _stem(name)}
    return [
        path
        for path in rows.listing.files("images")
        if not {PurePosixPath(path).name, _stem(PurePosixPath(path).name)} & claimed
    ]


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: (
        (root / "metadata.csv").is_file() and (root / "images").is_dir()
    ),
    tables=("metadata.csv",),
    masks=("lungs",),
)
