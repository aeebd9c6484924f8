"""Times as people write them in options."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from consumer.cli.common import wrong_usage
from consumer.cli.instants import when as when

_AGO = re.compile(r"([0-9]{1,6}) ?([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def period(
    since: str | None, until: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """The values of ``--since`` and ``--until``.

    Raises:
        CommandFailed: one is no time, or the end is not after the beginning: nothing lies between
            them, and an empty answer would look as if nothing had happened.
    """
    start = moment("--since", text=since, now=now)
    end = moment("--until", text=until, now=now)
    if start is not None and end is not None and end <= start:
        raise wrong_usage(
            f"nothing lies between --since {since!r} ({when(start)}) and --until {until!r}"
            f" ({when(end)}): were they swapped?"
        )
    return start, end


def moment(option: str, *, text: str | None, now: datetime) -> datetime | None:
    """A time as people write it: ``45m``, ``2h``, ``3d``, ``2w`` ago, or ISO 8601.

    Args:
        option: names the time in the error.
        text: as it was given; a date without a zone is UTC.
        now: aware; what ``2h`` is counted from.

    Raises:
        CommandFailed: the text is no time.
    """
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text.strip()):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        parsed = datetime.fromisoformat(text.strip())
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong_usage(
            f"{option} {text!r} is no time: say 45m, 2h, 3d, 2026-11-22 or 2026-11-22T10:00:00Z"
        ) from None
