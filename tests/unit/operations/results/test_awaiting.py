"""Whose result it is that comes: that of an event that somebody waits for, once."""

from __future__ import annotations

from typing import Any

import orjson

from consumer.contract.received_result import ReceivedResult, read_result
from consumer.model.record import Coordinates
from consumer.operations.results.awaiting import AwaitedResults
from tests.staging import result


def told(offset: int, *, partition: int = 0, topic: str = "events", **more: Any) -> ReceivedResult:
    source = {"topic": topic, "partition": partition, "offset": offset}
    return read_result(orjson.dumps(result(offset, source=source, **more)))


def waiting_for(*places: tuple[int, int]) -> AwaitedResults:
    awaited = AwaitedResults("events")
    for partition, offset in places:
        awaited.add(Coordinates("events", partition, offset))
    return awaited


def test_only_results_of_these_events_count_and_each_once() -> None:
    """Not those of other topics, partitions and offsets, and no repeat."""
    awaited = waiting_for((0, 5), (1, 5))
    others = [told(5, topic="replay"), told(4), told(5, partition=2)]

    assert [awaited.take(each) for each in others] == [False] * 3
    assert awaited.take(told(5))
    assert not awaited.take(told(5))
    assert (awaited.waiting, awaited.done) == (1, 1)
    assert awaited.take(told(5, partition=1, status="superseded"))
    assert (awaited.waiting, awaited.done, awaited.failed) == (0, 2, 0)
    assert awaited.statuses == {"succeeded": 1, "superseded": 1}


def test_what_is_not_stored_is_kept_with_its_reason() -> None:
    """The first twenty; all are counted."""
    awaited = waiting_for(*((0, offset) for offset in range(30)))
    for offset in range(30):
        awaited.take(told(offset, status=["failed", "partial", "invalid"][offset % 3]))

    assert awaited.failed == 30
    assert [each.document_id for each in awaited.unfinished] == [
        f"document-{offset}" for offset in range(20)
    ]


def test_an_event_without_a_place_is_not_waited_for() -> None:
    """It would be for ever."""
    awaited = waiting_for((0, -1), (0, 1))
    assert (awaited.waiting, awaited.untold) == (1, 1)
