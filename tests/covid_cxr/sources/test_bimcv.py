"""BIMCV-COVID19: tags beside films, names that mislead, shared patients."""

import json
import traceback

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.images import ImageError
from covid_cxr.sources import bimcv
from tests.covid_cxr import trees
from tests.covid_cxr.trees import lines, write

FILM = "sub-S1/ses-E1/mod-rx/sub-S1_ses-E1_run-1_bp-chest_vp-pa_dx"


def test_a_release(tmp_path):
    index, problems = sources.build(trees.bimcv(tmp_path))
    assert index.source.tolist() == ["bimcv_pos"] * 2
    assert index.labels["covid"].tolist() == [1, 1]
    # The second session's report says "unchanged".
    assert index.labels["pneumonia"].tolist() == [1, 1]
    assert index.view.tolist() == ["PA", "AP"]
    assert problems.counts() == {"grouping": 1, "not a radiograph": 1}


def test_the_negative_release(tmp_path):
    trees.bimcv(tmp_path, "labels_SARS-cov-2_nega.tsv")
    index, _ = sources.build(tmp_path)
    assert index.source.tolist() == ["bimcv_neg"] * 2
    assert index.labels["covid"].tolist() == [0, 0]


def test_patients_of_both_releases_have_one_name(tmp_path):
    positive = trees.bimcv(tmp_path / "bimcv+")
    negative = trees.bimcv(tmp_path / "bimcv-", "labels_SARS-cov-2_nega.tsv")
    header = "\tneg\tpos"
    write(tmp_path / "listjoin_ok.tsv", lines(header, "0\tsub-S1\tsub-S9"))
    here, there = (sources.build(root).index for root in (positive, negative))
    assert here.patient.tolist() == ["bimcv/sub-S1"] * 2
    assert there.patient.tolist() == ["bimcv/sub-S9"] * 2
    assert here.flag("matched").all() and there.flag("matched").all()


def test_the_tags_know_better_than_the_name(tmp_path):
    trees.bimcv(tmp_path)
    trees.bimcv_film(tmp_path, "sub-S1", "ses-E1", **{"00185101": "LL"})
    index, problems = sources.build(tmp_path)
    assert len(index) == 1
    assert problems.counts()["bad value"] == 1
    trees.bimcv_film(tmp_path, "sub-S1", "ses-E1", **{"0008103E": "Torax Lat."})
    assert len(sources.build(tmp_path).index) == 1


def test_a_film_without_tags_is_kept_and_named(tmp_path):
    trees.bimcv(tmp_path)
    (tmp_path / f"{FILM}.json").unlink()
    index, problems = sources.build(tmp_path)
    assert index.flag("no_json").tolist() == [True, False]
    assert ("missing", f"{FILM}.json") in [(p.kind, p.path) for p in problems]


def test_window_and_way_up_of_grey(tmp_path):
    trees.bimcv(tmp_path)
    index, _ = sources.build(tmp_path)
    stored = trees.picture(11).astype(float) * 16
    film = sources.read(index, 0)
    np.testing.assert_allclose(film.pixels, stored / 4095, atol=1e-5)
    side = tmp_path / f"{FILM}.json"
    tags = json.loads(side.read_text())
    tags |= {"00280004": {"Value": ["MONOCHROME1"]}}
    tags |= {"00281050": {"Value": [2000, 1]}, "00281051": {"Value": [1001, 1]}}
    side.write_text(json.dumps(tags))
    film = sources.read(index, 0)
    wanted = 1 - np.clip((stored - 1999.5) / 1000 + 0.5, 0, 1)
    np.testing.assert_allclose(film.pixels, wanted, atol=1e-5)
    assert film.flags == {"inverted", "windowed"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("['pneumonia'\t 'infiltrates']", {"pneumonia": 1, "no_finding": 0}),
        ("[normal]", {"pneumonia": 0, "no_finding": 1}),
        ("[normal, unchanged]", {"pneumonia": 0, "no_finding": 1}),
        ("['unchanged']", {"unchanged": 1}),
        ("[]", {}),
        ("pneumonia", None),
    ],
)
def test_label_cells(text, wanted):
    assert bimcv.labels(text) == wanted


def test_unchanged_with_nothing_before(tmp_path):
    trees.bimcv(tmp_path)
    path = tmp_path / "derivatives" / "labels" / "labels_covid19_posi.tsv"
    path.write_text(path.read_text().replace("'normal'", "unchanged"))
    _, problems = sources.build(tmp_path, lateral=True)
    assert [p.detail for p in problems if p.kind == "unlabelled"] == [
        "'unchanged', and nothing before",
        "no report says what is in it",
    ]


@pytest.mark.parametrize("text", ["['neumonia']", "[pneumonias]", "['normla']"])
def test_a_misspelt_finding_makes_no_negative(text):
    assert bimcv.labels(text) == {"pneumonia": -1, "no_finding": -1}


@pytest.mark.parametrize("tag", ["00281050", "00281051", "00280101"])
@pytest.mark.parametrize("value", ["Doe^Jane", float("nan"), 1e400, -70, [[1]]])
def test_odd_tags_give_pixels_or_an_error_that_repeats_nothing(tmp_path, tag, value):
    base = {"00281050": 2000, "00281051": 3000}
    path = trees.bimcv_film(tmp_path, "sub-S1", "ses-E1", **(base | {tag: value}))
    try:
        pixels = bimcv.read_radiograph(path).pixels
    except ImageError as error:
        assert "Jane" not in "".join(traceback.format_exception(error))
    else:
        assert np.isfinite(pixels).all() and 0 <= pixels.min() <= pixels.max() <= 1
