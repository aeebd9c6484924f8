"""Reading topics from their start without a group, for people and tools that look at them.

- The ends are asked for once, before the first record. A reader does not wait for what is published
  meanwhile, so a topic that is written to all the time still ends.
- Partitions are read one after the other, several records at a time. aiokafka 0.14 drops records
  that it has already drained when *another* partition raises in the same call. A partition that
  raises alone is fetched again from where it stood. With all of them at once aiokafka would also
  keep a fetch of each in memory, of 8 MiB and more where documents are large.
- No reading ends early in silence: when no more comes, Kafka is asked whether it is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from consumer.kafka.batches import UNFOLD_LIMIT, install
from consumer.kafka.connection import KafkaConnection, explained, in_short
from consumer.kafka.offset_reset import OffsetRange as OffsetRange
from consumer.kafka.records import to_record
from consumer.kafka.start import Start, check_zone, start_offsets
from consumer.kafka.topics import TopicAdmin, no_such_topic, open_admin, partitions_of
from consumer.model.record import Coordinates, Record
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

# To be closed where they are left early (`contextlib.aclosing`).
Records = AsyncGenerator[Record, None]

_ASK_SECONDS = 30.0
_STILL_THERE_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_MS = 500
# Records of one call. Their bytes are bounded by what is fetched at once.
_AT_ONCE = 200
# What is asked for is there already, so a fetch need not wait for more; one that waits would hold
# up the next partition, which comes over the same connection.
_FETCH_WAIT_MS = 20
# The first question about a topic is always asked twice: aiokafka then gets to know it.
_AGAIN_MS = 20
FETCH_BYTES = 2 * 1024 * 1024
# The end is reached by position as a rule. Behind the records of a transaction that nobody ends
# the position stands still short of it: then this many empty polls in a row mean the same.
_EMPTY_POLLS = 10
# A record that is so near is read up to instead of being jumped to, which throws a fetch away.
_NEAR = 100

OffsetRanges = Mapping[int, OffsetRange]
"""What each partition of a topic held when it was asked."""


class TopicReader:
    """Reads topics over one connection; made by `open_reader`. For one task at a time."""

    def __init__(
        self, consumer: AIOKafkaConsumer, connection: KafkaConnection, until_end: AsyncExitStack
    ) -> None:
        self._consumer = consumer
        self._connection = connection
        self._until_end = until_end
        self._admin: TopicAdmin | None = None
        self._topics: dict[str, OffsetRanges] = {}

    async def offset_ranges(self, topic: str) -> OffsetRanges | None:
        """What the topic's partitions hold now, or None when there is no such topic.

        Raises:
            KafkaUnavailableError: Kafka can't be reached or does not let us.
        """
        if self._admin is None:
            # Kept: whoever waits for records asks again and again.
            self._admin = await self._until_end.enter_async_context(open_admin(self._connection))
        count = await self._admin.partitions(topic)
        if not count:
            return None
        partitions = [TopicPartition(topic, number) for number in range(count)]
        async with (
            explained(f"looking at {topic}", self._connection),
            asyncio.timeout(_ASK_SECONDS),
        ):
            begins = await self._consumer.beginning_offsets(partitions)
            ends = await self._consumer.end_offsets(partitions)
        found = {each.partition: OffsetRange(begins[each], ends[each]) for each in partitions}
        self._topics[topic] = found
        return found

    async def since(self, topic: str, ranges: OffsetRanges, instant: datetime) -> OffsetRanges:
        """The same ranges from the first record on that has this timestamp or a later one.

        Args:
            topic: theirs.
            ranges: what `offset_ranges` gave.
            instant: aware.

        Raises:
            KafkaUnavailableError: Kafka can't be reached or does not let us.
        """
        asked = {TopicPartition(topic, n): int(instant.timestamp() * 1000) for n in ranges}
        async with (
            explained(f"looking at {topic}", self._connection),
            asyncio.timeout(_ASK_SECONDS),
        ):
            found = await self._consumer.offsets_for_times(asked)
        begins = {each.partition: at.offset for each, at in found.items() if at is not None}
        return {
            number: OffsetRange(begins.get(number, offsets.end), offsets.end)
            for number, offsets in ranges.items()
        }

    async def records(self, topic: str, ranges: OffsetRanges) -> Records:
        """Every record of these ranges, partition by partition, oldest first in each.

        Raises:
            KafkaUnavailableError: Kafka went away; what came so far is not all.
        """
        for number, offsets in sorted(ranges.items()):
            if offsets.end > offsets.start:
                partition = TopicPartition(topic, number)
                async with aclosing(self._partition(partition, offsets)) as records:
                    async for record in records:
                        yield record

    async def record(self, at: Coordinates) -> Record | None:
        """The record of this place, or None when it is not there (any more).

        Raises:
            KafkaUnavailableError: Kafka can't be reached or does not let us.
        """
        known = self._topics.get(at.topic) or await self.offset_ranges(at.topic) or {}
        offsets = known.get(at.partition)
        if offsets is not None and at.offset >= offsets.end:
            offsets = (await self.offset_ranges(at.topic) or {}).get(at.partition)
        if offsets is None or not offsets.start <= at.offset < offsets.end:
            return None
        partition = TopicPartition(at.topic, at.partition)
        near = False
        if self._consumer.assignment() == {partition}:
            place = await self._position(partition)
            near = place <= at.offset <= place + _NEAR
        if not near:
            self._go_to(partition, at.offset)
        upto = OffsetRange(at.offset, at.offset + 1)
        async with aclosing(self._on(partition, upto, at_once=1)) as records:
            async for record in records:
                if record.at.offset >= at.offset:
                    return record if record.at == at else None
        return None

    async def _partition(self, partition: TopicPartition, offsets: OffsetRange) -> Records:
        self._go_to(partition, offsets.start)
        async with aclosing(self._on(partition, offsets, at_once=_AT_ONCE)) as records:
            async for record in records:
                if record.at.offset < offsets.end:
                    yield record

    def _go_to(self, partition: TopicPartition, offset: int) -> None:
        if self._consumer.assignment() != {partition}:
            self._consumer.assign([partition])
        self._consumer.seek(partition, offset)

    async def _on(
        self, partition: TopicPartition, offsets: OffsetRange, *, at_once: int
    ) -> Records:
        """From where the partition's position is to the end of these offsets."""
        empty = 0
        while empty < _EMPTY_POLLS:
            records = await self._poll(partition, at_once)
            for record in records:
                yield to_record(record)
            if await self._position(partition) >= offsets.end:
                return
            empty = 0 if records else empty + 1
        async with (
            explained(f"reading {partition.topic}", self._connection),
            asyncio.timeout(_STILL_THERE_SECONDS),
        ):
            await self._consumer.end_offsets([partition])

    async def _poll(self, partition: TopicPartition, at_once: int) -> list[ConsumerRecord]:
        async with explained(f"reading {partition.topic}", self._connection):
            try:
                batch: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                    partition, timeout_ms=_POLL_MS, max_records=at_once
                )
            except CorruptRecordException:
                return []  # fetched again; the third time it comes as an unreadable record
        return batch.get(partition, [])

    async def _position(self, partition: TopicPartition) -> int:
        # It would wait for ever for a position that retention has overtaken.
        async with (
            explained(f"reading {partition.topic}", self._connection),
            asyncio.timeout(_ASK_SECONDS),
        ):
            return int(await self._consumer.position(partition))


