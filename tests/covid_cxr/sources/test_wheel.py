"""The real tables, if there: they parse to the counts known of them.

Opt-in. The tables come in the torchxrayvision wheel (29 MB):

    pip download --no-deps -d FOLDER torchxrayvision==1.5.7
    SYNAPTAX_XRV_WHEEL=FOLDER/torchxrayvision-1.5.7-py3-none-any.whl pytest ...
"""

import gzip
import io
import os
import zipfile

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.images import read_mask

WHEEL = os.environ.get("SYNAPTAX_XRV_WHEEL")
pytestmark = pytest.mark.skipif(
    not WHEEL, reason="set SYNAPTAX_XRV_WHEEL to a torchxrayvision 1.5.7 wheel"
)
DATA = "torchxrayvision/data"


@pytest.fixture(scope="module")
def wheel():
    assert WHEEL
    with zipfile.ZipFile(WHEEL) as archive:
        yield archive


def unpack(wheel, name, to):
    data = wheel.read(f"{DATA}/{name}")
    if name.endswith(".gz"):
        to.write_bytes(gzip.decompress(data))
    else:
        inner = zipfile.ZipFile(io.BytesIO(data))
        to.write_bytes(inner.read(inner.namelist()[0]))


def test_nih(wheel, tmp_path):
    name = "Data_Entry_2017_v2020.csv"
    unpack(wheel, f"{name}.gz", tmp_path / name)
    index, problems = sources.build(tmp_path, "nih", files=False)
    assert problems == []
    assert len(index) == 112_120
    people, films = np.unique(index.patient, return_counts=True)
    assert len(people) == 30_805 and films.max() == 184
    assert (index.view == "PA").sum() == 67_310
    assert (index.view == "AP").sum() == 44_810
    assert index.labels["no_finding"].sum() == 60_361
    pneumonia = index.labels["pneumonia"] == 1
    assert pneumonia.sum() == 1431 and (index.view[pneumonia] == "AP").sum() == 801
    assert index.flag("child").sum() == 5402


def test_nih_boxes(wheel, tmp_path):
    from covid_cxr.sources import nih

    unpack(wheel, "BBox_List_2017.csv.gz", tmp_path / "BBox_List_2017.csv")
    found = nih.boxes(tmp_path)
    assert len(found) == 880 and sum(map(len, found.values())) == 984
    labels = {box.label for boxes in found.values() for box in boxes}
    assert labels <= set(nih.FINDINGS)


def test_rsna(wheel, tmp_path):
    from covid_cxr.sources import rsna

    unpack(wheel, "kaggle_stage_2_train_labels.csv.zip", tmp_path / rsna.LABELS)
    index, problems = sources.build(tmp_path, "rsna", files=False)
    assert len(index) == 26_684
    assert (index.labels["pneumonia"] == 0).sum() == 20_672
    assert (index.labels["pneumonia"] == 1).sum() == 6012
    # Without the class table, and without the match table.
    assert problems.counts() == {"missing": 1, "grouping": 1}
    per_film = np.bincount([len(b) for b in rsna.boxes(tmp_path).values()])
    assert per_film.tolist() == [0, 2614, 3266, 119, 13]


def test_chexpert(wheel, tmp_path):
    unpack(wheel, "chexpert_train.csv.gz", tmp_path / "train.csv")
    options = {"files": False, "uncertain": "ignore", "lateral": True}
    index, problems = sources.build(tmp_path, "chexpert", **options)
    assert problems == []
    assert len(index) == 223_414
    assert len(np.unique(index.patient)) == 64_540
    assert (index.view == "AP").sum() == 161_590
    assert (index.view == "PA").sum() == 29_420
    assert (index.labels["pneumonia"] == 1).sum() == 6039
    assert (index.labels["pneumonia"] == 0).sum() == 2799
    options["uncertain"] = "ones"
    ones = sources.build(tmp_path, "chexpert", **options).index
    assert (ones.labels["pneumonia"] == 1).sum() == 6039 + 18_770


def test_padchest(wheel, tmp_path):
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    unpack(wheel, f"{name}.gz", tmp_path / name)
    index, problems = sources.build(tmp_path, "padchest", files=False, lateral=True)
    # Every row is a film or a named problem.
    lost = problems.counts().get("not a radiograph", 0)
    assert len(index) + lost == 160_861
    assert (index.view == "PA").sum() == 91_728
    assert (index.view == "L").sum() == 49_579
    assert (index.view == "AP").sum() == 4559
    assert (index.view == "AP_SUPINE").sum() == 14_346
    assert (tmp_path / name).read_text().count("\n") >= 160_861
    assert len(_people(tmp_path / name)) == 67_625


def _people(path):
    from covid_cxr.problems import Problems
    from covid_cxr.sources.base import read_table

    table = read_table(path, Problems(), need=("PatientID",))
    return {get("PatientID") for _, get in table.rows()}


def test_v7_masks(wheel, tmp_path):
    data = io.BytesIO(wheel.read(f"{DATA}/semantic_masks_v7labs_lungs.zip"))
    marked = total = 0
    with zipfile.ZipFile(data) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            content = archive.read(name)
            assert content.startswith(b"\x89PNG"), name  # whatever the suffix
            path = tmp_path / "mask"
            path.write_bytes(content)
            total += 1
            marked += bool(read_mask(path).any())
    assert (total, marked) == (517, 435)
