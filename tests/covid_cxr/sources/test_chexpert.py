"""CheXpert: patients in the path, uncertain labels by choice."""

import pytest

from covid_cxr import sources
from tests.covid_cxr import trees
from tests.covid_cxr.trees import CHEXPERT, chexpert_row, lines, write


@pytest.mark.parametrize(
    ("policy", "label"), [("ignore", -1), ("ones", 1), ("zeros", 0)]
)
def test_uncertain_labels_follow_the_choice(tmp_path, policy, label):
    index, problems = sources.build(trees.chexpert(tmp_path), uncertain=policy)
    assert index.patient.tolist() == [
        "chexpert/patient00001",
        "chexpert/patient00002",
        "chexpert/patient64541",
    ]
    assert index.labels["pneumonia"].tolist() == [-1, label, 0]
    assert index.labels["no_finding"].tolist() == [1, -1, -1]
    assert index.flag("official_test").tolist() == [False, False, True]
    assert problems.counts() == {"not a radiograph": 1}


def test_there_is_no_silent_policy(tmp_path):
    with pytest.raises(ValueError, match="uncertain: expected one of ignore, ones"):
        sources.build(trees.chexpert(tmp_path))


def test_laterals_blank_views_and_unknowns(tmp_path):
    trees.chexpert(tmp_path)
    index, _ = sources.build(tmp_path, uncertain="ignore", lateral=True)
    assert index.view.tolist() == ["AP", "AP", "L", "AP"]
    row = chexpert_row("train/patient00001/study1/view1_frontal.jpg")
    row = row.replace("Female,68", "Unknown,0")
    write(tmp_path / "train.csv", lines(CHEXPERT, row))
    index, _ = sources.build(tmp_path, uncertain="ignore")
    assert index.sex[0] == "" and index.age[0] != index.age[0]
    assert not index.flag("child")[0]


def test_the_full_set_has_another_prefix(tmp_path):
    trees.chexpert(tmp_path)
    text = (tmp_path / "train.csv").read_text().replace("-small", "")
    write(tmp_path / "train.csv", text)
    index, _ = sources.build(tmp_path, uncertain="ignore")
    assert index.path[0] == "train/patient00001/study1/view1_frontal.jpg"
