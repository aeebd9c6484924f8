"""The commands: arguments in, exit codes out, no decisions. `main` is the program."""

from __future__ import annotations

from consumer.cli.main import main

__all__ = ["main"]
