"""The study and demo commands, up to the training."""

import json
import textwrap

import pytest

from covid_cxr.__main__ import main
from covid_cxr.commands import demo, study
from covid_cxr.experiments import study_phantom, study_real
from covid_cxr.study import cells, read
from covid_cxr.study.config import check
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


def test_the_example_in_the_help_is_a_study(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    assert "[sets.hospital]" in capsys.readouterr().out
    example = study._DESCRIPTION.split("A small one:")[1].split("All fields")[0]
    (tmp_path / "study.toml").write_text(textwrap.dedent(example))
    config = read(tmp_path / "study.toml")
    assert len(cells(config)) == 4 and config.bias
    assert config.segmenter == str(tmp_path / "lungs")


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    file = tmp_path / "study.json"
    file.write_text(json.dumps(STUDY))
    given = ["study", str(file), "--run-dir", str(tmp_path / "out"), "--report-only"]
    assert main(given) == 2
    assert "no finished cell" in capsys.readouterr().err
    assert main(["study", str(tmp_path / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err
