"""CORDA: folders named by labels, then hospitals whose numbers repeat."""

import math

import pytest

from covid_cxr import sources
from tests.covid_cxr import trees


def test_the_papers_era(tmp_path):
    index, problems = sources.build(trees.corda_paper(tmp_path))
    assert index.path.tolist() == [
        "RX+-COVID+/1.png",
        "RX--COVID-/2.png",
        "RX--COVID+/3.png",
    ]
    assert index.labels["covid"].tolist() == [1, 0, 1]
    # COVID-19 with a film read as clear: the hard stratum.
    assert index.labels["rx"].tolist() == [1, 0, 0]
    assert index.flag("ungrouped").all()
    assert problems.counts() == {"grouping": 1}


def test_the_public_era(tmp_path):
    index, problems = sources.build(trees.corda_public(tmp_path))
    # Number 20 is two people.
    assert index.patient.tolist() == [
        "corda/mauriziano/20",
        "corda/sanluigi/20",
        "corda/monzino/21",
    ]
    assert index.site.tolist() == ["mauriziano", "sanluigi", "monzino"]
    assert index.labels["rx"].tolist() == [1, 0, -1]
    assert math.isnan(index.age[1])  # 1823
    assert problems.counts() == {"bad value": 1}
    # A film is a DICOM file without a suffix, or else the largest picture.
    assert index.path.tolist()[:2] == [
        "mauriziano/CORDA_M_20",
        "256x256/sanluigi/CORDA_S_20.png",
    ]
    assert sources.read(index, 0).pixels.shape == (48, 40)


def test_both_eras_in_one_folder(tmp_path):
    trees.corda_paper(tmp_path)
    trees.corda_public(tmp_path)
    with pytest.raises(ValueError, match=r"both CORDA_fix\.csv and corda\.csv"):
        sources.build(tmp_path)
