"""SIIM-ACR Pneumothorax: a table of run lengths, radiographs as DICOM.

A radiograph's rows in ``stage_2_train.csv`` (or ``train-rle.csv``) are its areas of
pneumothorax; one row of -1 says that there is none.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError
from covid_cxr.index import NEGATIVE, POSITIVE, Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source, child, read_table

NAME = "siim"
TABLES = ("stage_2_train.csv", "train-rle.csv")
_FOLDERS = ("dicom-images-train", "stage_2_images")


def build(root: Path, *, files: bool = True, headers: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of the table; radiographs below ``dicom-images-train`` or
            ``stage_2_images``.
        files: look for the radiographs too.
        headers: read view, sex, age and spacing from the radiographs' headers.

    Returns:
        Radiographs with the labels pneumothorax and covid (0: they are of NIH
        ChestX-ray14). No patient is named: each is its own, flag "ungrouped".

    Raises:
        FileNotFoundError: without a table.
        ValueError: for a table that lacks a column.
    """
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    name = next((one for one in TABLES if (root / one).is_file()), TABLES[0])
    table = read_table(root / name, problems, need=("ImageId", "EncodedPixels"))
    areas: dict[str, set[bool]] = {}
    for where, get in table.rows():
        image, cell = get("ImageId"), get("EncodedPixels")
        runs = cell.split()
        ill = len(runs) > 1 and all(run.isdecimal() for run in runs)
        if not image or "/" in image or not (ill or cell == "-1"):
            problems.add("bad value", where, "expected an id, and run lengths or -1")
            continue
        areas.setdefault(image, set()).add(ill)
    places = {
        PurePosixPath(path).stem: path
        for folder in _FOLDERS
        for path in (rows.listing.walk(folder, (".dcm",)) if files else ())
    }
    for image, kinds in areas.items():
        path = places.get(image, f"{_FOLDERS[0]}/{image}.dcm")
        if len(kinds) > 1:
            problems.add("ambiguous", path, f"{name}: an area, and none")
            continue
        label = POSITIVE if kinds == {True} else NEGATIVE
        labels = {"pneumothorax": label, "covid": NEGATIVE}
        row = Row(path, f"{NAME}/{image}", NAME, "NIH Clinical Center", labels=labels)
        if headers and image in places:
            try:
                row = row._replace(**dicom.attributes(root / path)._asdict())
            except ImageError as error:
                problems.add("corrupt", path, error.reason)
                continue
        rows.add(row._replace(flags=child(row.age) | {"ungrouped"}), image)
    table_paths = {places.get(image) for image in areas}
    rows.unlisted(sorted(path for path in places.values() if path not in table_paths))
    detail = "ids are images, of NIH's patients: siblings, and NIH's own, are not told"
    problems.add("grouping", name, detail)
    return rows.built()


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: any((root / name).is_file() for name in TABLES),
    tables=TABLES,
)
