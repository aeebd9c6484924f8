"""A topic read backwards: newest first over all partitions, in bounded memory.

Kafka gives records forwards only. So each partition is read in pieces, the last one first, and what
comes next is the newest of the partitions' last records:

- Between two partitions the records' timestamps decide. Within one its own order holds, whatever
  its timestamps are: a record counts as no older than what lies before it in the piece.
- A piece is a few offsets at first, because whoever wants the newest fifty waits for one piece of
  each partition. Then it grows to its share of `HELD_BYTES`. What turns out to be more than its
  share is let go and read again later, in smaller pieces.
"""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.reader import OffsetRanges, Records
from consumer.model.record import Record
from consumer.operations.ports import RecordReader

HELD_BYTES = 12 * 1024 * 1024
"""Of all partitions together; what is fetched at once comes on top, and one record in any case."""

_FIRST_STEP = 64
_LARGEST_STEP = 20_000  # offsets; more would only be a longer wait for the same bytes
_GROWTH = 8
_FRAMING = 200  # bytes of a record in memory, beside what it carries
# Timestamps are those of producers: two of them can be a little out of order in a partition.
_DISORDER = timedelta(minutes=1)


async def newest_first(
    reader: RecordReader, topic: str, ranges: OffsetRanges, *, held_bytes: int = HELD_BYTES
) -> Records:
    """Every record of these ranges, newest first.

    Args:
        reader: reads the topic; its `fetch_bytes` should be few: every piece fetches too much.
        topic: which one.
        ranges: what `RecordReader.offset_ranges` gave, or parts of that.
        held_bytes: what may be in memory at once, about.

    Raises:
        KafkaUnavailableError: Kafka went away; what came so far is not all.
    """
    there = {number: each for number, each in ranges.items() if each.end > each.start}
    share = held_bytes // max(1, len(there))
    queue: list[tuple[int, int, _Backwards]] = []
    for number, offsets in sorted(there.items()):
        await _queue(queue, _Backwards(reader, topic, number, offsets, share))
    while queue:
        partition = heappop(queue)[-1]
        yield partition.take()
        await _queue(queue, partition)


async def between(
    reader: RecordReader,
    topic: str,
    ranges: OffsetRanges,
    *,
    since: datetime | None,
    until: datetime | None,
) -> OffsetRanges:
    """The ranges in which records of this time lie, with a minute around them.

    Args:
        reader: asks for offsets by time.
        topic: theirs.
        ranges: what `RecordReader.offset_ranges` gave.
        since: aware; from there on.
        until: aware; before that.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or does not let us.
    """
    begins, ends = ranges, ranges
    if since is not None:
        begins = await reader.since(topic, ranges, since - _DISORDER)
    if until is not None:
        behind = await reader.since(topic, ranges, until + _DISORDER)
        ends = {n: OffsetRange(ranges[n].start, each.start) for n, each in behind.items()}
    return {
        number: OffsetRange(begins[number].start, max(begins[number].start, ends[number].end))
        for number in ranges
    }


async def _queue(queue: list[tuple[int, int, _Backwards]], partition: _Backwards) -> None:
    newest = await partition.newest()
    if newest is not None:
        heappush(queue, (-newest, partition.number, partition))


@dataclass(slots=True, order=False)
class _Backwards:
    """One partition, from its end to its start.

    Args:
        left: what is still to be read.
        share: bytes that it may hold.
    """

    reader: RecordReader
    topic: str
    number: int
    left: OffsetRange
    share: int
    step: int = _FIRST_STEP
    # Oldest first, each with the time it counts as.
    held: deque[tuple[int, Record]] = field(default_factory=deque)

    async def newest(self) -> int | None:
        """When the next record is from, in epoch milliseconds; None where there is no more."""
        while not self.held and self.left.end > self.left.start:
            await self._read_piece()
        return self.held[-1][0] if self.held else None

    def take(self) -> Record:
        """The next record, after `newest` gave a time."""
        return self.held.pop()[1]

    async def _read_piece(self) -> None:
        begin = max(self.left.start, self.left.end - self.step)
        piece = {self.number: OffsetRange(begin, self.left.end)}
        kept: deque[Record] = deque()
        read = size = held = 0
        async with aclosing(self.reader.records(self.topic, piece)) as records:
            async for record in records:
                kept.append(record)
                read, size = read + 1, size + record.size + _FRAMING
                held += record.size + _FRAMING
                while held > self.share and len(kept) > 1:
                    held -= kept.popleft().size + _FRAMING
        self.held = _timed(kept)
        let_go = len(kept) < read
        self.left = OffsetRange(self.left.start, kept[0].at.offset if let_go else begin)
        self.step = self._next_step(read, size)

    def _next_step(self, read: int, size: int) -> int:
        fitting = self.share * read // size if size else _LARGEST_STEP
        return max(1, min(fitting, self.step * _GROWTH, _LARGEST_STEP))


def _timed(records: deque[Record]) -> deque[tuple[int, Record]]:
    timed: deque[tuple[int, Record]] = deque()
    latest = 0
    for record in records:
        latest = max(latest, record.timestamp_ms)
        timed.append((latest, record))
    return timed
