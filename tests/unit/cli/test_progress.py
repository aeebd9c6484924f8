"""Bars on standard error, and what is printed while one is there."""

from __future__ import annotations

import io

import pytest

from consumer.cli import output
from consumer.cli.progress import bar


class Terminal(io.StringIO):
    """Takes what is written, as a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_goes_to_a_file_goes_there_beside_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich would have it on the bar's terminal, and the file would be empty."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with bar("replaying", 2) as advance:
        advance(1)
        output.line("told")

    assert capsys.readouterr().out == "told\n"
    assert "replaying" in terminal.getvalue()
    assert "told" not in terminal.getvalue()
