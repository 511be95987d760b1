"""Known overlaps, as data."""

import pytest

from covid_cxr import sources
from covid_cxr.overlaps import KNOWN, between, person


@pytest.mark.parametrize(
    ("source", "patient", "wanted"),
    [
        ("covid_chestxray", "97", "covid_chestxray/97"),
        ("covid_chestxray", "178", "covid_chestxray/97"),
        ("covid_chestxray", "331a", "covid_chestxray/331"),
        ("covid_chestxray", "331", "covid_chestxray/331"),
        ("covid_chestxray", "a331", "covid_chestxray/a331"),
        ("nih", "178", "nih/178"),
        ("nih", "331a", "nih/331a"),
    ],
)
def test_people(source, patient, wanted):
    assert person(source, patient) == wanted


def test_pairs_are_found_either_way_round():
    assert between(["nih"], ["rsna"]) == between(["rsna"], ["nih"])
    assert [known.relation for known in between(["rsna"], ["nih"])] == ["subset"]
    assert between(["nih"], ["nih", "kermany"]) == ()


def test_the_table_names_our_sources_as_we_do():
    others = {"covidx", "tbx11k", "covid_radiography", "pneumonia_mnist"}
    named = {name for known in KNOWN for name in (known.first, known.second)}
    assert named - others <= set(sources.SOURCES)
    assert all(known.note for known in KNOWN)