@asynccontextmanager
async def open_reader(
    connection: KafkaConnection,
    *,
    unfold_limit: int = UNFOLD_LIMIT,
    fetch_bytes: int = FETCH_BYTES,
) -> AsyncIterator[TopicReader]:
    """A connected `TopicReader`.

    Args:
        connection: where Kafka is.
        unfold_limit: bytes that a batch may unfold to; a larger one comes as unreadable records.
        fetch_bytes: of one partition at once, or one batch where that is larger. Who reads single
            records wants few: what is fetched behind each stays in memory for a while.

    Raises:
        KafkaUnavailableError: Kafka can't be reached; the message has the cause.
    """
    install(unfold_limit)
    async with explained("connecting", connection), asyncio.timeout(_ASK_SECONDS):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=fetch_bytes,
            retry_backoff_ms=_AGAIN_MS,
        )
        try:
            await consumer.start()
        except BaseException:
            await stop_reading(consumer)
            raise
    async with AsyncExitStack() as until_end:
        until_end.push_async_callback(stop_reading, consumer)
        yield TopicReader(consumer, connection, until_end)


async def stop_reading(consumer: AIOKafkaConsumer) -> None:
    """Close the connection. What was read is read, so an error here does not matter."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await consumer.stop()
    except (KafkaError, TimeoutError, OSError) as error:
        log.debug("source.stop_failed", error=in_short(error))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # aiokafka 0.14 lets out the end of a task that it cancels before that has begun.


async def read_topic(
    connection: KafkaConnection, topic: str, *, follow: bool = False, start: Start = "beginning"
) -> Records:
    """Every record of a topic, oldest first within a partition.

    Args:
        connection: where Kafka is.
        topic: which one.
        follow: go on waiting for new records instead of ending at the end found at the start.
        start: where to begin; only for who follows.

    Raises:
        KafkaUnavailableError: Kafka can't be reached, or there is no such topic.
        ValueError: the start has no time zone.
    """
    if follow:
        check_zone(start)
        async with aclosing(_follow(connection, topic, start)) as followed:
            async for record in followed:
                yield record
        return
    async with open_reader(connection) as reader:
        ranges = await reader.offset_ranges(topic)
        if ranges is None:
            raise no_such_topic(topic)
        async with aclosing(reader.records(topic, ranges)) as records:
            async for record in records:
                yield record


async def _follow(connection: KafkaConnection, topic: str, start: Start) -> Records:
    count = await partitions_of(connection, topic)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    install()
    async with explained(f"reading {topic}", connection), asyncio.timeout(_ASK_SECONDS):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            for partition, place in (await start_offsets(consumer, partitions, start)).items():
                consumer.seek(partition, place)
        except BaseException:
            await stop_reading(consumer)
            raise
    try:
        while True:
            async with explained("reading", connection):
                # One at a time: here all partitions are asked together (module docstring).
                batch = await consumer.getmany(timeout_ms=_POLL_MS, max_records=1)
            for records in batch.values():
                for record in records:
                    yield to_record(record)
    finally:
        await stop_reading(consumer)
