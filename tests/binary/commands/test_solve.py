"""``python -m binary`` and its command ``solve``, at small size."""

import json

import numpy as np
import pytest

from binary import __main__ as program
from binary.commands import solve

pytestmark = pytest.mark.runs

SMALL = ("--size", "61", "--load", "0.3", "--epochs", "60", "--methods", "free")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run: its exit code and folder."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return program.main([*SMALL, "--run-dir", str(folder)]), folder


def test_a_run_is_reported_and_kept(done):
    code, folder = done
    assert code == 0
    names = {path.name for path in folder.iterdir()}
    files = {"config.json", "summary.json", "course.png", "weights-free.npy"}
    assert names - {".lock"} == files
    result = json.loads((folder / "summary.json").read_text())["results"]["free"]
    weights = np.load(folder / "weights-free.npy")
    assert set(np.unique(weights)) == {-1, 1} and weights.shape == (61,)
    assert result["solved"] == (result["recount"]["errors"] == 0)
    assert result["recount"]["patterns"] == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "60"], "size: 60 is even"),
        (["--load", "0"], "load: 0.0 at size 1001 leaves no pattern"),
        (["--teacher", "--margin", "0.5"], "margin: a teacher has none"),
        (["--rate", "-1", "--size", "61"], "rate: expected a number > 0"),
        (["--epochs", "0", "--size", "61"], "epochs: expected at least 1"),
        (["--margin", "nan", "--size", "61"], "margin: expected a finite number >= 0"),
        (["--methods"], "methods: expected at least one"),
        (["unheard-of"], "unknown command 'unheard-of', expected one of solve"),
        (["success", "--methods", "magic"], "methods: unknown 'magic'"),
        (["success", "--chunk", "0"], "chunk: expected at least 1"),
        (["success", "--loads", "0.5", "0"], "load: expected a finite load > 0"),
        (["success", "--size", "60"], "size: 60 is even"),
        (["success", "--resume"], "resume: name the folder"),
        (["success", "--loads"], "methods, loads: expected at least one"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert program.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_finished_folder_is_not_overwritten(done, capsys):
    _, folder = done
    assert program.main([*SMALL, "--run-dir", str(folder)]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(monkeypatch, capsys):
    def interrupted(given, prog):
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "main", interrupted)
    assert program.main([]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_names_the_options(capsys):
    for command in ("solve", "success"):
        with pytest.raises(SystemExit) as stopped:
            program.main([command, "--help"])
        assert stopped.value.code == 0
        assert "--size" in capsys.readouterr().out
