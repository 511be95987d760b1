"""MIMIC-CXR: a study's findings for each of its frontal radiographs, packed or not."""

import gzip

import pytest

from covid_cxr import sources
from tests.covid_cxr import trees


def built(root, **options):
    return sources.build(root, **{"uncertain": "ignore"} | options)


@pytest.mark.parametrize(
    ("policy", "label"), [("ignore", -1), ("ones", 1), ("zeros", 0)]
)
def test_findings_are_those_of_the_study(tmp_path, policy, label):
    index, problems = built(trees.mimic(tmp_path), uncertain=policy)
    assert index.path.tolist()[0] == "files/p10/p10000032/s50414267/aa.jpg"
    assert index.patient.tolist() == [
        f"mimic/100{n}" for n in ("00032", "00764", "00898")
    ]
    assert index.labels["pneumonia"].tolist() == [1, label, 0]
    assert (index.labels["edema"] == -1).all()  # blank: not mentioned
    # The last one's view is in the code of the view alone.
    assert index.view.tolist() == ["PA", "AP", "AP"]
    assert index.flag("official_test").tolist() == [False, True, False]
    assert problems.counts() == {"not a radiograph": 1}


def test_a_study_without_findings_or_with_two_is_unknown(tmp_path):
    trees.mimic(tmp_path)
    table = tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz"
    head, first, *_ = gzip.decompress(table.read_bytes()).decode().splitlines()
    other = first.replace("1.0", "0.0")
    table.write_bytes(gzip.compress(trees.lines(head, first, other).encode()))
    index, problems = built(tmp_path)
    assert (index.label("pneumonia") == -1).all()
    assert problems.counts() == {"unlabelled": 2, "ambiguous": 1, "not a radiograph": 1}


def test_what_is_not_said_or_not_whole_is_refused(tmp_path):
    trees.mimic(tmp_path)
    with pytest.raises(ValueError, match="uncertain: expected one of ignore, ones"):
        sources.build(tmp_path)
    table = tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz"
    table.write_bytes(table.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"chexpert\.csv\.gz: not a gzip file"):
        built(tmp_path)
