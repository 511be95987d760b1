"""The table type."""

import math

import numpy as np
import pytest

from covid_cxr.index import Row, build, concatenate, inside, resolve, rows

A = Row("a.png", "s/1", "s", age=40, labels={"covid": 1}, flags=frozenset({"child"}))
B = Row("b/c.png", "s/1", "s", view="PA", masks={"lungs": "m.png"})
C = Row("a.png", "t/1", "t", sex="F", labels={"pneumonia": 0})


def test_what_is_not_said_is_unknown():
    index = build([A, B])
    assert index.labels["covid"].tolist() == [1, -1]
    assert index.label("pneumonia").tolist() == [-1, -1]
    assert index.mask("lungs").tolist() == ["", "m.png"]
    assert index.mask("heart").tolist() == ["", ""]
    assert index.flag("child").tolist() == [True, False]
    assert index.flag("other").tolist() == [False, False]
    assert index.age[0] == 40 and math.isnan(index.age[1])
    assert repr(index) == "Index(2 images of 1 patients from s)"


def test_rows_come_back():
    again = list(rows(build([A, B, C])))
    assert build(again).digest() == build([A, B, C]).digest()
    assert again[1].masks == {"lungs": "m.png"}


def test_select_takes_positions_truth_and_slices():
    index = build([A, B, C])
    assert index.select([2, 0]).uid.tolist() == ["t/a.png", "s/a.png"]
    assert index.select(np.array([False, True, False])).uid.tolist() == ["s/b/c.png"]
    assert len(index.select([])) == 0
    assert len(index.select(slice(1, None))) == 2
    with pytest.raises(ValueError, match="rows: expected a boolean array of length 3"):
        index.select(np.array([True]))


def test_concatenate_fills_what_a_table_does_not_know():
    both = concatenate([build([A, B]), build([C])])
    assert both.labels["pneumonia"].tolist() == [-1, -1, 0]
    assert both.labels["covid"].tolist() == [1, -1, -1]
    assert both.flag("child").tolist() == [True, False, False]
    assert both.digest() == build([C, A, B]).digest()


def test_the_digest_is_of_the_contents_whatever_their_order():
    index = build([A, B, C], roots={"s": "here"})
    assert index.digest() == index.select([2, 0, 1]).digest()
    assert index.digest() == build([A, B, C], roots={"s": "there"}).digest()
    assert index.digest() != build([A._replace(age=41), B, C]).digest()
    assert index.digest() != build([A, B]).digest()
    # A column in which nothing is said says nothing.
    quiet = C._replace(labels={"pneumonia": 0, "covid": -1})
    assert index.digest() == build([A, B, quiet]).digest()


def test_columns_are_frozen():
    index = build([A])
    with pytest.raises(ValueError, match="read-only"):
        index.age[0] = 3


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([A, A], "'s/a.png' is in the table twice"),
        ([A._replace(view="PAAP")], "view: expected one of"),
        ([A._replace(sex="male")], "sex: expected one of"),
        ([A._replace(patient="")], "patient: expected text"),
        ([A._replace(path="../a.png")], "leads out of its folder"),
        ([A._replace(masks={"lungs": "/m.png"})], "leads out of its folder"),
        ([A._replace(labels={"covid": 2})], r"labels\['covid'\]: expected"),
    ],
)
def test_bad_rows(bad, words):
    with pytest.raises(ValueError, match=words):
        build(bad)


def test_a_source_has_one_folder():
    here, there = build([A], roots={"s": "x"}), build([B], roots={"s": "y"})
    with pytest.raises(ValueError, match="the source 's' has two folders"):
        concatenate([here, there])
    with pytest.raises(ValueError, match="tables: expected at least one"):
        concatenate([])
    with pytest.raises(ValueError, match="roots: the source 't' has no folder"):
        build([C]).file(0)


@pytest.mark.parametrize(
    ("path", "stays"),
    [
        ("a/b.png", True),
        ("COVID (617).png", True),
        ("a:b.png", False),
        ("..", False),
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("C:\\x", False),
        ("a\\b", False),
        ("a\x00", False),
        ("", False),
    ],
)
def test_paths_stay_inside(path, stays):
    assert inside(path) == stays


def test_a_link_may_not_lead_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.png").touch()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    (tmp_path / "in" / "film.png").touch()
    assert resolve(str(tmp_path / "in"), "film.png").name == "film.png"
    with pytest.raises(ValueError, match="leads out"):
        resolve(str(tmp_path / "in"), "link.png")


def test_a_name_that_is_no_utf8_has_a_digest():
    index = build([C._replace(path="a\udcff.png")])
    assert index.digest() != build([C._replace(path="a.png")]).digest()


def test_a_link_to_itself_stays_inside_and_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    assert resolve(str(tmp_path), "a.png").name == "a.png"
