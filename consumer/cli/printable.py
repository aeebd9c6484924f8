"""Texts of others on our user's terminal: without control characters, and short."""

from __future__ import annotations

from consumer.telemetry.scrub import Scrubber

MAX_CELL = 400
MAX_LINE = 2_000


def printable(text: str, limit: int = MAX_CELL) -> str:
    """A text as one short line without control characters."""
    plain = text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    return Scrubber().text(plain, limit)
