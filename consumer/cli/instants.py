"""Instants as commands show them: ISO 8601 in UTC to programs, by their own clock to people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FORM = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant in a table.

    Args:
        at: aware.
        text: what programs get.
    """

    at: datetime
    text: str

    def __str__(self) -> str:
        return self.text


def when(instant: datetime) -> str:
    """An instant as all our output writes it for programs."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def spaced(instant: datetime | None) -> Instant | str:
    """An instant in UTC with a blank in the middle; "-" for none."""
    if instant is None:
        return "-"
    return Instant(instant, instant.astimezone(UTC).strftime(_FORM) + "Z")


def ago(instant: datetime, now: datetime) -> str:
    """How long ago it was, in the largest unit of which there is a whole one.

    >>> from datetime import timedelta
    >>> then = datetime(2026, 11, 22, tzinfo=UTC)
    >>> ago(then, then + timedelta(hours=49)), ago(then, then - timedelta(minutes=3))
    ('2d ago', 'in 3m')
    """
    seconds = int((now - instant).total_seconds())
    for unit, length in _UNITS:
        if abs(seconds) >= length:
            number = abs(seconds) // length
            return f"{number}{unit} ago" if seconds > 0 else f"in {number}{unit}"
    return "now"


def forms(instant: datetime, now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    """An instant for people, in full and short.

    Args:
        instant: aware.
        now: aware.
        zone: of the reader; None is that of this machine.
    """
    short = ago(instant, now)
    try:
        local = instant.astimezone(zone)
    except (OverflowError, ValueError):
        local = instant  # the years 1 and 9999 can't be told in every zone
    return f"{local.replace(tzinfo=None).isoformat(' ', 'seconds')} ({short})", short
