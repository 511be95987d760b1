"""The command line: options, the printed report, one-line errors, interruption."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest

from pruning import __main__ as cli
from pruning.gradual import command
from pruning.gradual.config import Config, check
from pruning.gradual.outcome import Point, Result
from synaptax import runs
from synaptax.runs.checkpoints import CheckpointError
from synaptax.training.errors import NonFiniteError


def words_of(text):
    return text.split()


TINY = words_of(
    "--limit 100 --batch 50 --dense-epochs 8 --prune-epochs 16 --tune-epochs 2 "
    "--patience 1 --tolerance 1 --accept 1 --method l2 --rate 1e-3"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run in an empty folder, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Replace the training by a note of what it was asked for."""
    calls = []

    def fit(config, run_dir, *, resume, quiet):
        may_differ = ("data_dir", "checkpoint_every")
        folder = runs.create(run_dir, config, resume=resume, ignore=may_differ)
        calls.append((config, folder.path, resume))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "fit", fit)
    return calls


def one_line(capsys):
    """Return the last and only line of the error output that is an error."""
    out = capsys.readouterr()
    lines = out.err.splitlines()
    assert "Traceback" not in out.err and lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


# --- options ----------------------------------------------------------------------


def test_help_names_every_option_and_fits_the_terminal(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    names = [field.name for field in dataclasses.fields(Config)]
    for name in [*names, "run_dir", "resume", "quiet"]:
        assert re.search(rf"--(no-)?{name.replace('_', '-')}\b", said)
    assert "--config" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert "such as 0 1 2" in said
    assert "(default: 300)" in said  # of digits
    assert "Do not subtract the mean pixel" in said


def test_help_shows_the_defaults_of_the_data_set(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--dataset", "mnist", "--help"])
    said = capsys.readouterr().out
    assert re.search(r"--prune-epochs INT .*\(default: 100\)", said)


@pytest.mark.parametrize("dataset", ["digits", "mnist", "fashion_mnist"])
def test_the_defaults_of_each_data_set(dataset):
    config = command.defaults(dataset)
    assert config.dataset == dataset
    if dataset == "digits":
        check(config)
    else:
        assert config == Config(dataset=dataset)


def test_no_argument_is_the_main_job_on_digits(asked, here):
    assert cli.main([]) == 130
    assert cli.main(["prune"]) == 130
    name = "digits-lenet300-sensitivity-unspecific"
    assert asked == [
        (command.defaults("digits"), here / "runs" / f"{name}-1", False),
        (command.defaults("digits"), here / "runs" / f"{name}-2", False),
    ]


def test_options_change_the_config_field_by_field(asked, here):
    words = "--dataset=mnist --method loss-sensitivity --seeds 3 1 4 --rate 1e-5"
    words += " --targets 10 27.5 --run_dir here --patience 2 --tune-lr 0.5 --limit 7"
    assert cli.main(words.split()) == 130
    expected = Config(
        dataset="mnist",
        method="loss-sensitivity",
        seeds=(3, 1, 4),
        rate=1e-5,
        targets=(10.0, 27.5),
        patience=2,
        tune_lr=0.5,
        limit=7,
    )
    assert asked == [(expected, here / "here", False)]


@pytest.mark.parametrize(
    "words, expected",
    [
        ("--method magic", "loss-sensitivity"),
        ("--rate much", "FLOAT"),
        ("--colour red", "--colour"),
    ],
)
def test_an_unknown_choice_shows_the_choices(asked, capsys, words, expected):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2 and asked == []
    said = capsys.readouterr().err
    assert words.split()[-1] in said and expected in said and "Traceback" not in said


@pytest.mark.parametrize(
    "words, expected",
    [
        ("dance", "unknown command 'dance', expected one of prune"),
        ("--dataset imagenet", "dataset: unknown 'imagenet'; known: digits, mnist"),
        ("--model resnet", "model: unknown 'resnet', expected one of lenet300, lenet5"),
        ("--model nowhere:net", "name: there is no 'nowhere:net': No module named"),
        ("--rate=-1", "rate: expected a finite number >= 0, got -1"),
        ("--method one-shot", "targets: one-shot pruning needs"),
        ("--model lenet5", "lenet5 needs images of 16x16 or more"),
        ("--limit 5", "batch: expected at most 5"),
        ("--run-dir file/x", "cannot write the run folder"),
        ("--run-dir other", "other already holds a run"),
        ("--run-dir other --resume --rate 9", "other holds a run with rate = 0.5"),
        ("--run-dir odd --resume", "odd/config.json: not the config of a run"),
        ("--run-dir broken --resume", "broken/config.json: not JSON"),
        ("--resume", "no unfinished run with these options under runs"),
        ("--dataset mnist --data-dir nowhere", "nowhere"),
    ],
)
def test_errors_are_one_line(here, capsys, words, expected):
    (here / "file").write_text("in the way")
    runs.create("other", dataclasses.replace(command.defaults("digits"), rate=0.5))
    for name, text in {"odd": '{"colour": "red"}', "broken": '{"rate": 1'}.items():
        (here / name).mkdir()
        (here / name / "config.json").write_text(text)
    assert cli.main(words.split()) == 2
    assert expected in one_line(capsys)


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError("cp/0001: fails its\nchecksum"),
        NonFiniteError("step 3 is not finite"),
        FileNotFoundError("mnist is not prepared"),
        PermissionError(13, "Permission denied"),
    ],
)
def test_every_error_of_a_run_is_one_line(monkeypatch, capsys, error):
    def fit(*args, **kwargs):
        raise error

    monkeypatch.setattr(command, "fit", fit)
    assert cli.main([]) == 2
    assert one_line(capsys) == "error: " + str(error).replace("\n", " ")


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys, asked):
    find = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "matplotlib" else find(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert cli.main([]) == 2 and asked == []
    assert one_line(capsys) == (
        "error: this needs matplotlib: pip install 'synaptax[lab]'"
    )


# --- interruption and resumption --------------------------------------------------


def test_interruption_says_how_to_go_on(asked, capsys, here):
    assert cli.main([*TINY, "--run-dir", "my run"]) == 130
    said = capsys.readouterr().err
    again = said.splitlines()[-1].strip()
    assert again == f"python -m pruning --resume --run-dir '{here / 'my run'}'"
    # The run's own options come back with it; a change is refused, by name.
    assert cli.main(["--resume", "--run-dir", "my run"]) == 130
    assert asked[0][:2] == asked[1][:2] and asked[1][2]
    assert asked[1][0].limit == 100
    assert cli.main(["--run-dir=my run", "--resume", "--batch", "7"]) == 2
    assert "holds a run with batch = 50, not 7" in one_line(capsys)


def test_a_line_with_flags_is_repeated_to_resume(asked, here):
    # As a scheduler that starts the same job again does.
    line = [*TINY, "--no-center", "--run-dir", "run"]
    assert cli.main(line) == 130
    assert cli.main([*line, "--resume"]) == 130
    assert asked[0][:2] == asked[1][:2] and asked[1][2]


def test_resume_takes_the_newest_unfinished_run_of_these_options(asked, here):
    for _ in range(3):
        cli.main([*TINY])
    cli.main([*TINY, "--seeds", "8"])
    for name in ("summary.json", "report.txt"):
        (here / "runs" / "digits-lenet300-l2-3" / name).write_text("{}")
    (here / "runs" / "foreign").mkdir()
    (here / "runs" / "foreign" / "config.json").write_text('{"rate": "fast"}')
    asked.clear()
    assert cli.main([*TINY, "--resume", "--checkpoint-every", "3"]) == 130
    assert asked[0][1:] == (here / "runs" / "digits-lenet300-l2-2", True)
    assert cli.main(["--resume"]) == 2
    # A run without its report is not finished; the summary is not the end of it.
    (here / "runs" / "digits-lenet300-l2-3" / "report.txt").unlink()
    asked.clear()
    assert cli.main([*TINY, "--resume"]) == 130
    assert asked[0][1] == here / "runs" / "digits-lenet300-l2-3"


@pytest.mark.parametrize("words", [[], ["psp"]])
def test_resume_never_begins_a_run(asked, capsys, here, words):
    (here / "thesis.txt").write_text("mine")
    assert cli.main([*words, "--resume", "--run-dir", str(here)]) == 2 and not asked
    assert f"{here}: no " in (said := one_line(capsys)) and "to go on with" in said
    assert [path.name for path in here.iterdir()] == ["thesis.txt"]


# --- the report -------------------------------------------------------------------


@pytest.mark.runs
def test_a_run_prints_its_report_and_draws_its_figures(here, capsys):
    assert cli.main([*TINY, "--seeds", "0", "5", "--targets", "1e6"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    folder = here / "runs" / "digits-lenet300-l2-1"
    results = json.loads((folder / "summary.json").read_text())["results"]
    points = [p for p in results["points"][2:] if p["target"] is None]
    rows = {
        cells[0]: cells[1:]
        for line in out.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│ ").split("│")]) > 3
    }
    kept = sum(p["kept"]["Dense_0/kernel"] for p in points) / 2
    assert 0 < kept < 19200
    assert rows["Dense_0/kernel"] == [
        "64x300",
        f"{kept:,.1f}",
        "19,200",
        f"{100 * kept / 19200:.2f} %",
        f"{19200 / kept:.1f}x",
    ]
    kept = sum(sum(p["kept"].values()) for p in points) / 2
    assert rows["all parameters"][1:3] == [f"{kept:,.1f}", "50,610"]
    assert rows["weights"][2] == "50,200"
    dense = [100 * p["test_error"] for p in results["points"][:2]]
    mean, spread = sum(dense) / 2, abs(dense[0] - dense[1]) / 2
    assert rows["dense"] == ["1.0x", rows["dense"][1], f"{mean:.2f} ± {spread:.2f} %"]
    assert rows["accepted"][0] == f"{50610 / kept:.1f}x"
    assert "reached by 2 of 2" in out and "wall time" in out and str(folder.name) in out
    assert (folder / "report.txt").read_text().startswith("leaf ")
    for name in ("frontier", "weights", "first-layer"):
        data = (folder / "figures" / f"{name}.png").read_bytes()
        assert data[:4] == b"\x89PNG" and len(data) < 300_000
    # A finished run that is taken up again says the same again.
    assert cli.main(["--resume", "--run-dir", str(folder)]) == 0
    again = capsys.readouterr().out
    assert again.split("wall time")[0] == out.split("wall time")[0]


def test_one_shot_shows_its_last_target():
    points = [
        Point(3, 1.0, True, 1.0, {"k": 8}, 0.1, 0.2),
        Point(3, 1.0, True, 1.0, {"k": 8}, 0.1, 0.2),
        Point(3, 4.0, True, 4.0, {"k": 2}, 0.3, 0.4),
    ]
    config = Config(method="one-shot", seeds=(3,), targets=(1.0, 4.0))
    result = Result(config, Path("run"), tuple(points), {"k": (8,)}, 1.0)
    assert command._shown(result) == points[2:]
    table = command._points(result)
    assert table.row_count == 3
    assert list(table.columns[0].cells) == ["dense", "target 1x", "target 4x"]
    assert list(table.columns[3].cells) == ["20.00 %", "20.00 %", "40.00 %"]


@pytest.mark.slow
def test_the_main_job_keeps_its_promise(here, capsys):
    assert cli.main([]) == 0
    (path,) = (here / "runs").glob("*/summary.json")
    dense, pruned = json.loads(path.read_text())["results"]["points"]
    assert pruned["compression"] >= 10
    assert pruned["test_error"] <= dense["test_error"] + 0.0101
    assert dense["test_error"] < 0.05
    capsys.readouterr()
