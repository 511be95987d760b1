"""Montgomery and Shenzhen: tuberculosis, with lung masks, a radiograph a person.

Montgomery: ``CXR_png``, ``ManualMask/{leftMask,rightMask}``, ``ClinicalReadings``. The
masks are without the lung behind the heart. Shenzhen: ``CXR_png``,
``ClinicalReadings``, and ``mask/*_mask.png`` of both lungs for some radiographs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from covid_cxr.index import Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source, child

MONTGOMERY, SHENZHEN = "montgomery", "shenzhen"
_NAME = re.compile(r"(?P<set>MCUCXR|CHNCXR)_(?P<number>\d{4})_(?P<tb>[01])")
_SEX = re.compile(r"\b(male|female|m|f)\b", re.I)
_AGE = re.compile(r"(\d{1,3})\s*(y|m|d|w)", re.I)
_YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_SPACING = 0.0875


def reading(text: str) -> tuple[str, float]:
    """Return sex and age of a clinical reading, "" and NaN where it does not say.

    Args:
        text: "Patient's Sex: F", "Patient's Age: 031Y" on two lines (Montgomery), or
            "male 45yrs", "Female, 24 months" on one or two (Shenzhen).

    Returns:
        Sex "M", "F" or "", and the age in years.
    """
    head = " ".join(text.split("\n")[:2])
    sex, age = _SEX.search(head.replace("Patient's Sex", "")), _AGE.search(head)
    years = int(age[1]) * _YEARS[age[2].lower()] if age else math.nan
    return (sex[1][0].upper() if sex else ""), years if years <= 120 else math.nan


def build_montgomery(root: Path, *, files: bool = True) -> Built:
    """Build Montgomery's table.

    Args:
        root: the folder of ``CXR_png`` (``MontgomerySet``).
        files: must be true: the names of the files are the table.

    Returns:
        Radiographs with labels tuberculosis and covid (0: they are older), and masks
        left_lung and right_lung.

    Raises:
        FileNotFoundError: without radiographs.
        ValueError: for ``files=False``.
    """

    def masks(rows: Rows, stem: str) -> dict[str, str]:
        return {
            f"{side}_lung": f"ManualMask/{side}Mask/{stem}.png"
            for side in ("left", "right")
        }

    return _build(root, MONTGOMERY, "MCUCXR", masks, files)


def build_shenzhen(root: Path, *, files: bool = True) -> Built:
    """Build Shenzhen's table; as :func:`build_montgomery`, with the mask "lungs".

    Only some radiographs have a mask; a radiograph without is no problem.
    """

    def masks(rows: Rows, stem: str) -> dict[str, str]:
        path = f"mask/{stem}_mask.png"
        return {"lungs": path} if rows.listing.has(path) else {}

    return _build(root, SHENZHEN, "CHNCXR", masks, files)


def _build(
    root: Path,
    name: str,
    prefix: str,
    masks: Callable[[Rows, str], dict[str, str]],
    files: bool,
) -> Built:
    if not files:
        raise ValueError("files: the names of the files are this set's only table")
    problems = Problems()
    rows = Rows(name, root, problems, files)
    radiographs = rows.listing.files("CXR_png", (".png",))
    if not radiographs:
        raise FileNotFoundError(f"{root}: no radiographs in CXR_png")
    for path in radiographs:
        stem = PurePosixPath(path).stem
        match = _NAME.fullmatch(stem)
        if match is None or match["set"] != prefix:
            problems.add("bad value", path, f"not named {prefix}_0000_0.png")
            continue
        sex, age = _said(root, rows, stem, problems)
        rows.add(
            Row(
                path,
                f"{name}/{match['number']}",
                name,
                site=name.title(),
                view="PA",
                sex=sex,
                age=age,
                spacing=_SPACING if name == MONTGOMERY else math.nan,
                labels={"tuberculosis": int(match["tb"]), "covid": 0},
                masks=masks(rows, stem),
                flags=child(age),
            ),
            path,
        )
    _spare_masks(rows, {PurePosixPath(path).stem for path in radiographs})
    return rows.built()


def _spare_masks(rows: Rows, stems: set[str]) -> None:
    """Say which masks have no radiograph."""
    for folder in ("ManualMask/leftMask", "ManualMask/rightMask", "mask"):
        for path in rows.listing.files(folder, (".png",)):
            if PurePosixPath(path).stem.removesuffix("_mask") not in stems:
                rows.problems.add("unlisted", path, "a mask without a radiograph")


def _said(root: Path, rows: Rows, stem: str, problems: Problems) -> tuple[str, float]:
    """Return sex and age of a radiograph's reading; without one, a problem."""
    path = f"ClinicalReadings/{stem}.txt"
    if not rows.listing.has(path):
        problems.add("missing", path, f"the reading of {stem}")
        return "", math.nan
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    sex, age = reading(text)
    if not sex or math.isnan(age):
        problems.add("bad value", path, "no sex or age in its first two lines")
    return sex, age


def _has(root: Path, prefix: str) -> bool:
    return any((root / "CXR_png").glob(f"{prefix}_*.png"))


SOURCES = (
    Source(
        MONTGOMERY,
        build_montgomery,
        detect=lambda root: _has(root, "MCUCXR"),
        masks=("left_lung", "right_lung"),
    ),
    Source(
        SHENZHEN,
        build_shenzhen,
        detect=lambda root: _has(root, "CHNCXR"),
        masks=("lungs",),
    ),
)
