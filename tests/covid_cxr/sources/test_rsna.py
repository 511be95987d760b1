"""RSNA: one row a box, image ids for patients, DICOM headers."""

import json
import math

import pytest

from covid_cxr import sources
from covid_cxr.sources import rsna
from tests.covid_cxr import trees
from tests.covid_cxr.trees import lines, write


def test_one_film_an_id_however_many_boxes(tmp_path):
    index, problems = sources.build(trees.rsna(tmp_path))
    assert len(index) == 3
    assert index.labels["pneumonia"].tolist() == [1, 0, 0]
    assert index.labels["no_finding"].tolist() == [0, 1, 0]
    assert index.view.tolist() == ["AP", "PA", "PA"]
    assert index.age.tolist() == [50, 50, 16]
    assert index.flag("child").tolist() == [False, False, True]
    assert problems.counts() == {"grouping": 1}
    assert rsna.boxes(tmp_path) == {
        "stage_2_train_images/aa.dcm": (
            rsna.Box(264, 152, 213, 379),
            rsna.Box(562, 152, 256, 453),
        )
    }


def test_without_a_match_table_it_says_so_loudly(tmp_path):
    index, problems = sources.build(trees.rsna(tmp_path))
    assert index.patient.tolist() == ["rsna/aa", "rsna/bb", "rsna/cc"]
    assert index.flag("ungrouped").all()
    assert "patientId is an image id" in problems[0].detail


MATCH = [("aa", "00000001_000.png"), ("bb", "00000001_003.png")]


@pytest.mark.parametrize("form", ["csv", "json", "argument"])
def test_the_match_table_gives_nih_patients(tmp_path, form):
    trees.rsna(tmp_path)
    options = {}
    if form == "json":
        listed = [{"subset_img_id": a, "img_id": b} for a, b in MATCH]
        write(
            tmp_path / "pneumonia-challenge-dataset-mappings_2018.json",
            json.dumps(listed),
        )
    else:
        table = lines("patientId,img_id", *map(",".join, MATCH))
        name = "rsna_nih_match.csv" if form == "csv" else "elsewhere.csv"
        path = write(tmp_path / name, table)
        options = {"match": path} if form == "argument" else {}
    index, problems = sources.build(tmp_path, **options)
    # The NIH loader calls the same patient the same.
    assert index.patient.tolist() == ["nih/1", "nih/1", "rsna/cc"]
    assert index.flag("matched").tolist() == [True, True, False]
    assert problems == []


def test_not_normal_may_be_left_out_of_the_negatives(tmp_path):
    trees.rsna(tmp_path)
    index, _ = sources.build(tmp_path, negatives="normal")
    assert index.labels["pneumonia"].tolist() == [1, 0, -1]
    with pytest.raises(ValueError, match="negatives: expected"):
        sources.build(tmp_path, negatives="some")


def test_headers_may_be_left_unread(tmp_path):
    trees.rsna(tmp_path)
    index, _ = sources.build(tmp_path, headers=False)
    assert set(index.view.tolist()) == {"UNKNOWN"}
    assert all(math.isnan(age) for age in index.age)


def test_a_match_table_of_another_form(tmp_path):
    trees.rsna(tmp_path)
    path = write(tmp_path / "m.csv", "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"m\.csv: expected a column of subset_img_id"):
        sources.build(tmp_path, match=path)
    path = write(tmp_path / "m.json", '{"a": 1}')
    with pytest.raises(ValueError, match=r"m\.json: expected a list"):
        sources.build(tmp_path, match=path)
