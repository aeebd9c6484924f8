"""One line for what many meet at once."""

from __future__ import annotations

from consumer.telemetry.repeats import BURST, KeptBack, LineBudget, RepeatedLine


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


def test_each_event_has_a_budget_of_its_own() -> None:
    """What floods hides nothing else; how much of it there was is told once, when it is over."""
    now = 0.0
    budget = LineBudget(lambda: now)

    assert [budget.takes("a") for _ in range(100)].count(True) == BURST
    assert budget.takes("b")
    now = 9.9
    assert not budget.takes("a")
    assert budget.ended() == []
    now = 10.0
    assert budget.ended() == [KeptBack("a", 101 - BURST)]
    assert budget.ended() == []
    assert budget.takes("a")


def test_an_event_that_never_floods_is_never_counted() -> None:
    now = 0.0
    budget = LineBudget(lambda: now, burst=2)
    for _ in range(10):
        now += 5.0
        assert budget.ended() == []
        assert budget.takes("a")


def test_an_event_that_floods_for_long_is_told_in_each_interval() -> None:
    """Also where it is the only one: it must not be silent for ever."""
    now = 0.0
    budget = LineBudget(lambda: now)
    told, kept_back = 0, 0
    for second in range(60):
        now = float(second)
        told += [budget.takes("a") for _ in range(100)].count(True)
        kept_back += sum(each.count for each in budget.ended())

    assert told == 6 * BURST
    assert kept_back == 5 * (1000 - BURST)
