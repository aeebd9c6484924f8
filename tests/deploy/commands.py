"""Whether a command line of ours would be understood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from consumer.cli.main import build


def known(words: Sequence[str]) -> None:
    """Return when the command and each of its options exist.

    Raises:
        KeyError: there is no such command.
        click.UsageError: there is no such option, or a value does not fit.
    """
    left = list(words)
    command: Any = build()
    while hasattr(command, "get_command"):
        name = left.pop(0)
        found = command.get_command(typer.Context(command), name)
        if found is None:
            raise KeyError(name)
        command = found
    command.make_context("shown", left, resilient_parsing=False)
