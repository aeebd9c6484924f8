"""How operations tell how far they are."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how many records were looked at so far, and how many there are in all."""


def silent(done: int, total: int) -> None:
    """Nobody wants to know."""
