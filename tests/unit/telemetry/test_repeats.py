"""One line for what many meet at once."""

from __future__ import annotations

from consumer.telemetry.repeats import RepeatedLine


def test_forty_failures_a_second_are_a_line_every_ten_seconds() -> None:
    """The first at once; each further one says how many there were since, and where."""
    now = 100.0
    line = RepeatedLine(lambda: now)
    told = []
    for second in range(25):
        now = 100.0 + second
        for number in range(40):
            if (repeats := line.happened("a" if number % 4 else "b")) is not None:
                told.append((second, repeats.count, dict(repeats.by_subject)))

    assert told == [
        (0, 1, {"b": 1}),
        (10, 400, {"a": 300, "b": 100}),
        (20, 400, {"b": 100, "a": 300}),
    ]


def test_outages_that_come_and_go_get_no_more_lines_than_one() -> None:
    """The pause between lines does not begin anew with each outage."""
    now = 0.0
    line = RepeatedLine(lambda: now)

    assert line.happened("a") is not None
    now = 9.9
    assert line.happened("a") is None
    now = 10.0
    repeats = line.happened("a")
    assert repeats is not None
    assert repeats.count == 2
