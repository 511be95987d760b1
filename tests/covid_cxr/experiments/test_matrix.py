"""The matrix and the repairs: what is run, what is kept, and what is said of it."""

import argparse

import pytest

from covid_cxr.experiments import _results_matrix as results
from covid_cxr.experiments import _studies, matrix, repairs
from covid_cxr.metrics import Estimate
from covid_cxr.study import cells
from covid_cxr.study.choices import CHOICES
from synaptax.runs import jsonable, write_json
from tests.covid_cxr import trees


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Return options of both experiments, of folders with a few files."""
    root = tmp_path_factory.mktemp("data")
    rows, home = [], root / "covid_chestxray"
    for k, url in enumerate(("https://radiopaedia.org/1", "https://x.org", "")):
        name = f"c{k}.png"
        row = trees.modern_row(patientid=f"{k}", filename=name, url=url)
        rows.append(row)
        trees.write(home / "images" / name, trees.png(k))
    trees.write(home / "metadata.csv", trees.lines(trees.MODERN, *rows))
    nih = root / "nih_pneumonia"
    lines = []
    for k, finding in enumerate(("No Finding", "Pneumonia", "Edema|Pneumonia")):
        name = f"{k + 1:08d}_000.png"
        lines.append(f"{name},{finding},0,{k + 1},57,M,PA,2682,2749,0.143,0.143")
        trees.write(nih / "images" / name, trees.png(9 + k))
    table = trees.lines(trees.V2020, *lines)
    trees.write(nih / "Data_Entry_2017_v2020.csv", table)
    (root / "run" / "sets" / "children").mkdir(parents=True)
    return argparse.Namespace(
        data=root,
        run_dir=root / "run",
        width=8,
        side=64,
        epochs=2,
        first_epochs=1,
        seeds=[0, 1],
        segmenter=root / "net",
        all=True,
        first_seeds=1,
    )


def test_the_sets_of_the_matrix_are_by_publisher(options):
    studies = matrix.studies(options)
    mixes = [cell.mix for one in studies.values() for cell in cells(one)]
    assert set(mixes) == set(matrix.MIXES) and len(mixes) >= 15
    tables = [options.run_dir / "sets" / f"{n}.csv" for n in ("target", "second")]
    assert [text.read_text().count("images/") for text in tables] == [1, 2]
    assert "images/c0.png" in tables[0].read_text()


def test_each_repair_is_a_study_of_its_own(options):
    studies = repairs.studies(options)
    for name in repairs.SINGLE:
        one = studies[name]
        assert [c for c in CHOICES if c != "channel" and not one.keeps(c)] == [name]
    assert not studies[repairs.AS_PUBLISHED].repairs
    assert studies["order"].preprocessing == ("masked", "lungs-equalised")
    text = (options.run_dir / "tables" / "nih.csv").read_text()
    assert [line.split(",")[-3:] for line in text.split()[1:]] == [
        ["0", "0", "0"],
        ["1", "1", "0"],
        ["1", "0", "1"],
    ]


def test_a_command_has_the_options_that_are_not_the_defaults():
    defaults = {"side": 64, "seeds": [0, 1], "first_epochs": 3, "segmenter": None}
    given = {**defaults, "seeds": [4, 2], "first_epochs": 9}
    assert _studies._other(defaults, given) == " --seeds 4 2 --first-epochs 9"


def row(mix, test, area, **more):
    band = jsonable(Estimate(area, area - 0.05, area + 0.05))
    keys = (*_studies.RATES, "miss_rate")
    return {
        "encoder": "resnet18",
        "pretraining": "none",
        "mix": mix,
        "preprocessing": "none",
        "test": test,
        "seeds": [area],
        "radiographs": 9,
        "positives": 4,
        **dict.fromkeys(keys, band),
        **more,
    }


def record(rows, **studies):
    return {
        "command": "python -m x",
        "seeds": [0],
        "side": 64,
        "width": 8,
        "epochs": 2,
        "first_epochs": 1,
        "first_seeds": 1,
        "device": {"kind": "cpu"},
        "studies": {
            "one": {"rows": rows, "core_s": 120.0, "missing": ["a"]},
            **studies,
        },
    }


def test_warnings_are_judged_by_their_intervals(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path)
    assert results.sections() == []
    rows = [
        row("target", "own", 0.6),
        row("target+nih", "own", 0.9),
        row("target+nih", "target", 0.85),
        row("target", "second", 0.7),
    ]
    write_json(tmp_path / "matrix.json", record(rows))
    text = "\n".join(results.sections())
    assert (
        "0.60 (0.55 to 0.65) without and 0.90 (0.85 to 0.95) with them: borne" in text
    )
    assert "(with NIH): in the direction only, the intervals overlap" in text
    assert "0.60 (0.55 to 0.65) at home: not borne out" in text
    assert "both; second; a of one." in text
    assert "children make" not in text and "2 core-minutes" in text
    assert results.figure().axes[0].get_title() == "own test part: AUC"


def test_repairs_stand_beside_their_evidence(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path)
    one = {"rows": [row("target", "own", 0.5)], "core_s": 1.0}
    other = {"rows": [row("target", "own", 0.7)], "core_s": 1.0}
    parts = {"as published": one, "threshold": one, "split": other}
    write_json(tmp_path / "repairs.json", record([], **parts))
    text = "\n".join(results.sections())
    assert "| threshold | one half | READ in the released code |" in text
    assert "| threshold | 0.50 (0.45 to 0.55) |" in text
    moved = "split, AUC on target: 0.70 (0.65 to 0.75) for 0.50 (0.45 to 0.55)"
    assert moved in text and "threshold, AUC" not in text
