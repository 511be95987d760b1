"""Each kind of damage gives a clear error or a counted problem; nothing vanishes.

A case damages a small whole tree and says what ``verify`` must then find: problems of
a kind that name a file, or one error. What is not damaged must still be there.
"""

import os
import shutil

import numpy as np
import pytest

from covid_cxr.verify import verify
from tests.covid_cxr import trees
from tests.covid_cxr.trees import write


def replace(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def over(path, data):
    """Overwrite a file that is there."""
    assert path.exists()
    write(path, data)


def add_line(path, line):
    path.write_text(path.read_text() + line + "\n")


def rgba(root):
    layers = [trees.picture(77)] * 3 + [np.zeros_like(trees.picture(77))]
    over(root / "images/00000001_000.png", trees.encode(np.stack(layers, -1)))


def link_out(root):
    outside = write(root.parent / "outside" / "film.png", trees.png(7))
    (root / "images/a.png").unlink()
    os.symlink(outside, root / "images/a.png")


def far_age(root):
    replace(root / "metadata.csv", "54", "fifty")


COVID, NIH, RSNA = "covid_chestxray", "nih", "rsna"
DCM = "stage_2_train_images/aa.dcm"
FILM = "sub-S1/ses-E1/mod-rx/sub-S1_ses-E1_run-1_bp-chest_vp-pa_dx"
V2020 = "Data_Entry_2017_v2020.csv"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
HEART = "scratch/fold1/masks/heart/JPCLN001.gif"

# name: (set, damage, kind, part of the path that must be named, images left)
COUNTED = {
    # files
    "absent image": (
        COVID,
        lambda r: (r / "images/a.png").unlink(),
        "missing",
        "images/a.png",
        2,
    ),
    "empty image": (
        COVID,
        lambda r: over(r / "images/a.png", b""),
        "corrupt",
        "images/a.png",
        2,
    ),
    "truncated PNG": (
        COVID,
        lambda r: cut(r / "images/a.png", 300),
        "corrupt",
        "images/a.png",
        2,
    ),
    "truncated JPEG": (
        COVID,
        lambda r: cut(r / "images/b.jpg", 500),
        "corrupt",
        "images/b.jpg",
        2,
    ),
    "no image at all": (
        COVID,
        lambda r: over(r / "images/a.png", "<html>404</html>"),
        "corrupt",
        "images/a.png",
        2,
    ),
    "an image format of no use": (
        COVID,
        lambda r: over(r / "images/a.png", trees.encode(trees.picture(1), "BMP")),
        "corrupt",
        "images/a.png",
        2,
    ),
    "zip bomb sized header": (
        COVID,
        lambda r: over(r / "images/a.png", trees.bomb()),
        "corrupt",
        "images/a.png",
        2,
    ),
    "a folder where an image should be": (
        COVID,
        lambda r: ((r / "images/a.png").unlink(), (r / "images/a.png").mkdir()),
        "corrupt",
        "images/a.png",
        2,
    ),
    "constant image": (
        COVID,
        lambda r: over(r / "images/a.png", trees.encode(np.zeros((9, 9), np.uint8))),
        "constant",
        "images/a.png",
        2,
    ),
    "the same picture twice": (
        COVID,
        lambda r: over(r / "images/c.PNG", trees.png(1)),
        "duplicate",
        "images/a.png",
        3,
    ),
    "the same picture, larger and compressed anew": (
        COVID,
        lambda r: over(
            r / "images/b.jpg",
            trees.encode(trees.picture(1, (96, 80)), "JPEG", quality=60),
        ),
        "duplicate",
        "images/a.png",
        3,
    ),
    "a film that no table names": (
        COVID,
        lambda r: write(r / "images/extra.png", trees.png(9)),
        "unlisted",
        "images/extra.png",
        3,
    ),
    # paths
    "path that escapes the folder": (
        COVID,
        lambda r: replace(r / "metadata.csv", "a.png", "../../a.png"),
        "escapes",
        "images/../../a.png",
        2,
    ),
    "absolute path": (
        COVID,
        lambda r: replace(r / "metadata.csv", "images,a.png", "/etc,a.png"),
        "escapes",
        "/etc/a.png",
        2,
    ),
    "backslashes": (
        COVID,
        lambda r: replace(r / "metadata.csv", "a.png", "..\\a.png"),
        "escapes",
        "..\\a.png",
        2,
    ),
    "a link that leads out": (COVID, link_out, "escapes", "images/a.png", 2),
    # tables
    "row cut short": (
        COVID,
        lambda r: add_line(r / "metadata.csv", "9,,M"),
        "bad value",
        "line 5",
        3,
    ),
    "row with too many cells": (
        COVID,
        lambda r: add_line(r / "metadata.csv", trees.modern_row() + "x,y,z"),
        "bad value",
        "line 5",
        3,
    ),
    "repeated row": (
        COVID,
        lambda r: add_line(
            r / "metadata.csv", (r / "metadata.csv").read_text().splitlines()[1]
        ),
        "duplicate",
        "images/a.png",
        3,
    ),
    "repeated file with another label": (
        COVID,
        lambda r: add_line(
            r / "metadata.csv",
            trees.modern_row(patientid="1", finding="No Finding", filename="a.png"),
        ),
        "ambiguous",
        "images/a.png",
        2,
    ),
    "age that is no number": (COVID, far_age, "bad value", "line 2", 3),
    "row without a patient": (
        COVID,
        lambda r: replace(r / "metadata.csv", "\n1,", "\n,"),
        "bad value",
        "line 2",
        2,
    ),
    "row without a file name": (
        COVID,
        lambda r: replace(r / "metadata.csv", "images,a.png", "images,"),
        "bad value",
        "line 2",
        2,
    ),
    "unknown finding": (
        NIH,
        lambda r: replace(r / V2020, "Cardiomegaly|", "Cardiomegalia|"),
        "bad value",
        "00000001_000.png",
        3,
    ),
    "patient that the file name contradicts": (
        NIH,
        lambda r: replace(r / V2020, "No Finding,0,2,", "No Finding,0,3,"),
        "ambiguous",
        "00000002_000.png",
        2,
    ),
    "unknown view": (
        NIH,
        lambda r: replace(r / V2020, ",M,PA,", ",M,XX,"),
        "bad value",
        "line 2",
        3,
    ),
    # masks
    "empty mask": (
        COVID,
        lambda r: over(
            r / "annotations/lungs/a.png",
            trees.encode(np.full((48, 40), 127, np.uint8)),
        ),
        "empty mask",
        "annotations/lungs/a.png",
        3,
    ),
    "mask of another size": (
        COVID,
        lambda r: over(
            r / "annotations/lungs/a.png", trees.encode(trees.box_mask((20, 20)))
        ),
        "mask size",
        "annotations/lungs/a.png",
        3,
    ),
    "broken mask": (
        COVID,
        lambda r: cut(r / "annotations/lungs/a.png", 40),
        "corrupt",
        "annotations/lungs/a.png",
        3,
    ),
    "absent mask": (
        "montgomery",
        lambda r: (r / "ManualMask/leftMask/MCUCXR_0001_0.png").unlink(),
        "missing",
        "ManualMask/leftMask/MCUCXR_0001_0.png",
        2,
    ),
    "absent reading": (
        "shenzhen",
        lambda r: (r / "ClinicalReadings/CHNCXR_0001_0.txt").unlink(),
        "missing",
        "ClinicalReadings/CHNCXR_0001_0.txt",
        2,
    ),
    "mask without a film": (
        "shenzhen",
        lambda r: write(r / "mask/CHNCXR_0009_0_mask.png", trees.png()),
        "unlisted",
        "mask/CHNCXR_0009_0_mask.png",
        2,
    ),
    # DICOM
    "truncated DICOM": (RSNA, lambda r: cut(r / DCM, 1500), "corrupt", DCM, 2),
    "DICOM cut in its header": (RSNA, lambda r: cut(r / DCM, 140), "corrupt", DCM, 2),
    "DICOM without pixels": (
        RSNA,
        lambda r: over(r / DCM, trees.dicom(PixelData=None)),
        "corrupt",
        DCM,
        2,
    ),
    "DICOM of several frames": (
        RSNA,
        lambda r: over(r / DCM, trees.dicom(NumberOfFrames=2)),
        "corrupt",
        DCM,
        2,
    ),
    "DICOM whose header promises too many pixels": (
        RSNA,
        lambda r: over(r / DCM, trees.dicom(Rows=60_000, Columns=60_000)),
        "corrupt",
        DCM,
        2,
    ),
    "text named as DICOM": (
        RSNA,
        lambda r: over(r / DCM, "not a film"),
        "corrupt",
        DCM,
        2,
    ),
    "both targets of one id": (
        RSNA,
        lambda r: add_line(r / LABELS, "aa,,,,,0"),
        "ambiguous",
        DCM,
        2,
    ),
    "class that contradicts the target": (
        RSNA,
        lambda r: replace(r / CLASSES, "bb,Normal", "bb,Lung Opacity"),
        "ambiguous",
        "bb.dcm",
        2,
    ),
    "box that leaves the film": (
        RSNA,
        lambda r: replace(r / LABELS, "264.0", "1000.0"),
        "bad value",
        "line 2",
        3,
    ),
    "target without a box": (
        RSNA,
        lambda r: add_line(r / LABELS, "aa,,,,,1"),
        "bad value",
        "line 6",
        3,
    ),
    # sets of their own
    "IMG of another size": (
        "jsrt",
        lambda r: cut(r / "All247images/JPCLN001.IMG", 8_388_606),
        "corrupt",
        "JPCLN001.IMG",
        1,
    ),
    "absent structure": (
        "jsrt",
        lambda r: (r / HEART).unlink(),
        "missing",
        HEART,
        2,
    ),
    "name of no scheme": (
        "kermany",
        lambda r: write(r / "chest_xray/train/NORMAL/IMG_1.jpeg", trees.jpeg(1)),
        "bad value",
        "IMG_1.jpeg",
        6,
    ),
    "list that is no list": (
        "padchest",
        lambda r: replace(
            r / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
            "['normal']",
            "['normal'",
        ),
        "bad value",
        "line 2",
        2,
    ),
    "label that is no label": (
        "chexpert",
        lambda r: replace(r / "train.csv", ",AP,1.0,", ",AP,yes,"),
        "bad value",
        "line 2",
        3,
    ),
    "path without a patient": (
        "chexpert",
        lambda r: replace(r / "train.csv", "/patient00001/", "/person00001/"),
        "bad value",
        "line 2",
        2,
    ),
    "broken tags": (
        "bimcv_pos",
        lambda r: over(r / f"{FILM}.json", "{"),
        "corrupt",
        f"{FILM}.json",
        1,
    ),
    "participant without a film": (
        "bimcv_pos",
        lambda r: shutil.rmtree(r / "sub-S2"),
        "missing",
        "sub-S2",
        2,
    ),
    "film of no participant": (
        "bimcv_pos",
        lambda r: replace(r / "participants.tsv", "sub-S1", "sub-S7"),
        "unlisted",
        f"{FILM}.png",
        0,
    ),
    "row without a hospital": (
        "corda",
        lambda r: replace(r / "corda.csv", ",Mauriziano", ","),
        "bad value",
        "line 2",
        2,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_damage_is_counted_and_named(name, tmp_path):
    source, damage, kind, path, left = COUNTED[name]
    root = trees.TREES[source](tmp_path / "set")
    before = {(p.kind, p.path) for p in verify(root, source).problems}
    damage(root)
    report = verify(root, source)
    fresh = [p for p in report.problems if (p.kind, p.path) not in before]
    assert any(p.kind == kind and path in p.path for p in fresh), list(map(str, fresh))
    assert len(report.index) == left
    # Nothing vanishes: what is gone is named.
    assert fresh and all(p.detail for p in fresh)


# name: (set, damage, error, words of the message)
REFUSED = {
    "missing column": (
        COVID,
        lambda r: replace(r / "metadata.csv", ",finding,", ",result,"),
        ValueError,
        "metadata.csv: no column 'finding'",
    ),
    "empty table": (
        COVID,
        lambda r: over(r / "metadata.csv", ""),
        ValueError,
        "metadata.csv: the table is empty",
    ),
    "binary table": (
        COVID,
        lambda r: over(r / "metadata.csv", b"\x00\x01\x02\n" * 9),
        ValueError,
        "metadata.csv",
    ),
    "absent table": (
        NIH,
        lambda r: (r / V2020).unlink(),
        FileNotFoundError,
        V2020,
    ),
    "absent label table": (
        RSNA,
        lambda r: (r / LABELS).unlink(),
        FileNotFoundError,
        LABELS,
    ),
    "missing column of a table with commas in its names": (
        NIH,
        lambda r: replace(r / V2020, "Finding Labels", "Findings"),
        ValueError,
        "no column 'Finding Labels'",
    ),
    "no films": (
        "montgomery",
        lambda r: shutil.rmtree(r / "CXR_png"),
        FileNotFoundError,
        "no radiographs in CXR_png",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damage_that_leaves_nothing_to_use_is_one_error(name, tmp_path):
    source, damage, error, words = REFUSED[name]
    root = trees.TREES[source](tmp_path / "set")
    damage(root)
    with pytest.raises(error, match=words.replace(".", r"\.")):
        verify(root, source)


def test_there_are_thirty_kinds_and_more():
    assert len(COUNTED) + len(REFUSED) >= 30


def test_rgba_is_no_damage(tmp_path):
    root = trees.nih(tmp_path / "set")
    rgba(root)
    report = verify(root)
    assert (len(report.index), report.problems) == (3, [])
