"""A topic read backwards: order, bounds, and what is read again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.reader import OffsetRanges, Records
from consumer.model.record import Coordinates, Record
from consumer.operations.results.newest_first import between, newest_first

TOPIC = "results"


class Topic:
    """Partitions of records, read forwards; remembers what was asked for."""

    def __init__(self, *partitions: Sequence[Record]) -> None:
        self.partitions = [list(each) for each in partitions]
        self.pieces: list[tuple[int, int, int]] = []
        self.bytes_of_pieces: list[int] = []

    @property
    def ranges(self) -> dict[int, OffsetRange]:
        ends = [each[-1].at.offset + 1 if each else 0 for each in self.partitions]
        return {number: OffsetRange(0, end) for number, end in enumerate(ends)}

    async def offset_ranges(self, topic: str) -> OffsetRanges | None:
        return self.ranges

    async def since(self, topic: str, ranges: OffsetRanges, instant: datetime) -> OffsetRanges:
        earliest = instant.timestamp() * 1_000
        found = {}
        for number, offsets in ranges.items():
            late = [r.at.offset for r in self.partitions[number] if r.timestamp_ms >= earliest]
            found[number] = OffsetRange(min([*late, offsets.end]), offsets.end)
        return found

    async def records(self, topic: str, ranges: OffsetRanges) -> Records:
        for number, offsets in ranges.items():
            self.pieces.append((number, offsets.start, offsets.end))
            for record in self.partitions[number]:
                if offsets.start <= record.at.offset < offsets.end:
                    yield record

    async def record(self, at: Coordinates) -> Record | None:
        raise NotImplementedError


def record(partition: int, offset: int, time: int, size: int = 10) -> Record:
    return Record(Coordinates(TOPIC, partition, offset), time, None, b"x" * size)


async def told(topic: Topic, **bounds: int) -> list[tuple[int, int]]:
    read = newest_first(topic, TOPIC, topic.ranges, **bounds)
    return [(each.at.partition, each.at.offset) async for each in read]


async def test_partitions_are_merged_by_time() -> None:
    """The newest of all comes first; an empty partition is no trouble."""
    topic = Topic([record(0, 0, 10), record(0, 1, 40)], [], [record(2, 0, 20), record(2, 1, 30)])
    assert await told(topic) == [(0, 1), (2, 1), (2, 0), (0, 0)]
    assert await told(Topic([], [])) == []
    assert await told(Topic()) == []


async def test_a_partition_keeps_its_order_whatever_its_times_are() -> None:
    """A record without a time, or with an old one, holds back nothing that lies before it."""
    times = [100, 300, -1, 50, 310]
    topic = Topic(
        [record(0, offset, time) for offset, time in enumerate(times)],
        [record(1, 0, 200), record(1, 1, 305)],
    )
    assert await told(topic) == [(0, 4), (1, 1), (0, 3), (0, 2), (0, 1), (1, 0), (0, 0)]


@pytest.mark.parametrize("seed", range(8))
async def test_every_record_comes_once_newest_first(seed: int) -> None:
    """Whatever the sizes, with offsets that nobody receives in between, within any bound."""
    rng = random.Random(seed)
    partitions = []
    for number in range(rng.randint(1, 4)):
        offset, time, held = 0, 0, []
        for _ in range(rng.choice([0, 3, 70, 400])):
            offset += rng.choice([1, 1, 1, 2, 90])
            time += rng.randint(0, 5)
            held.append(record(number, offset, time, rng.choice([10, 100, 20_000])))
        partitions.append(held)
    topic = Topic(*partitions)
    found = await told(topic, held_bytes=rng.choice([1, 5_000, 100_000, 10_000_000]))

    times = {(r.at.partition, r.at.offset): r.timestamp_ms for held in partitions for r in held}
    assert sorted(found) == sorted(times)
    assert [times[each] for each in found] == sorted(times.values(), reverse=True)


async def test_who_wants_a_few_waits_for_little() -> None:
    """The first record comes after one small piece of each partition."""
    topic = Topic(*([record(n, k, k) for k in range(1_000)] for n in range(3)))
    read = newest_first(topic, TOPIC, topic.ranges)
    first = await anext(read)
    await read.aclose()

    assert first.at.offset == 999
    assert topic.pieces == [(n, 1_000 - 64, 1_000) for n in range(3)]


async def test_pieces_grow_and_what_is_too_much_is_read_again_in_smaller_ones() -> None:
    """Small records by thousands at once; of large ones no more are held than may be."""
    small = Topic([record(0, k, k) for k in range(5_000)])
    large = Topic([record(0, k, k, 100_000) for k in range(200)])
    await told(small)
    await told(large, held_bytes=1_000_000)

    assert len(small.pieces) == 4
    asked = [end - begin for _, begin, end in large.pieces]
    assert asked[0] == 64
    assert max(asked[1:]) <= 10
    assert sum(asked) < 200 + 64


async def test_a_time_is_a_range_with_a_minute_around_it() -> None:
    """Producers' times may be a little out of order; a range never ends before it begins."""
    minute = 60_000
    topic = Topic([record(0, k, k * minute) for k in range(100)], [])

    def at(minutes: int) -> datetime:
        return datetime.fromtimestamp(minutes * 60, UTC)

    async def cut(since: int | None, until: int | None) -> OffsetRange:
        bounds = [None if each is None else at(each) for each in (since, until)]
        found = await between(topic, TOPIC, topic.ranges, since=bounds[0], until=bounds[1])
        assert found[1] == OffsetRange(0, 0)
        return found[0]

    assert await cut(None, None) == OffsetRange(0, 100)
    assert await cut(10, None) == OffsetRange(9, 100)
    assert await cut(None, 20) == OffsetRange(0, 21)
    assert await cut(10, 20) == OffsetRange(9, 21)
    assert await cut(30, 20) == OffsetRange(29, 29)
