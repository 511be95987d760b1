"""NIH ChestX-ray14: the comma in the names, RGBA films, old ages, the reduced form."""

import math

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.sources import nih
from tests.covid_cxr import trees
from tests.covid_cxr.trees import V2020, lines, write


def test_the_full_release(tmp_path):
    index, problems = sources.build(trees.nih(tmp_path))
    assert problems == []
    assert index.patient.tolist() == ["nih/1", "nih/1", "nih/2"]
    assert index.view.tolist() == ["PA", "AP", "PA"]
    assert index.labels["pneumonia"].tolist() == [1, 0, 0]
    assert index.labels["cardiomegaly"].tolist() == [1, 0, 0]
    assert index.labels["no_finding"].tolist() == [0, 1, 1]
    assert index.labels["covid"].tolist() == [0, 0, 0]
    # "OriginalImage[Width,Height]" is two columns to a reader.
    assert index.width.tolist() == [2682, 2500, 2500]
    assert index.height.tolist() == [2749, 2048, 2048]
    # The third film's pixels are not square.
    assert index.spacing[0] == np.float32(0.143) and math.isnan(index.spacing[2])
    assert index.flag("official_test").tolist() == [False, False, True]
    assert index.flag("child").tolist() == [False, False, True]


def test_the_reduced_release(tmp_path):
    index, problems = sources.build(trees.nih_reduced(tmp_path))
    assert problems == []
    assert index.source.tolist() == ["nih", "nih"]
    assert index.labels["pneumonia"].tolist() == [0, 1]
    assert sources.read(index, 0).pixels.shape == (48, 40)


def test_the_2017_table_has_ages_in_days_or_beyond_belief(tmp_path):
    rows = ("00000001_000.png,No Finding,0,1,414,M,PA,1,1,0.1,0.1,",)
    write(tmp_path / "Data_Entry_2017.csv", lines(V2020 + ",", *rows))
    write(tmp_path / "images" / "00000001_000.png", trees.png())
    index, problems = sources.build(tmp_path)
    assert math.isnan(index.age[0])
    assert problems.counts() == {"bad value": 1}
    write(
        tmp_path / "Data_Entry_2017.csv", lines(V2020 + ",", rows[0].replace("414", ""))
    )
    assert sources.build(tmp_path).problems == []


def test_films_in_numbered_folders(tmp_path):
    trees.nih(tmp_path)
    (tmp_path / "images_002").mkdir()
    (tmp_path / "images").rename(tmp_path / "images_002" / "images")
    index, problems = sources.build(tmp_path)
    assert problems == []
    assert index.path[0] == "images_002/images/00000001_000.png"


@pytest.mark.parametrize("channels", ["RGB", "RGBA"])
def test_some_films_are_colour(tmp_path, channels):
    trees.nih(tmp_path)
    grey = trees.picture(1)
    layers = [grey] * 3 + [np.full_like(grey, 255)] * (channels == "RGBA")
    path = tmp_path / "images" / "00000001_001.png"
    write(path, trees.encode(np.stack(layers, -1)))
    index, _ = sources.build(tmp_path)
    film = sources.read(index, 1)
    np.testing.assert_array_equal(film.pixels, grey / np.float32(255))
    assert film.flags >= {"rgb"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Pneumonia|No Finding", "'No Finding' beside a finding"),
        ("Pneumonitis", "unknown finding 'Pneumonitis'"),
        ("", "no finding named"),
    ],
)
def test_labels_that_cannot_be(text, wrong):
    found = nih.labels(text)
    assert isinstance(found, str) and wrong in found


def test_boxes_of_a_malformed_header(tmp_path):
    found = nih.boxes(trees.nih(tmp_path))
    # The table spells Infiltration otherwise.
    assert found == {
        "00000001_000.png": [nih.Box("Infiltration", 10.5, 20.0, 30.0, 40.0)]
    }
