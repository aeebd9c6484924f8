"""Times in options: what people write, and what they get wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from consumer.cli.common import CommandFailed, ExitCode
from consumer.cli.times import moment, period

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45m", NOW - timedelta(minutes=45)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2w", NOW - timedelta(weeks=2)),
        ("90s", NOW - timedelta(seconds=90)),
        ("0h", NOW),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20 08:00+02:00", datetime(2026, 11, 20, 6, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_are_read_as_people_write_them(text: str | None, expected: datetime | None) -> None:
    """Ago, or ISO 8601; without a zone UTC, as everything we show."""
    assert moment("--since", text=text, now=NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "2y", "-2h", "yesterday", "2026-13-01", "999999w", "2h ago",
     "0001-01-01T00:00:00+09:00", "١h"],
)  # fmt: skip
def test_what_is_no_time_is_told(text: str) -> None:
    """With the option's name and examples; never a traceback."""
    with pytest.raises(CommandFailed, match="--since") as failed:
        moment("--since", text=text, now=NOW)

    assert failed.value.code is ExitCode.WRONG_USAGE


def test_nothing_lies_between_swapped_times() -> None:
    """An empty answer would look as if nothing had happened."""
    assert period("5m", "1m", now=NOW) == (NOW - timedelta(minutes=5), NOW - timedelta(minutes=1))
    assert period(None, "1m", now=NOW)[0] is None
    for until in ("5m", "1m"):
        with pytest.raises(CommandFailed, match="were they swapped") as failed:
            period("1m", until, now=NOW)
        assert failed.value.code is ExitCode.WRONG_USAGE
