"""RESULTS.md's sections on shortcuts, from records."""

import pytest

from covid_cxr.experiments import _results_study as results
from covid_cxr.metrics import Estimate
from synaptax.runs import jsonable, write_json


def probe(name, value, fires):
    found = Estimate(value, value - 0.1, value + 0.1)
    return jsonable({"name": name, "found": found, "fires": fires})


PHANTOM = jsonable(
    {
        "command": "python -m x",
        "films": 9,
        "side": 48,
        "strength": 0.9,
        "shortcuts": {
            "border": {
                "linear": {
                    kind: {"home": Estimate(0.9), "away": Estimate(0.1)}
                    for kind in ("whole", "masked")
                },
                "probes": [probe("linear, border only", 0.9, True)],
            },
            "hospital": {"probes": [probe("metadata only", 0.5, False)]},
        },
        "networks": [],
    }
)
REAL = jsonable(
    {
        "command": "python -m y",
        "seeds": [0, 1],
        "side": 64,
        "width": 8,
        "epochs": 10,
        "studies": {
            "covid": {
                "rows": [
                    {
                        "mix": "m",
                        "test": "own",
                        "films": 7,
                        "positives": 3,
                        "auc": Estimate(0.8, 0.7, 0.9),
                        "specificity": Estimate(float("nan"), note="one class"),
                        "seeds": [0.8, 0.7],
                    }
                ],
                "records": {
                    "data~m~none": {"probes": [probe("metadata only", 0.7, True)]},
                    "r~none~m~none": {"probes": [probe("gain", 0.6, False)]},
                },
                "missing": ["r~none~n~none"],
            }
        },
    }
)


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path)
    return tmp_path


def test_nothing_recorded_is_nothing_said(records):
    assert results.sections() == []


def test_tables_and_what_is_missing(records):
    write_json(records / "study_phantom.json", PHANTOM)
    write_json(records / "study_real.json", REAL)
    text = "\n".join(results.sections())
    assert "| border | 0.90 | 0.10 | 0.90 | 0.10 | linear, border only |" in text
    assert "| hospital | - | - | - | - | none |" in text
    assert "not recorded yet" in text
    assert "| m | own | 7 (3) | 0.80 (0.70 to 0.90) | undefined (one class) |" in text
    assert "| m | metadata only | 0.70 (0.60 to 0.80) | yes |" in text
    assert "covid: r, none, n, none; pneumonia: all of it" in text


def test_networks_of_full_width_stand_beside_the_narrow_ones(records):
    rows = [
        {**REAL["studies"]["covid"]["rows"][0], "mix": "covid-v-nih", "test": test}
        for test in ("own", "collection")
    ]
    study = {**REAL["studies"]["covid"], "rows": rows, "missing": []}
    narrow = {**REAL, "studies": {"covid": study}}
    wide = [
        {**row, "auc": jsonable(Estimate(area, area - 0.05, area + 0.05))}
        for row, area in zip(rows, (0.9, 0.6), strict=True)
    ]
    border = probe("network, border only", 0.7, True)
    cells = {"r~none~covid-v-nih~none": {"probes": [border], "core_s": 1800.0}}
    full = {
        **narrow,
        "command": "python -m z",
        "width": 64,
        "device": {"cores": 1, "kind": "cpu"},
        "studies": {"covid": {**study, "rows": wide, "records": cells}},
    }
    write_json(records / "study_real.json", jsonable(narrow))
    write_json(records / "study_real_full.json", jsonable(full))
    text = "\n".join(results.sections())
    line = "| covid | covid-v-nih | own | 0.80 (0.70 to 0.90) | 0.90 (0.85 to 0.95) |"
    assert line in text
    assert "width 64 from random weights" in text
    assert "0.5 core-hours of 1 cpu core" in text
    assert "with an area of 0.90 (0.85 to 0.95) tell it from" in text
    assert "the border they still tell it with 0.70 (0.60 to 0.80)" in text
    assert text.rstrip().endswith("`python -m z`")


def test_networks_on_synthetic_films():
    row = {"mix": "border", "films": "masked", "test": "own", "auc": Estimate(0.9)}
    given = {**PHANTOM, "networks": [jsonable(row)]}
    text = "\n".join(results.phantom(given))
    assert "| border | masked | own | 0.90 |" in text
    assert "carries the border" not in text
    away = [
        {"mix": mix, "films": films, "test": f"away-{mix}", "auc": Estimate(area)}
        for mix, films, area in (
            ("border", "none", 0.11),
            ("border", "masked", 0.36),
            ("border", "lungs", 0.95),
            ("intensity", "none", 0.04),
            ("intensity", "masked", 0.97),
            ("intensity", "lungs", 0.05),
        )
    ]
    text = "\n".join(results.phantom({**given, "networks": jsonable(away)}))
    assert "is 0.11 with whole radiographs and 0.95 with the lungs alone" in text
    assert "equalise and then mask, it is 0.36" in text
    assert "is 0.04 with whole radiographs and 0.05 with the lungs alone" in text


def test_lungs_alone_on_real_films():
    row = {**REAL["studies"]["covid"]["rows"][0], "mix": "n"}
    cut = {
        "sets": {"nih": {"segmented": 90, "abstained": 10}},
        "rows": [row],
        "records": {},
        "missing": [],
    }
    studies = {**REAL["studies"], "covid, lungs alone": cut}
    assert "has not been taken away" in "\n".join(results.real(REAL))
    text = "\n".join(results.real({**REAL, "studies": studies}))
    assert "the areas are n 0.80 (0.70 to 0.90)" in text
    assert "abstained on 10 of 100 (nih)" in text
    assert "has not been taken away" not in text


def test_what_pretraining_changes():
    def study(area, moved):
        row = {**REAL["studies"]["covid"]["rows"][0], "mix": "covid-v-nih"}
        transfer = {"nih": {"auc": Estimate(moved)}}
        return jsonable(
            {
                "rows": [{**row, "auc": Estimate(area)}],
                "records": {"r~p~covid-v-nih~none": {"transfer": transfer}},
            }
        )

    studies = {"covid": study(0.97, 0.55), "covid, pre-trained": study(0.95, 0.69)}
    text = results._pretrained(studies)
    assert "the area is 0.95 instead of 0.97" in text
    assert "with an area of 0.69 instead of 0.55" in text
    assert results._pretrained({"covid": studies["covid"]}) == ""
