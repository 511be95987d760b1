"""PadChest: lists written as text, 16-bit films, ages from dates."""

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.sources import padchest
from tests.covid_cxr import trees


def test_the_table(tmp_path):
    index, problems = sources.build(trees.padchest(tmp_path))
    assert index.view.tolist() == ["PA", "AP_SUPINE"]
    assert index.labels["pneumonia"].tolist() == [0, 1]
    assert index.labels["no_finding"].tolist() == [1, 0]
    assert index.age.tolist() == [84, 4]
    assert index.flag("child").tolist() == [False, True]
    assert index.flag("physician").tolist() == [True, False]
    assert problems.counts() == {"not a radiograph": 1}
    film = sources.read(index, 0)
    assert film.bits == 16
    np.testing.assert_array_equal(np.rint(film.pixels * 255), trees.picture(61))


def test_films_may_lie_flat(tmp_path):
    trees.padchest(tmp_path)
    for path in (tmp_path / "0").iterdir():
        path.rename(tmp_path / path.name)
    assert sources.build(tmp_path).index.path.tolist() == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("['pneumonia', 'unchanged']", (1, 0)),
        ("['normal']", (0, 1)),
        ("['normal', 'scoliosis']", (0, 0)),
        ("['pneumothorax']", (0, 0)),
    ],
)
def test_labels(text, wanted):
    found = padchest.labels(text)
    assert (found["pneumonia"], found["no_finding"]) == wanted


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "['a'", "{'a': 1}", "7"])
def test_a_cell_is_read_as_a_literal_never_run(text):
    assert padchest.labels(text) is None


@pytest.mark.parametrize("text", ["['exclude']", "[]", "", "nan", "['unchanged']"])
def test_cells_that_say_nothing(text):
    assert padchest.labels(text) == {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("['neumonia']", (-1, -1)),
        ("['bronchopneumonia']", (-1, -1)),
        ("['atypical pnuemonia']", (-1, -1)),
        ("['nornal']", (-1, -1)),
        ("['pneumonia', 'nornal']", (1, 0)),
        ("['pneumothorax', 'pneumonitis']", (0, 0)),
    ],
)
def test_a_misspelt_finding_makes_no_negative(text, wanted):
    found = padchest.labels(text)
    assert (found["pneumonia"], found["no_finding"]) == wanted


def test_a_misspelt_finding_is_named(tmp_path):
    trees.padchest(tmp_path)
    table = tmp_path / padchest.TABLE
    table.write_text(table.read_text().replace("['normal']", "['normall']"))
    problems = padchest.build(tmp_path).problems
    assert [p.kind for p in problems] == ["bad value", "not a radiograph"]
    assert "misspelt" in problems[0].detail
