"""How a call of the program is to speak: what its user asked for, and what time it is for them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Manner:
    """How one call of the program speaks.

    Args:
        verbose: log as much as there is.
        quiet: log only errors; neither notes nor bars.
        wide: tables with all columns, and texts whole.
        clock: aware; what "3m ago" is counted from.
        zone: of the reader; None is that of this machine.
        has_drawn: whether a table was drawn so far.
        has_cut: whether something of a table was left out so far.
    """

    verbose: bool = False
    quiet: bool = False
    wide: bool = False
    clock: Callable[[], datetime] = _now
    zone: tzinfo | None = None
    has_drawn: bool = False
    has_cut: bool = False


_current: ContextVar[Manner] = ContextVar("manner")


def speak(manner: Manner) -> None:
    """Have everything that this call says from now on be said so."""
    _current.set(manner)


def manner() -> Manner:
    """How this call speaks."""
    return _current.get(None) or Manner()
