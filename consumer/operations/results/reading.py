"""Results as an operator reads them: newest first, or as they come; repeats are marked.

After a crash of the service a result can come a second time; its `event_id` is the same, and the
first counts (schemas/README.md, "Results"). Read backwards the repeat comes before what it repeats:
so reading runs some hundred results ahead. Where the first one lies further away, it says so
itself when it comes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from consumer.contract.received_result import ReceivedResult, read_result
from consumer.contract.trial import is_trial
from consumer.kafka.reader import OffsetRanges
from consumer.kafka.start import Start
from consumer.kafka.topics import no_such_topic
from consumer.model.record import Coordinates, Record
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.results.newest_first import between, newest_first
from consumer.results import SeenEvents

FETCH_BYTES = 64 * 1024
"""Of a partition at once: each piece of it ends with a fetch that is not needed."""

AHEAD = 500  # results that are read before the first one is given
_AHEAD_BYTES = 4 * 1024 * 1024
_REMEMBERED = 50_000  # events; 150 bytes each


class Repetition(StrEnum):
    """What a result is to others of its event.

    REPEAT  an earlier one of the same event counts: leave this one alone.
    FIRST   it counts, and a repeat of it was given before.
    """

    REPEAT = "repeat"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class FoundResult:
    """A result, with the record it lay in.

    Args:
        repetition: None where no other of its event is known.
    """

    record: Record
    result: ReceivedResult
    repetition: Repetition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When results were published, by their records' timestamps; None is open.

    Args:
        since: aware; from there on.
        until: aware; before that.
    """

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, record: Record) -> bool:
        """Whether a record is of this time."""
        since, until = self.since, self.until
        moment = record.timestamp_ms / 1_000
        return (since is None or moment >= since.timestamp()) and (
            until is None or moment < until.timestamp()
        )


EVER = Period()


@dataclass(slots=True)
class ReadSoFar:
    """How far reading has come, for people.

    Args:
        total: records that there are to read, at most; None where it goes on and on.
        done: records that were read.
        given: the time of the last one that was given to whoever reads, in epoch milliseconds:
            hundreds more are read by then.
    """

    total: int | None = None
    done: int = 0
    given: int | None = None


Skipped = Callable[[Coordinates, str], None]
"""Told of a record that is no result, and why."""

Found = AsyncGenerator[FoundResult, None]


async def stored_results(
    kafka: KafkaAccess,
    topic: str,
    *,
    skipped: Skipped,
    so_far: ReadSoFar,
    period: Period = EVER,
    oldest_first: bool = False,
) -> Found:
    """What the topic holds now, newest first.

    Args:
        kafka: where.
        topic: of results.
        skipped: told of what is no result.
        so_far: kept up to date.
        period: by time, without reading what is before or behind.
        oldest_first: partition by partition instead.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
    """
    async with kafka.reader(fetch_bytes=FETCH_BYTES) as reader:
        ranges = await _ranges(reader, topic, period)
        so_far.total = sum(each.end - each.start for each in ranges.values())
        forth = oldest_first
        every = reader.records(topic, ranges) if forth else newest_first(reader, topic, ranges)
        async with (
            aclosing(every) as records,
            aclosing(_results(records, skipped, so_far, period)) as found,
            aclosing(forwards(found) if forth else backwards(found)) as marked,
        ):
            async for each in marked:
                so_far.given = each.record.timestamp_ms
                yield each


async def coming_results(
    kafka: KafkaAccess,
    topic: str,
    *,
    skipped: Skipped,
    so_far: ReadSoFar,
    start: Start = "now",
) -> Found:
    """What comes; it never ends by itself.

    Args:
        kafka: where.
        topic: of results.
        skipped: told of what is no result.
        so_far: kept up to date.
        start: where to begin.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
    """
    async with (
        aclosing(kafka.read_topic(topic, follow=True, start=start)) as records,
        aclosing(_results(records, skipped, so_far, EVER)) as found,
        aclosing(forwards(found)) as marked,
    ):
        async for each in marked:
            yield each


async def forwards(results: AsyncIterator[FoundResult]) -> Found:
    """Oldest first, as they come: every further one of an event is a repeat."""
    seen = SeenEvents(_REMEMBERED)
    async for each in results:
        is_first = seen.first(each.result.event_id)
        yield each if is_first else replace(each, repetition=Repetition.REPEAT)


async def backwards(results: AsyncIterator[FoundResult], *, ahead: int = AHEAD) -> Found:
    """Newest first: those of which an earlier one comes are repeats (module docstring)."""
    window = _Window()
    async for each in results:
        window.add(each)
        while window.is_over(ahead):
            yield window.take()
    while window.results:
        yield window.take()


@dataclass(slots=True)
class _Window:
    """What was read ahead, newest first."""

    results: deque[FoundResult] = field(default_factory=deque)
    events: Counter[str] = field(default_factory=Counter)
    size: int = 0
    given: SeenEvents = field(default_factory=lambda: SeenEvents(_REMEMBERED))

    def add(self, found: FoundResult) -> None:
        self.results.append(found)
        self.events[found.result.event_id] += 1
        self.size += found.record.size

    def is_over(self, ahead: int) -> bool:
        return len(self.results) > ahead or self.size > _AHEAD_BYTES

    def take(self) -> FoundResult:
        found = self.results.popleft()
        event = found.result.event_id
        self.size -= found.record.size
        self.events[event] -= 1
        has_earlier = self.events[event] > 0
        if not has_earlier:
            del self.events[event]
        is_first_given = self.given.first(event)
        if has_earlier:
            return replace(found, repetition=Repetition.REPEAT)
        return found if is_first_given else replace(found, repetition=Repetition.FIRST)


async def _ranges(reader: RecordReader, topic: str, period: Period) -> OffsetRanges:
    ranges = await reader.offset_ranges(topic)
    if ranges is None:
        raise no_such_topic(topic)
    return await between(reader, topic, ranges, since=period.since, until=period.until)


async def _results(
    records: AsyncIterator[Record], skipped: Skipped, so_far: ReadSoFar, period: Period
) -> Found:
    async for record in records:
        so_far.done += 1
        if is_trial(record) or not period.holds(record):
            continue
        try:
            yield FoundResult(record, read_result(record.value or b""))
        except ValueError as error:
            skipped(record.at, str(error))
