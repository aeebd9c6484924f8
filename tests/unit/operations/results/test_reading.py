"""Which of two results of one event is the repeat, forwards and backwards; and which time it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
import pytest

from consumer.contract.received_result import read_result
from consumer.model.record import Coordinates, Record
from consumer.operations.results.reading import (
    AHEAD,
    FoundResult,
    Period,
    ReadSoFar,
    backwards,
    forwards,
    stored_results,
)
from tests.doubles.kafka import MemoryKafka
from tests.doubles.kafka_clients import MemoryClients
from tests.staging import result
from tests.unit.operations.results.test_newest_first import Topic


def found(event: int, offset: int, size: int = 0) -> FoundResult:
    value = orjson.dumps(result(event, errors=["x" * size]))
    return FoundResult(Record(Coordinates("r", 0, offset), 0, b"k", value), read_result(value))


async def given(events: list[int], size: int = 0) -> AsyncIterator[FoundResult]:
    for offset, event in enumerate(events):
        yield found(event, offset, size)


async def told(events: list[int], ahead: int = AHEAD) -> list[str | None]:
    return [each.repetition async for each in backwards(given(events), ahead=ahead)]


async def test_forwards_the_first_counts() -> None:
    """Every further one is a repeat."""
    marks = [each.repetition async for each in forwards(given([1, 2, 1, 1]))]
    assert marks == [None, None, "repeat", "repeat"]


async def test_backwards_the_last_to_come_counts() -> None:
    """What is newer is a repeat, known by what was read ahead; the first says that it counts."""
    assert await told([1, 2, 3]) == [None, None, None]
    assert await told([1, 2, 1, 1]) == ["repeat", None, "repeat", "first"]


async def test_a_first_one_that_lies_far_behind_says_it_itself() -> None:
    """Its repeat was given by then, unmarked."""
    assert await told([1, 2, 3, 4, 1], ahead=2) == [None, None, None, None, "first"]
    assert await told([1, 2, 3, 1], ahead=3) == ["repeat", None, None, "first"]


async def test_what_is_read_ahead_is_bounded() -> None:
    """By number and by bytes: large results are given sooner."""
    read = [0]

    async def counted(size: int) -> AsyncIterator[FoundResult]:
        async for each in given(list(range(2_000)), size):
            read[0] += 1
            yield each

    for size, most in ((0, AHEAD + 1), (500_000, 10)):
        read[0] = 0
        marked = backwards(counted(size))
        await anext(marked)
        await marked.aclose()
        assert read[0] <= most


@pytest.mark.parametrize(
    ("millisecond", "is_held"), [(9_999, False), (10_000, True), (19_999, True), (20_000, False)]
)
def test_a_period_begins_with_its_first_instant(millisecond: int, is_held: bool) -> None:
    """And ends before its last: two that touch have nothing in common and leave nothing out."""
    period = Period(since=datetime.fromtimestamp(10, UTC), until=datetime.fromtimestamp(20, UTC))
    record = Record(Coordinates("r", 0, 0), millisecond, None, None)
    assert period.holds(record) is is_held
    assert Period().holds(record)


class Kafka(MemoryClients):
    """With a topic of results, each a second later than the one before."""

    def __init__(self, count: int) -> None:
        super().__init__(MemoryKafka())
        self._topic = Topic(
            [
                Record(Coordinates("r", 0, n), n * 1_000, b"k", orjson.dumps(result(n)))
                for n in range(count)
            ]
        )

    @asynccontextmanager
    async def reader(  # type: ignore[override]  # reads one topic, whose times are known
        self, **_: object
    ) -> AsyncIterator[Topic]:
        yield self._topic


async def test_how_far_it_came_is_what_was_given_and_not_what_was_read_ahead() -> None:
    """Whoever ends it early goes on there: hundreds of results would never be shown."""
    so_far = ReadSoFar()
    found = stored_results(Kafka(1_000), "r", skipped=lambda at, why: None, so_far=so_far)
    given = [await anext(found) for _ in range(3)]
    await found.aclose()

    assert so_far.given == given[-1].record.timestamp_ms == 997_000
    assert (so_far.done, so_far.total) == (AHEAD + 3, 1_000)
