"""JSRT films, digitised, with SCR masks: raw big-endian 12-bit words, dark is high.

``All247images/JPC{LN,NN}###.IMG`` (exactly 2048x2048 words), masks of five structures
in ``scratch/fold{1,2}/masks/<structure>/<stem>.gif`` at 1024x1024. A radiograph a
person.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from covid_cxr.images.reader import read_raw
from covid_cxr.index import Row
from covid_cxr.problems import Problems
from covid_cxr.sources.base import Built, Rows, Source

NAME = "jsrt"
FOLDER = "All247images"
STRUCTURES = ("left lung", "right lung", "heart", "left clavicle", "right clavicle")
_STEM = re.compile(r"JPC(LN|NN)(\d{3})", re.I)
_SIDE, _SPACING = 2048, 0.175


def build(root: Path, *, files: bool = True) -> Built:
    """Build the table.

    Args:
        root: the folder of ``All247images``, and of ``scratch`` for the masks.
        files: must be true: the names of the files are the table.

    Returns:
        Radiographs with labels nodule and covid (0: they are older), and masks
        left_lung (at the viewer's right), right_lung, heart, left_clavicle,
        right_clavicle; flags "scr_fold1" and "scr_fold2".

    Raises:
        FileNotFoundError: without radiographs.
        ValueError: for ``files=False``.
    """
    if not files:
        raise ValueError("files: the names of the files are this set's only table")
    problems = Problems()
    rows = Rows(NAME, root, problems, files)
    radiographs = rows.listing.files(FOLDER, (".img",))
    if not radiographs:
        raise FileNotFoundError(f"{root}: no .IMG files in {FOLDER}")
    for path in radiographs:
        stem = PurePosixPath(path).stem
        match = _STEM.fullmatch(stem)
        if match is None:
            problems.add("bad value", path, "not named JPCLN000.IMG or JPCNN000.IMG")
            continue
        masks, flags = _masks(rows, stem)
        rows.add(
            Row(
                path,
                f"{NAME}/{stem.upper()}",
                NAME,
                view="PA",
                spacing=_SPACING,
                height=_SIDE,
                width=_SIDE,
                labels={"nodule": int(match[1].upper() == "LN"), "covid": 0},
                masks=masks,
                flags=flags,
            ),
            path,
        )
    _spare_masks(rows, {PurePosixPath(path).stem for path in radiographs})
    return rows.built()


def _masks(rows: Rows, stem: str) -> tuple[dict[str, str], frozenset[str]]:
    """Return a radiograph's masks and its fold, if SCR is there."""
    masks, flags = {}, set()
    folds = [fold for fold in (1, 2) if rows.listing.names(f"scratch/fold{fold}")]
    for structure in STRUCTURES:
        paths = {
            fold: f"scratch/fold{fold}/masks/{structure}/{stem}.gif" for fold in folds
        }
        there = [fold for fold in folds if rows.listing.has(paths[fold])]
        if len(there) > 1:
            rows.problems.add("ambiguous", paths[1], "a mask in both folds")
        elif there:
            masks[structure.replace(" ", "_")] = paths[there[0]]
            flags.add(f"scr_fold{there[0]}")
        elif folds:
            rows.problems.add("missing", paths[folds[0]], f"in fold {folds}")
    return masks, frozenset(flags)


def _spare_masks(rows: Rows, stems: set[str]) -> None:
    """Say which masks have no radiograph."""
    for fold in (1, 2):
        for structure in STRUCTURES:
            folder = f"scratch/fold{fold}/masks/{structure}"
            for path in rows.listing.files(folder, (".gif",)):
                if PurePosixPath(path).stem not in stems:
                    rows.problems.add("unlisted", path, "a mask without a radiograph")


SOURCE = Source(
    NAME,
    build,
    detect=lambda root: (root / FOLDER).is_dir(),
    masks=tuple(name.replace(" ", "_") for name in STRUCTURES),
    read=read_raw,
    paired=False,
)
