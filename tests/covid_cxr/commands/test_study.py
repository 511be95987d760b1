"""The study and demo commands, up to the training."""

import dataclasses
import json
import re

import pytest

from covid_cxr.__main__ import main
from covid_cxr.commands import demo
from covid_cxr.experiments import study_phantom, study_real
from covid_cxr.models import ModelConfig
from covid_cxr.sources.own import Columns, Label
from covid_cxr.study import StudyConfig, cells, read
from covid_cxr.study.config import Mix, Pretraining, SetConfig, check
from tests.covid_cxr import trees
from tests.covid_cxr.study.conftest import STUDY


def test_the_demonstration_is_a_study_with_its_probes_on():
    config = demo.config(60, 2, 48)
    check(config)
    assert config.bias and len(cells(config)) == 2
    assert config.sets["bordered"].phantom.shortcuts == {"border": 0.9}


def test_the_recorded_studies_are_studies(tmp_path):
    for config in (*study_real.configs(tmp_path).values(), study_phantom.networks()):
        check(config)
        assert len(config.seeds) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), (json.dumps({**STUDY, "epochs": 0}), "epochs: expected")],
)
def test_a_bad_file_is_one_line_and_exit_code_2(tmp_path, capsys, content, message):
    file = tmp_path / "study.json"
    file.write_text(content)
    assert main(["study", str(file), "--run-dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_the_example_is_a_study_and_has_every_option(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    assert "study --example" in capsys.readouterr().out
    assert main(["study", "--example"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "study.toml").write_text(text)
    config = read(tmp_path / "study.toml")
    assert len(cells(config)) == 1 and config.bias
    assert config.sets["mine"].table == str(tmp_path / "radiographs.csv")
    kinds = (StudyConfig, SetConfig, Columns, Label, ModelConfig, Pretraining, Mix)
    for kind in kinds:
        for field in dataclasses.fields(kind):
            assert re.search(rf"\b{field.name}\b", text), (kind, field.name)
    # The options of the study itself are its defaults.
    head, rest = text.split("# A set of your own", 1)
    head = re.sub(r"(?m)^# (?=(?!segmenter)[a-z_]+ = )", "", head)
    (tmp_path / "all.toml").write_text(f"{head}#{rest}")
    assert read(tmp_path / "all.toml") == config
    assert main(["study"]) == 2
    assert "--example prints one" in capsys.readouterr().err


def test_a_check_names_what_is_wrong_and_trains_nothing(tmp_path, capsys):
    trees.write(tmp_path / "a.png", trees.png(1))
    rows = ("image,patient,label", "a.png,1,1", "b.png,2,0")
    trees.write(tmp_path / "radiographs.csv", trees.lines(*rows))
    (tmp_path / "radiographs").mkdir()
    assert main(["study", "--example"]) == 0
    text = capsys.readouterr().out.replace('path = "radiographs" ', 'path = "." ')
    file = tmp_path / "study.toml"
    file.write_text(text)
    assert main(["study", str(file), "--check"]) == 1
    out = capsys.readouterr().out
    assert "missing: b.png" in out and "mine: 1 usable images of 1 patients" in out
    assert "covid 1, of them positive 1, view 0" in out
    assert not (tmp_path / "runs").exists()


def test_a_study_that_was_refused_may_be_mended_in_its_folder(tmp_path, capsys):
    for k in range(24):
        kind = "covid" if k % 2 else "normal"
        data = trees.encode(trees.picture(k))
        trees.write(tmp_path / "radiographs" / kind / f"{k // 4}_{k}.png", data)
    assert main(["study", "--example"]) == 0
    text = capsys.readouterr().out
    text = text.replace('table = "radiographs.csv"', 'source = "folders"')
    file, out = tmp_path / "study.toml", tmp_path / "out"
    file.write_text(text)
    given = ["study", str(file), "--quiet", "--run-dir", str(out)]
    assert main(given) == 2
    assert "whose patients are not known" in capsys.readouterr().err
    assert not (out / "config.json").exists()
    # Another refusal, of another config: the folder is nobody's yet.
    file.write_text(text.replace("# patients", 'patients = "_([0-9]+)"\n#'))
    for path in (tmp_path / "radiographs" / "covid").glob("[1-9]*"):
        path.unlink()  # the one that is left is in one part
    (tmp_path / "radiographs" / "covid" / "0_3.png").unlink()
    assert main(given) == 2
    error = capsys.readouterr().err
    assert "mixes.mine: expected both classes in its" in error
    assert not (out / "config.json").exists()


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    file = tmp_path / "study.json"
    file.write_text(json.dumps(STUDY))
    given = ["study", str(file), "--run-dir", str(tmp_path / "out"), "--report-only"]
    assert main(given) == 2
    assert "no finished cell" in capsys.readouterr().err
    assert main(["study", str(tmp_path / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err
