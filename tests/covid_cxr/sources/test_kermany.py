"""Kermany: two naming schemes, children, the 2 of NORMAL2, nested copies."""

import pytest

from covid_cxr import sources
from covid_cxr.sources import kermany
from tests.covid_cxr import trees
from tests.covid_cxr.trees import jpeg, write


def test_the_first_scheme(tmp_path):
    index, problems = sources.build(trees.kermany(tmp_path))
    assert problems == []
    rows = dict(zip(index.path.tolist(), index.patient.tolist(), strict=True))
    base = "chest_xray/"
    assert rows[f"{base}train/PNEUMONIA/person1_bacteria_1.jpeg"] == "kermany/person1"
    # One child in two folders and with both subtypes.
    assert rows[f"{base}test/PNEUMONIA/person1_virus_7.jpeg"] == "kermany/person1"
    # Not the 2 of NORMAL2, and another child than IM-0115.
    assert rows[f"{base}train/NORMAL/IM-0115-0001.jpeg"] == "kermany/IM-0115"
    normal2 = rows[f"{base}train/NORMAL/NORMAL2-IM-0115-0001.jpeg"]
    assert normal2 == "kermany/NORMAL2-IM-0115"
    assert index.labels["viral"].sum() == 2
    assert index.labels["bacterial"].sum() == 1
    assert (
        index.labels["pneumonia"].tolist() == (1 - index.labels["no_finding"]).tolist()
    )
    assert index.flag("child").all()
    assert set(index.view.tolist()) == {"AP"}
    assert index.flag("official_test").sum() == 1


def test_the_second_scheme(tmp_path):
    index, problems = sources.build(trees.kermany_v3(tmp_path))
    assert problems == []
    assert sorted(index.patient.tolist()) == [
        "kermany/40699",
        "kermany/40699",
        "kermany/NORMAL-28501",
    ]


@pytest.mark.parametrize(
    ("stem", "wanted"),
    [
        ("person1_bacteria_1", ("a", "person1", "bacteria")),
        ("person1000_virus_1681", ("a", "person1000", "virus")),
        ("IM-0115-0001", ("a", "IM-0115", "normal")),
        ("IM-0187-0001-0002", ("a", "IM-0187", "normal")),
        ("NORMAL2-IM-0262-0001", ("a", "NORMAL2-IM-0262", "normal")),
        ("NORMAL-28501-0001", ("b", "NORMAL-28501", "normal")),
        ("BACTERIA-40699-0001", ("b", "40699", "bacteria")),
        ("person1_fungus_1", None),
    ],
)
def test_names(stem, wanted):
    assert kermany.parse(stem) == wanted


def test_a_nested_copy_of_everything_is_counted_not_used(tmp_path):
    trees.kermany(tmp_path)
    trees.kermany(tmp_path / "chest_xray")
    index, problems = sources.build(tmp_path)
    assert len(index) == 6
    assert problems.counts() == {"duplicate": 6}
    assert not any("chest_xray/chest_xray" in path for path in index.path)


def test_what_a_macintosh_leaves_is_not_a_film(tmp_path):
    trees.kermany(tmp_path)
    folder = tmp_path / "chest_xray" / "train" / "NORMAL"
    write(folder / "._IM-0115-0001.jpeg", b"junk")
    write(folder / ".DS_Store", b"junk")
    write(tmp_path / "__MACOSX" / "train" / "NORMAL" / "IM-1-1.jpeg", b"junk")
    index, problems = sources.build(tmp_path)
    assert (len(index), problems) == (6, [])


def test_both_schemes_at_once_must_be_chosen_from(tmp_path):
    trees.kermany(tmp_path)
    trees.kermany_v3(tmp_path)
    with pytest.raises(ValueError, match="scheme: both are there"):
        sources.build(tmp_path)
    index, problems = sources.build(tmp_path, scheme="b")
    assert len(index) == 3
    assert problems.counts() == {"unlisted": 6}


def test_a_name_in_the_wrong_folder(tmp_path):
    trees.kermany(tmp_path)
    path = "chest_xray/train/NORMAL/person9_virus_1.jpeg"
    write(tmp_path / path, jpeg(99))
    index, problems = sources.build(tmp_path)
    assert len(index) == 6
    assert [(p.kind, p.path) for p in problems] == [("ambiguous", path)]
