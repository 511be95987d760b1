"""Programs: the lists of commands, errors, signals, versions, foreign packages."""

import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import synaptax
from synaptax import __main__ as script
from synaptax.cli import program
from synaptax.cli.options import Interrupted
from synaptax.cli.program import Command, Program, guarded, run

ROOT = Path(synaptax.__file__).parents[1]
PACKAGES = ("pruning", "analysis", "binary", "covid_cxr")


def programs():
    return {name: importlib.import_module(f"{name}.__main__") for name in PACKAGES}


def typed():
    """Return every command as it is typed after ``synaptax``."""
    return [
        [package, name]
        for package, module in programs().items()
        for name in module.PROGRAM.commands
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_help_lists_each_command_on_a_line(package, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    main = programs()[package].main
    try:
        assert main(["--help"]) == 0
    except SystemExit as ended:  # the help of the default command ends so
        assert ended.code == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in programs()[package].PROGRAM.commands.items():
        assert importlib.util.find_spec(command.module) is not None
        assert any(name in line.split() and command.text in line for line in lines)


@pytest.mark.parametrize("words", typed(), ids=" ".join)
@pytest.mark.parametrize("columns", [60, 120])
def test_every_help_fits_the_terminal(words, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        script.main([*words, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= columns
    assert said.startswith(f"usage: synaptax {words[0]}") and "╭" in said
    assert "\n\n\n" not in said


def test_flags_mean_the_same_everywhere(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    flags, metavar, texts = "--resume|--quiet|--data-dir", r"(?: \{None\}\|STR)?", {}
    for words in typed():
        with pytest.raises(SystemExit):
            script.main([*words, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        for flag, text in re.findall(
            rf"│ ({flags}){metavar}[ │]+(.*?) \(default", said
        ):
            texts.setdefault(flag, {}).setdefault(text.capitalize(), []).append(words)
    assert {flag: len(own) for flag, own in texts.items()} == {
        "--resume": 1,
        "--quiet": 1,
        "--data-dir": 1,
    }


def test_the_script_lists_the_commands_of_all_packages(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert script.main([]) == script.main(["--help"]) == 0
    said = capsys.readouterr().out
    for module in programs().values():
        for command in module.PROGRAM.commands.values():
            assert command.text in said
    assert script.main(["sharpen"]) == 2
    assert "unknown package 'sharpen'" in capsys.readouterr().err


def test_every_program_says_the_version(capsys):
    for main in (script.main, *(module.main for module in programs().values())):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"synaptax {synaptax.__version__}\n"


def test_a_missing_extra_is_one_line(capsys, monkeypatch):
    find = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "tyro" else find(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    line = "error: this needs tyro: pip install 'synaptax[lab]'\n"
    for main in (script.main, *(module.main for module in programs().values())):
        assert main(["--help"]) == 2
        assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("size:\n  60 is even"), 2, "error: size: 60 is even\n"),
        (OSError("no \x1b[2Jfile"), 2, "error: no \\x1b[2Jfile\n"),
        (ModuleNotFoundError("No x"), 2, "error: No x: pip install 'synaptax[cxr]'\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (
            Interrupted("go on"),
            130,
            "\ninterrupted; what was done is kept. Go on with:\n  go on\n",
        ),
    ],
)
def test_what_stops_a_command_is_said_in_a_line(error, code, said, capsys):
    def work():
        raise error

    assert guarded(work, "cxr") == code
    assert capsys.readouterr().err == said


def test_other_errors_are_not_hidden():
    def work():
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        guarded(work)


def test_sigterm_does_what_sigint_does(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert guarded(lambda: os.kill(os.getpid(), signal.SIGTERM) or 0) == 130
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_is_told_what_was_typed(monkeypatch):
    asked = []
    module = type(sys)("commands_of_a_test")
    module.main = lambda given, prog: asked.append((given, prog)) or 3
    monkeypatch.setitem(sys.modules, module.__name__, module)
    commands = {name: Command(module.__name__, name) for name in ("one", "two")}
    own = Program("pack", "text", commands, default="one")
    assert run(own, []) == run(own, ["--a"]) == run(own, ["two", "--b"], "pk") == 3
    assert asked == [
        ([], "python -m pack"),
        (["--a"], "python -m pack"),
        (["--b"], "pk two"),
    ]


def in_folder(folder, *words, **variables):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True
    )


@pytest.mark.runs
def test_a_foreign_package_is_named(tmp_path):
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "__init__.py").write_text("")
    foreign = in_folder(tmp_path, "-m", "synaptax", "binary", "--help")
    assert foreign.returncode == 2 and foreign.stdout == ""
    (line,) = foreign.stderr.splitlines()
    assert line.startswith("error: binary: expected the package of synaptax in")
    assert str(tmp_path / "binary" / "__init__.py") in line
    # A console script has its own folder on the path, not the working directory.
    (tmp_path / "bin").mkdir()
    entry = tmp_path / "bin" / "synaptax"
    entry.write_text("import sys; from synaptax.__main__ import main; sys.exit(main())")
    own = in_folder(tmp_path, str(entry), "binary", "--version")
    assert own.stdout == f"synaptax {synaptax.__version__}\n", own.stderr


def test_the_foundation_names_its_packages_only_to_list_them():
    assert script._PACKAGES == PACKAGES
    assert program._LAB[0] == "tyro"
