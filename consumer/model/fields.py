"""Readers of single fields that others wrote: of JSON, of headers. Pure.

The first ones say None where a field is something else, for readers who go on without it. The ones
that begin with `need` raise, for readers whose whole input is worth nothing then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

MAX_WHOLE = 2**63 - 1

_MAX_DIGITS = len(str(MAX_WHOLE))


def text_of(value: object) -> str | None:
    """A string of JSON."""
    return value if isinstance(value, str) else None


def whole_of(value: object) -> int | None:
    """An integer of JSON, however large; true and false are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def count_of(value: object) -> int | None:
    """An integer of JSON from 0 to `MAX_WHOLE`: what an offset can be."""
    number = whole_of(value)
    return number if number is not None and 0 <= number <= MAX_WHOLE else None


def need_text(value: object) -> str:
    """A string of JSON.

    Raises:
        TypeError: it is something else; the message does not repeat it.
    """
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def need_list(value: object) -> list[Any]:
    """A list of JSON.

    Raises:
        TypeError: it is something else; the message does not repeat it.
    """
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def whole_in(text: str | None, *, least: int = 0, most: int = MAX_WHOLE) -> int | None:
    """The integer that a text is; None where it is none or out of range.

    Only ASCII digits, after at most one minus sign, and no more of them than `MAX_WHOLE` has:
    Python's own ``int`` takes spaces, underscores and digits of other scripts.
    """
    digits = (text or "").removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
        return None
    number = int(text or "")
    return number if least <= number <= most else None


def aware_instant_in(text: str | None) -> datetime | None:
    """The ISO 8601 date and time with a zone that a text is, in UTC; None where it is none.

    Our headers are written so. Dates in events may lack a zone, and have a reader of their own
    (`consumer.contract.processed_document.instant_in`).
    """
    try:
        parsed = datetime.fromisoformat(text or "")
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def uuid_in(text: str | None) -> str | None:
    """The UUID that a text is, in its usual form; None where it is none."""
    try:
        return str(UUID(text)) if text else None
    except ValueError:
        return None
