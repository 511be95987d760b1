"""VinDr-CXR, SIIM-ACR and COVIDx: votes, areas, and lists of other sets' images."""

import pytest

from covid_cxr import sources
from tests.covid_cxr import trees


def test_vindr_counts_its_readers(tmp_path):
    index, problems = sources.build(trees.vindr(tmp_path))
    assert index.path.tolist() == ["train/aa.dicom", "test/bb.dicom"]
    assert index.labels["pneumonia"].tolist() == [1, 0]
    assert index.labels["nodule_mass"].tolist() == [-1, 0]  # one reader of three
    assert index.labels["no_finding"].tolist() == [0, 1]
    assert index.labels["other_diseases"].tolist() == [0, 0]  # spelt in two ways
    assert (index.label("covid") == -1).all()
    assert index.flag("ungrouped").all() and index.view.tolist() == ["PA", "PA"]
    assert index.flag("official_test").tolist() == [False, True]
    assert problems.counts() == {"unlabelled": 1, "grouping": 1}


def test_a_vote_that_is_none_and_a_reader_twice(tmp_path):
    trees.vindr(tmp_path)
    table = tmp_path / "annotations" / "image_labels_train.csv"
    table.write_text(table.read_text().replace("R10", "R9").replace("R8,0", "R8,x"))
    index, problems = sources.build(tmp_path)
    row = index.path.tolist().index("train/aa.dicom")
    assert index.labels["aortic_enlargement"][row] == -1
    assert problems.counts()["bad value"] == 1 and problems.counts()["duplicate"] == 1


def test_siim_tells_areas_from_none(tmp_path):
    index, problems = sources.build(trees.siim(tmp_path))
    assert index.labels["pneumothorax"].tolist() == [1, 0]
    assert index.path[0] == "dicom-images-train/study/series/1.2.3.dcm"
    assert problems.counts() == {"grouping": 1}
    table = tmp_path / "stage_2_train.csv"
    table.write_text(table.read_text() + "1.2.4, 5 5\n1.2.5, 3 x\n")
    index, problems = sources.build(tmp_path)
    assert len(index) == 1
    assert problems.counts() == {"bad value": 1, "ambiguous": 1, "grouping": 1}


def test_covidx_keeps_archives_and_the_ids_that_are_people(tmp_path):
    index, problems = sources.build(trees.covidx(tmp_path))
    rows = dict(zip(index.path.tolist(), range(len(index)), strict=True))
    source = {path: index.source[row] for path, row in rows.items()}
    assert source == {
        "train/a.png": "covidx/cohen",
        "train/COVID(617).png": "covidx/sirm",
        "train/b.png": "covidx/rsna",
        "test/c.jpg": "covidx",
    }
    assert index.label("covid")[rows["train/a.png"]] == 1
    assert index.label("covid")[rows["train/b.png"]] == 0
    loose = index.flag("ungrouped")
    known = {path for path, row in rows.items() if not loose[row]}
    assert known == {"train/a.png", "test/c.jpg"}
    assert index.patient[rows["train/a.png"]] == "covidx/7"
    assert problems.counts() == {"grouping": 1}


def test_covidx_of_three_classes_and_bad_lines(tmp_path):
    text = trees.lines("1 a.png COVID-19", "2 b.png pneumonia x", "3 c.png normal", "z")
    trees.write(tmp_path / "train_COVIDx3.txt", text)
    index, problems = sources.by_name("covidx").build(tmp_path, files=False)
    assert index.label("covid").tolist() == [1, 0, 0]
    assert index.label("pneumonia").tolist() == [-1, 1, 0]
    assert index.label("no_finding").tolist() == [0, 0, 1]
    assert problems.counts() == {"bad value": 1, "grouping": 1}
    trees.write(tmp_path / "train_COVIDx4.txt", text)
    with pytest.raises(ValueError, match="two lists of one part"):
        sources.by_name("covidx").build(tmp_path)
