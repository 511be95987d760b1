"""What the record on synthetic films claims is what its figures say."""

import copy

import pytest

from covid_cxr.experiments import RECORDED, study_phantom
from synaptax.runs import read_json


@pytest.fixture(scope="module")
def record():
    return read_json(RECORDED / "study_phantom.json")


def test_the_recorded_claims_are_not_stale(record):
    assert study_phantom.claims(record) == record["claims"]


def test_claims_follow_the_figures(record):
    changed = copy.deepcopy(record)
    changed["shortcuts"]["none"]["probes"][0]["fires"] = True
    changed["shortcuts"]["border"]["linear"]["masked"]["away"] |= {"low": 0.4}
    for row in changed["networks"]:
        if (row["mix"], row["films"]) == ("intensity", "lungs"):
            row["auc"] |= {"high": 0.6}
    before, after = record["claims"], study_phantom.claims(changed)
    assert {name for name in before if before[name] and not after[name]} == {
        "off, no probe fires",
        "linear, masking removes the border",
        "network, the lungs alone: the exposure stays",
    }


def test_networks_are_claimed_only_where_they_are_recorded(record):
    short = study_phantom.claims({**record, "networks": []})
    assert not any(name.startswith("network") for name in short)
    assert len(short) == 5
