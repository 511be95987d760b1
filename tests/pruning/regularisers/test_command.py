"""The command ``psp``: options, report, figures, one-line errors, interruption."""

import json
from pathlib import Path

import pytest

from pruning import __main__ as cli
from pruning.regularisers import command, train

TINY = "psp --model lenet300 --methods none psp --seeds 0 1 --epochs 2 --batch 200"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run in an empty folder, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def trained(config, path, *, resume, quiet):
    """Stand in for the training: a folder, and a made-up cell for each seed."""
    Path(path).mkdir(parents=True, exist_ok=True)
    curve = [0.3, 0.2]
    return [
        {
            "method": config.method,
            "seed": seed,
            "test_error": 0.2,
            "test_loss": 0.5 + seed,
            "penalty": 3.0,
            "mean_squares": {"relu_0": 2.0, "logits": 4.0},
            "curves": {
                "watched": "test",
                "error": curve,
                "epochs": [1, 2],
                "loss": curve,
                "mean_squares": {"relu_0": [1.0, 2.0], "logits": [3.0, 4.0]},
            },
            "weights": {"name": "w", "first": 0, "width": 0.0025, "counts": [1, 2]},
        }
        for seed in config.seeds
    ]


def test_it_compares_reports_draws_and_resumes(here, capsys, monkeypatch):
    asked = []

    def stop_before_psp(config, path, *, resume, quiet):
        asked.append((config.method, path.name, resume))
        if config.method == "psp":
            raise KeyboardInterrupt
        return trained(config, path, resume=resume, quiet=quiet)

    monkeypatch.setattr(train, "train", stop_before_psp)
    assert cli.main(TINY.split()) == 130
    assert asked == [("none", "none", False), ("psp", "psp", False)]
    error = capsys.readouterr().err
    assert "python -m pruning psp --resume --run-dir" in error
    monkeypatch.setattr(train, "train", trained)
    assert cli.main([*TINY.split(), "--resume"]) == 0
    out = capsys.readouterr().out
    folder = here / "runs" / "psp-digits-lenet300-1"
    spread = "1.0000 ± 0.7071"  # test loss 0.5 and 1.5
    for word in ("none", "psp", spread, "mean z²", "logits", "wall time"):
        assert word in out
    summary = json.loads((folder / "summary.json").read_text())
    cells = summary["results"]["cells"]
    assert [(c["method"], c["seed"]) for c in cells] == [
        ("none", 0),
        ("none", 1),
        ("psp", 0),
        ("psp", 1),
    ]
    for name in ("curves", "layers", "weights"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 1000
    # Finished: there is nothing to resume by options; by name it only reports again.
    assert cli.main([*TINY.split(), "--resume"]) == 2
    assert "no unfinished comparison" in capsys.readouterr().err
    assert cli.main(["psp", "--resume", "--run-dir", str(folder)]) == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--methods none none", "methods: expected one or more, all different"),
        ("--methods", "methods: expected one or more"),
        ("--gamma -1", "gamma: expected a finite number >= 0"),
        ("--model lenet300 --methods dropout", "lenet300 has no dropout"),
        ("--resume", "no unfinished comparison"),
        ("--dataset mnist --data-dir nowhere", "nowhere"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(words, text, capsys):
    assert cli.main(["psp", *words.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ") and text in lines[-1]


def test_a_folder_of_something_else_is_named(here, capsys):
    (here / "config.json").write_text('{"alpha": 1}')
    assert cli.main(["psp", "--resume", "--run-dir", str(here)]) == 2
    assert "not the config of a comparison" in capsys.readouterr().err


def test_the_defaults_of_a_data_set_are_the_authors():
    for name, epochs in (("mnist", 50), ("fashion_mnist", 150)):
        job = command.defaults(name)
        assert (job.dataset, job.epochs, job.lr, job.momentum) == (name, epochs, 0.1, 0)
    assert command.defaults("digits").dataset == "digits"
    configs = command.configs(command.defaults("fashion_mnist"))
    assert {config.pixels for config in configs.values()} == {(0.5, 0.5)}
    with pytest.raises(SystemExit):
        cli.main(["psp", "--dataset", "imagenet"])
