"""What is printed: wrapped to the terminal, without colours or control characters."""

import io
import sys

import pytest

from synaptax.cli.terminal import _fitted, help_page, printable


def test_control_characters_are_shown_as_text():
    assert printable("a\x1b[2J\x07b") == "a\\x1b[2J\\x07b"
    assert printable("naïve 日本\n") == "naïve 日本\\n"
    assert printable("\udcff\u202e") == "\\udcff\\u202e"


def test_what_tyro_leaves_unwrapped_is_wrapped():
    text = "\n".join(
        [
            "usage: x [-h] CONFIG [--run-dir PATH]",
            "",
            "one two three four five six seven",
            "",
            "",
            "- one two three four five six",
            "",
            "    name = 'an example stays as it is'",
            "╭─ options ──────────────────────────╮",
        ]
    )
    assert _fitted(text, 20).split("\n") == [
        "usage: x [-h] CONFIG",
        "    [--run-dir PATH]",
        "",
        "one two three four",
        "five six seven",
        "",
        "- one two three four",
        "  five six",
        "",
        "    name = 'an example stays as it is'",
        "╭─ options ──────────────────────────╮",
    ]


class Terminal(io.StringIO):
    encoding = "UTF-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("plain", [False, True])
def test_no_color_is_obeyed_on_a_terminal(plain, monkeypatch):
    tyro = pytest.importorskip("tyro")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)

    def command(size: int = 3) -> None:
        """Say nothing."""

    with pytest.raises(SystemExit), help_page():
        tyro.cli(command, args=["--help"])
    assert ("\x1b[" in terminal.getvalue()) is not plain
    assert "╭" in terminal.getvalue() and "--size" in terminal.getvalue()
